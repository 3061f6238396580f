"""Docker's config.json: read, written and left alone."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from labkit.errors import Denied, InvalidInput, LabError, Unreachable
from labkit.image.registry import credentials
from labkit.image.registry.auth import Credential
from labkit.image.registry.settings import Settings
from tests.evil import Evil, html, status

ME = "bWU6c2VjcmV0"  # me:secret


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "docker" / "config.json")


def write(file: str, document: object) -> None:
    os.makedirs(os.path.dirname(file), exist_ok=True)
    Path(file).write_text(json.dumps(document))


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_nothing_is_known_without_a_file(file: str) -> None:
    assert credentials.find("docker.io", file) is None


@pytest.mark.parametrize("key", ["registry.lab:5000", "https://registry.lab:5000", "http://registry.lab:5000/v1/", "registry.lab:5000/"])
def test_a_registry_is_found_however_it_was_written(file: str, key: str) -> None:
    write(file, {"auths": {key: {"auth": ME}}})
    assert credentials.find("registry.lab:5000", file) == Credential("me", "secret")
    assert credentials.find("registry.lab", file) is None


def test_docker_hub_has_its_old_name_there(file: str) -> None:
    write(file, {"auths": {"https://index.docker.io/v1/": {"auth": ME}}})
    assert credentials.find("docker.io", file) == Credential("me", "secret")


def test_a_password_may_have_colons(file: str) -> None:
    write(file, {"auths": {"a": {"auth": "bWU6YTpiOmM="}}})
    assert credentials.find("a", file) == Credential("me", "a:b:c")


def test_an_identity_token_stands_for_the_password(file: str) -> None:
    write(file, {"auths": {"a": {"auth": "bWU6", "identitytoken": "t0ken"}}})
    assert credentials.find("a", file) == Credential("me", "", "t0ken")


def test_docker_config_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", "/elsewhere")
    assert credentials.path() == "/elsewhere/config.json"
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", "/home/me")
    assert credentials.path() == "/home/me/.docker/config.json"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "config.json: is not JSON"),
        ("7", "config.json: must be an object"),
        ('{"auths": []}', None),
        ('{"auths": [1]}', "auths: must be an object"),
        ('{"auths": {"a": {"auth": "***"}}}', r"auths: a: auth must be base64 of user:password \(labkit login a\)"),
        ('{"auths": {"a": {"auth": "bWU="}}}', "must be base64 of user:password"),
        ('{"auths": {"a": {"auth": 7}}}', "must be base64 of user:password"),
        ('{"credsStore": "../../bin/sh"}', "must be the last part of the name of a program"),
        ('{"credsStore": "nosuch"}', r"docker-credential-nosuch, which is not in \$PATH"),
    ],
)
def test_a_damaged_file_is_told(file: str, text: str, complaint: str | None) -> None:
    write(file, {})
    Path(file).write_text(text)
    if complaint is None:
        assert credentials.find("a", file) is None
    else:
        with pytest.raises(InvalidInput, match=complaint):
            credentials.find("a", file)


def test_the_password_does_not_show() -> None:
    assert "secret" not in repr(Credential("me", "secret", "secret"))


def test_login_asks_the_registry_and_remembers(file: str) -> None:
    write(file, {"auths": {"other": {"auth": ME}}, "psFormat": "table"})
    with Evil() as registry:
        registry.on("/v2/", status(401, {"WWW-Authenticate": 'Basic realm="r"'}), times=2)  # once to whoever asks http or https
        credentials.login(registry.address, "me", "secret", Settings(), file)
        assert registry.asked[-1].headers["authorization"] == f"Basic {ME}"
        expected = {"auths": {"other": {"auth": ME}, registry.address: {"auth": ME}}, "psFormat": "table"}
        assert json.loads(Path(file).read_text()) == expected
        assert credentials.find(registry.address, file) == Credential("me", "secret")


def test_the_file_is_for_its_owner_s_eyes(file: str) -> None:
    with Evil() as registry:
        credentials.login(registry.address, "me", "secret", Settings(), file)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(file)).st_mode) == 0o700
    assert os.listdir(os.path.dirname(file)) == ["config.json"]


def test_a_wrong_password_is_not_remembered(file: str) -> None:
    with Evil() as registry:
        answer = b'{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}'
        registry.on("/v2/", status(401, {"WWW-Authenticate": 'Basic realm="r"'}, answer))
        with pytest.raises(Denied, match=f"{registry.address}: unauthorized: authentication required"):
            credentials.login(registry.address, "me", "wrong", Settings(), file)
    assert not os.path.exists(file)


def test_a_page_of_html_is_no_registry_to_log_in_at(file: str) -> None:
    with Evil() as registry:
        registry.on("/v2/", html)
        with pytest.raises(Unreachable, match="page of HTML"):
            credentials.login(registry.address, "me", "secret", Settings(), file)
    assert not os.path.exists(file)


def test_logout_forgets_one_registry(file: str) -> None:
    write(file, {"auths": {"a": {"auth": ME}, "https://b/": {"auth": ME}}})
    assert credentials.logout("b", file)
    assert json.loads(Path(file).read_text()) == {"auths": {"a": {"auth": ME}}}
    assert not credentials.logout("b", file)


def test_a_link_to_the_file_stays_a_link(file: str, tmp_path: Path) -> None:
    write(file, {"auths": {"a": {"auth": ME}}})
    link = tmp_path / "link.json"
    link.symlink_to(file)
    assert credentials.logout("a", str(link))
    assert link.is_symlink()
    assert json.loads(Path(file).read_text()) == {"auths": {}}


def test_a_helper_keeps_the_passwords(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept"
    get = f'read url; test "$url" = registry.lab || {{ echo credentials not found in native keychain; exit 1; }}; cat {kept}'
    helper(tmp_path, monkeypatch, f"case $1 in store) cat > {kept};; get) {get};; erase) rm {kept};; esac")
    write(file, {"credHelpers": {"registry.lab": "test"}})
    kept.write_text('{"ServerURL": "registry.lab", "Username": "me", "Secret": "secret"}')
    assert credentials.find("registry.lab", file) == Credential("me", "secret")
    kept.write_text('{"Username": "<token>", "Secret": "t0ken"}')
    assert credentials.find("registry.lab", file) == Credential("", "", "t0ken")
    assert credentials.logout("registry.lab", file)
    assert not kept.exists()
    write(file, {"credsStore": "test"})
    assert credentials.find("elsewhere", file) is None
    with Evil() as registry:
        credentials.login(registry.address, "me", "secret", Settings(), file)
        assert json.loads(kept.read_text()) == {"ServerURL": registry.address, "Username": "me", "Secret": "secret"}
    assert "auths" not in json.loads(Path(file).read_text())


def test_a_helper_that_fails_is_named(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, {"credsStore": "test"})
    helper(tmp_path, monkeypatch, "echo the keychain is locked; exit 1")
    with pytest.raises(LabError, match="docker-credential-test get: the keychain is locked"):
        credentials.find("a", file)
    helper(tmp_path, monkeypatch, "echo hello")
    with pytest.raises(InvalidInput, match="docker-credential-test get: its answer for a must be an object"):
        credentials.find("a", file)
