"""Docker's configuration as records: read, written, and completed from an image's."""

from __future__ import annotations

import pytest

from labkit import codec
from labkit.engine import config
from labkit.engine.config import Config, EndpointSettings, Healthcheck, HostConfig, NetworkingConfig, PortBinding, RestartPolicy, Update
from labkit.errors import InvalidInput
from labkit.image.container_config import ContainerConfig

IMAGE = ContainerConfig(
    User="www", Env=("PATH=/bin", "A=image"), Entrypoint=("/entry",), Cmd=("default",), WorkingDir="/srv", Labels={"of": "image"},
    Volumes={"/data": {}}, ExposedPorts={"80/tcp": {}}, StopSignal="SIGQUIT", Shell=("/bin/sh", "-c"),
    Healthcheck=Healthcheck(("CMD", "true"), Interval=5, Retries=3),
)  # fmt: skip


def test_what_the_docker_client_sends_is_understood() -> None:
    """With zero values for what was not said, and null where Go has a nil."""
    body = {
        "Hostname": "", "AttachStdout": True, "Tty": False, "Env": None, "Cmd": ["true"], "Image": "busybox", "Volumes": {},
        "Entrypoint": None, "OnBuild": None, "Labels": {}, "Unheard": "of",
    }  # fmt: skip
    assert config.decode(Config, body) == Config(AttachStdout=True, Cmd=("true",), Image="busybox")
    host = {
        "Binds": None, "NetworkMode": "default", "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": None},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "ConsoleSize": [24, 80], "MemorySwappiness": -1, "OomKillDisable": False,
        "PidsLimit": 0, "LogConfig": {"Type": "", "Config": {}}, "Devices": [], "Ulimits": None, "MaskedPaths": None,
    }  # fmt: skip
    assert config.decode(HostConfig, host) == HostConfig(
        NetworkMode="default", PortBindings={"80/tcp": (PortBinding("", "8080"),), "81/tcp": None}, RestartPolicy=RestartPolicy("no"),
        ConsoleSize=(24, 80), MemorySwappiness=-1, OomKillDisable=False, PidsLimit=0,
    )  # fmt: skip


def test_docker_py_says_null_for_an_endpoint_of_which_it_asks_nothing() -> None:
    read = config.decode(NetworkingConfig, {"EndpointsConfig": {"n1": None, "default": {}}})
    assert read == NetworkingConfig({"n1": None, "default": EndpointSettings()})


def test_a_command_may_be_one_string() -> None:
    assert config.decode(Config, {"Cmd": "date", "Entrypoint": "/bin/sh"}) == Config(Cmd=("date",), Entrypoint=("/bin/sh",))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"Env": "A=b"}, "Env: must be an array, not 'A=b'"),
        ({"Tty": 1}, "Tty: must be true or false, not 1"),
        ({"Cmd": ["a", 1]}, r"Cmd\[1\]: must be a string, not 1"),
        ({"Labels": ["a"]}, "Labels: must be an object"),
        ([], "must be an object, not"),
    ],
)
def test_a_wrong_type_is_refused_by_the_name_of_its_field(body: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        config.decode(Config, body)


def test_what_is_written_is_read_back_and_what_is_told_has_every_field() -> None:
    host = HostConfig(Memory=64 << 20, PortBindings={"80/tcp": (PortBinding(HostPort="80"),)}, RestartPolicy=RestartPolicy("always"))
    assert codec.decode(HostConfig, codec.encode(host)) == host
    told = config.told(host)
    assert isinstance(told, dict)
    assert told["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}
    assert told["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": "80"}]}
    assert (told["CpuShares"], told["Init"], told["Binds"]) == (0, None, [])


def test_an_update_says_only_what_shall_change() -> None:
    assert config.decode(Update, {"Memory": 1, "RestartPolicy": {"Name": "always"}}) == Update(
        Memory=1, RestartPolicy=RestartPolicy("always")
    )


def test_what_the_user_leaves_out_is_the_images() -> None:
    whole = config.merged(Config(Image="web"), IMAGE)
    assert whole.command == ("/entry", "default")
    assert (whole.User, whole.WorkingDir, whole.StopSignal, whole.Env) == ("www", "/srv", "SIGQUIT", ("PATH=/bin", "A=image"))
    assert (whole.Labels, whole.Volumes, whole.ExposedPorts) == ({"of": "image"}, {"/data": {}}, {"80/tcp": {}})
    assert whole.Healthcheck == IMAGE.Healthcheck


def test_what_the_user_says_wins_and_lists_are_joined() -> None:
    wanted = Config(User="me", Env=("A=mine", "B=c"), Labels={"of": "me"}, ExposedPorts={"81/tcp": {}}, Healthcheck=Healthcheck(Interval=9))
    whole = config.merged(wanted, IMAGE)
    assert (whole.User, whole.Env, whole.Labels) == ("me", ("A=mine", "B=c", "PATH=/bin"), {"of": "me"})
    assert whole.ExposedPorts == {"80/tcp": {}, "81/tcp": {}}
    assert whole.Healthcheck == Healthcheck(("CMD", "true"), Interval=9, Retries=3)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "command"),
    [
        (None, None, ("/entry", "default")),
        (None, ("mine",), ("/entry", "mine")),
        (("/mine",), None, ("/mine",)),
        (("/mine",), ("a",), ("/mine", "a")),
        (("",), ("a",), ("a",)),  # what `--entrypoint ""` sends
        ((), ("a",), ("a",)),
    ],
)
def test_the_command_is_put_together_as_in_docker(
    entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None, command: tuple[str, ...]
) -> None:
    assert config.merged(Config(Entrypoint=entrypoint, Cmd=cmd), IMAGE).command == command


def test_without_any_command_there_is_no_container() -> None:
    for wanted, image in ((Config(), ContainerConfig()), (Config(Entrypoint=("",)), IMAGE)):
        with pytest.raises(InvalidInput, match=r"^no command specified$"):
            config.merged(wanted, image)
