"""Instructions that change an image's config, and what the history says of them; users looked up in an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.engine import users
from labkit.engine.build import copying, settings
from labkit.engine.build.instructions import parse_instruction
from labkit.engine.build.settings import Words
from labkit.errors import InvalidInput, NotFound
from labkit.image.container_config import ContainerConfig, Healthcheck
from labkit.runtime.spec import User

BASE = ContainerConfig(Env=("PATH=/bin", "A=1"), Cmd=("sh",), Labels={"z": "1"}, ExposedPorts={"80/tcp": {}})


def change(text: str, base: ContainerConfig = BASE, keeps_command: bool = False) -> tuple[ContainerConfig, str]:
    return settings.changed(parse_instruction(text), base, Words({"A": "1", "PORTS": "81 82"}), keeps_command)


def test_env_changes_variables_in_their_place_and_adds_others() -> None:
    assert change("ENV B=$A A='2 3'") == (ContainerConfig(**{**BASE.__dict__, "Env": ("PATH=/bin", "A=2 3", "B=1")}), "ENV B=1 A=2 3")


def test_the_shell_form_goes_through_the_shell_and_the_exec_form_does_not() -> None:
    config, said = change('SHELL ["/bin/bash", "-c"]')
    assert said == "SHELL [/bin/bash -c]"
    assert change("CMD echo $A", config)[0].Cmd == ("/bin/bash", "-c", "echo $A")
    assert change('CMD ["echo", "$A"]')[1] == 'CMD ["echo" "$A"]'
    assert change("CMD", config)[0].Cmd == ()


def test_an_entrypoint_takes_the_command_of_the_base_away_but_not_one_of_its_own_stage() -> None:
    assert change("ENTRYPOINT x")[0].Cmd == ()
    assert change("ENTRYPOINT x", keeps_command=True)[0].Cmd == ("sh",)


def test_ports_are_exposed_with_their_protocol() -> None:
    config, said = change("EXPOSE 53/UDP $PORTS 8000-8001")
    assert list(config.ExposedPorts) == ["53/udp", "80/tcp", "8000/tcp", "8001/tcp", "81/tcp", "82/tcp"]
    assert said == "EXPOSE 81 82 53/UDP 8000-8001"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("EXPOSE x", "Invalid containerPort: x"),
        ("EXPOSE 0", "Invalid containerPort: 0"),
        ("EXPOSE 90-80", "Invalid containerPort: 90-80"),
        ("EXPOSE 80/foo", "Invalid proto: foo"),
        ("STOPSIGNAL FOO", "Invalid signal: FOO"),
        ("VOLUME $NOPE", "VOLUME specified can not be an empty string"),
    ],
)
def test_a_value_that_cannot_be_is_told_in_dockers_words(text: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{complaint}$"):
        change(text)


def test_labels_volumes_users_signals_and_triggers() -> None:
    assert change("LABEL b=$A a='x y'") == (
        ContainerConfig(**{**BASE.__dict__, "Labels": {"a": "x y", "b": "1", "z": "1"}}),
        "LABEL b=1 a=x y",
    )
    assert change("VOLUME /b /a") == (ContainerConfig(**{**BASE.__dict__, "Volumes": {"/a": {}, "/b": {}}}), "VOLUME [/b /a]")
    assert change("USER ada:$A")[0].User == "ada:1"
    assert change("STOPSIGNAL SIGQUIT")[0].StopSignal == "SIGQUIT"
    assert change("ONBUILD RUN $A")[0].OnBuild == ("RUN $A",)


def test_a_healthcheck_keeps_the_numbers_of_the_one_before() -> None:
    first, said = change("HEALTHCHECK --interval=30s --retries=3 CMD curl x")
    assert first.Healthcheck == Healthcheck(("CMD-SHELL", "curl x"), Interval=30 * 10**9, Retries=3)
    assert said == 'HEALTHCHECK &{["CMD-SHELL" "curl x"] "30s" "0s" "0s" \'\\x03\'}'
    second, _ = change('HEALTHCHECK --interval=5s --timeout=1m CMD ["curl"]', first)
    assert second.Healthcheck == Healthcheck(("CMD", "curl"), Interval=5 * 10**9, Timeout=60 * 10**9, Retries=3)


@pytest.mark.parametrize(
    ("current", "wanted", "path"),
    [("", "a", "/a"), ("/srv", "a/../b", "/srv/b"), ("/srv", "/x", "/x"), ("/srv", ".", "/srv"), ("/", "a", "/a")],
)
def test_workdir_goes_on_from_where_it_is(current: str, wanted: str, path: str) -> None:
    assert settings.workdir(current, wanted) == path


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nada:x:5:6::/:/bin/sh\nbroken\n7:x:8:8::/:\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nstaff:x:50:ada,bob\nada:x:6:\n")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("", User(0, 0, additionalGids=(0,))),
        ("root", User(0, 0, additionalGids=(0,))),
        ("ada", User(5, 6, additionalGids=(6, 50))),
        ("5", User(5, 6, additionalGids=(6, 50))),
        ("ada:staff", User(5, 50, additionalGids=(50,))),
        ("ada:77", User(5, 77, additionalGids=(77,))),
        ("99", User(99, 0, additionalGids=(0,))),
        ("99:98", User(99, 98, additionalGids=(98,))),
        ("7", User(8, 8, additionalGids=(8,))),
    ],
)
def test_a_user_is_looked_up_in_the_images_own_files(root: str, name: str, user: User) -> None:
    assert users.find(root, name) == user


@pytest.mark.parametrize(("name", "complaint"), [("bob", "unable to find user bob"), ("ada:nobody", "unable to find group nobody")])
def test_a_user_that_is_not_there_is_told(root: str, name: str, complaint: str) -> None:
    with pytest.raises(NotFound, match=f"{complaint}: no matching entries in"):
        users.find(root, name)


def test_owners_of_files_are_numbers_or_names_of_the_image(root: str) -> None:
    assert [users.owner(root, text) for text in ("ada", "ada:staff", "9", "9:8", "ada:1")] == [(5, 6), (5, 50), (9, 9), (9, 8), (5, 1)]
    with pytest.raises(NotFound, match="can't find uid for user bob"):
        users.owner(root, "bob")
    with pytest.raises(NotFound, match="can't find gid for group nobody"):
        users.owner(root, "ada:nobody")
    with pytest.raises(InvalidInput, match="invalid chown string format: a:b:c"):
        users.owner(root, "a:b:c")


def test_an_image_without_files_knows_no_names_and_all_numbers(tmp_path: Path) -> None:
    assert users.find(str(tmp_path), "") == User(0, 0, additionalGids=(0,))
    assert users.find(str(tmp_path), "5:6") == User(5, 6, additionalGids=(6,))


def test_a_link_in_an_image_does_not_lead_to_the_hosts_users(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("/etc/passwd")
    with pytest.raises(NotFound):
        users.find(str(tmp_path), "daemon")


@pytest.mark.parametrize("text", ["", "8", "rwx", "10000", "-1"])
def test_a_mode_is_octal(text: str) -> None:
    assert copying.parse_mode("0755") == 0o755
    with pytest.raises(InvalidInput, match="it should be octal string and between 0 and 07777"):
        copying.parse_mode(text)
