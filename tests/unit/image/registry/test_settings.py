"""daemon.json: what it may say about registries, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import InvalidInput, KernelError
from labkit.image.registry import settings
from labkit.image.registry.settings import Settings


def load(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "daemon.json").write_text(text)
    return settings.load(str(tmp_path / "daemon.json"))


def test_without_a_file_there_are_no_mirrors(tmp_path: Path) -> None:
    assert settings.load(str(tmp_path / "daemon.json")) == Settings()


def test_mirrors_and_insecure_registries_are_read_and_the_rest_is_the_daemon_s(tmp_path: Path) -> None:
    found = load(tmp_path, '{"registry-mirrors": ["http://a:5000/"], "insecure-registries": ["b:1", "10.0.0.0/8"], "debug": true}')
    assert found == Settings(("http://a:5000",), ("b:1", "10.0.0.0/8"))


def test_a_layer_may_have_a_limit(tmp_path: Path) -> None:
    assert load(tmp_path, '{"max-layer-bytes": 1000}').max_layer_bytes == 1000


def test_null_says_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, '{"registry-mirrors": null}') == Settings()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "daemon.json: is not JSON"),
        ("[]", r"daemon.json: must be an object"),
        ('{"registry-mirrors": "http://a"}', "daemon.json: registry-mirrors: must be an array of strings"),
        ('{"registry-mirrors": [7]}', "daemon.json: registry-mirrors: must be an array of strings"),
        ('{"registry-mirrors": ["a:5000"]}', "daemon.json: registry-mirrors: 'a:5000' must be a URL of a host alone"),
        ('{"registry-mirrors": ["ftp://a"]}', "must be a URL"),
        ('{"registry-mirrors": ["http://a/v2/"]}', "must be a URL of a host alone"),
        ('{"registry-mirrors": ["http://me:secret@a"]}', "must be a URL of a host alone"),
        ('{"registry-mirrors": ["http://a:port"]}', "must be a URL"),
        ('{"registry-mirrors": ["http://[::1"]}', "must be a URL"),
        ('{"insecure-registries": ["http://a"]}', "daemon.json: insecure-registries: 'http://a' must be HOST, HOST:PORT or a network"),
        ('{"insecure-registries": ["10.0.0.0/99"]}', "must be HOST"),
        ('{"max-layer-bytes": "1G"}', "daemon.json: max-layer-bytes: must be a number of bytes, not '1G'"),
        ('{"max-layer-bytes": 0}', "max-layer-bytes: must be a number of bytes"),
        ('{"max-layer-bytes": true}', "max-layer-bytes: must be a number of bytes"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        load(tmp_path, text)


def test_what_is_not_utf_8_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_bytes(b"\xff{}")
    with pytest.raises(InvalidInput, match="is not JSON"):
        settings.load(str(tmp_path / "daemon.json"))


def test_a_directory_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"read .*EISDIR"):
        settings.load(str(tmp_path))


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"])
def test_this_machine_needs_no_certificate(host: str) -> None:
    assert Settings().is_insecure(host)


@pytest.mark.parametrize(
    ("host", "is_insecure"),
    [
        ("registry.lab:5000", True),
        ("registry.lab", False),
        ("registry.lab:5001", False),
        ("10.1.2.3:5000", True),
        ("11.1.2.3:5000", False),
        ("[fd00::7]:5000", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_others_need_one_unless_they_are_listed(host: str, is_insecure: bool) -> None:
    assert Settings((), ("registry.lab:5000", "10.0.0.0/8", "fd00::/8")).is_insecure(host) is is_insecure
