"""From options to the body of POST /containers/create."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from labkit.cli import commands
from labkit.cli.client import answers, body, running
from labkit.cli.client.options import OPTIONS
from labkit.errors import InvalidInput


def made(line: str) -> dict[str, Any]:
    """The body that ``labkit run LINE`` sends."""
    context = running.run.make_context("run", line.split())
    given = {name: value for name, value in context.params.items() if name not in ("words", "detach", "detach_keys", "sig_proxy")}
    image, *command = context.params["words"]
    return body.body(given, image, command, detached=context.params["detach"])


@pytest.mark.parametrize(
    ("line", "path", "value"),
    [
        ("busybox true", "Cmd", ["true"]),
        ("busybox", "Cmd", None),
        ("busybox sh -c x --init=true -e A", "Cmd", ["sh", "-c", "x", "--init=true", "-e", "A"]),
        ("-m 64m busybox", "HostConfig.Memory", 64 << 20),
        ("-m=64m busybox", "HostConfig.Memory", 64 << 20),
        ("--cpus .5 busybox", "HostConfig.NanoCpus", 500_000_000),
        ("-c 512 busybox", "HostConfig.CpuShares", 512),
        ("--memory-swap -1 busybox", "HostConfig.MemorySwap", -1),
        ("-P busybox", "HostConfig.PublishAllPorts", True),
        ("-p 80 busybox", "HostConfig.PortBindings", {"80/tcp": [{"HostIp": "", "HostPort": ""}]}),
        ("-p 80 --expose 90 busybox", "ExposedPorts", {"80/tcp": {}, "90/tcp": {}}),
        ("-v v1:/data -v /h:/c:ro busybox", "HostConfig.Binds", ["v1:/data", "/h:/c:ro"]),
        ("-v /anon busybox", "Volumes", {"/anon": {}}),
        ("--tmpfs /t --tmpfs /u:size=1m busybox", "HostConfig.Tmpfs", {"/t": "", "/u": "size=1m"}),
        ("--network n1 busybox", "HostConfig.NetworkMode", "n1"),
        ("--net host busybox", "HostConfig.NetworkMode", "host"),
        ("busybox", "HostConfig.NetworkMode", "default"),
        ("--network none busybox", "NetworkingConfig.EndpointsConfig", {}),
        ("-h box busybox", "Hostname", "box"),
        ("--entrypoint sh busybox", "Entrypoint", ["sh"]),
        ("--restart on-failure:2 busybox", "HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 2}),
        ("--rm busybox", "HostConfig.AutoRemove", True),
        ("--read-only --init busybox", "HostConfig.Init", True),
        ("--init=false busybox", "HostConfig.Init", False),
        ("--cap-add NET_ADMIN --cap-add SYS_TIME busybox", "HostConfig.CapAdd", ["NET_ADMIN", "SYS_TIME"]),
        ("--device /dev/null:/dev/x:r busybox", "HostConfig.Devices",
         [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]),
        ("--label a=b -l c busybox", "Labels", {"a": "b", "c": ""}),
        ("--stop-signal QUIT --stop-timeout 3 busybox", "StopTimeout", 3),
        ("--log-opt max-size=1m busybox", "HostConfig.LogConfig", {"Type": "", "Config": {"max-size": "1m"}}),
        ("--security-opt systempaths=unconfined busybox", "HostConfig.MaskedPaths", []),
        ("--security-opt no-new-privileges busybox", "HostConfig.SecurityOpt", ["no-new-privileges"]),
        ("--health-cmd true --health-interval 1s busybox", "Healthcheck", {"Test": ["CMD-SHELL", "true"], "Interval": 10**9}),
        ("--no-healthcheck busybox", "Healthcheck", {"Test": ["NONE"]}),
        ("-it busybox", "StdinOnce", True),
        ("-d -i busybox", "StdinOnce", False),
        ("-a stdin -i busybox", "AttachStdout", False),
        ("-d busybox", "AttachStdout", False),
        ("--mac-address 02:42:ac:11:00:09 busybox", "NetworkingConfig.EndpointsConfig.default.MacAddress", "02:42:ac:11:00:09"),
        ("--sysctl net.ipv4.ip_forward=1 busybox", "HostConfig.Sysctls", {"net.ipv4.ip_forward": "1"}),
    ],
)  # fmt: skip
def test_an_option_goes_where_the_api_wants_it(line: str, path: str, value: object) -> None:
    found: Any = made(line)
    for step in path.split("."):
        found = found[step]
    assert found == value


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--rm --restart always busybox", "conflicting options: cannot specify both --restart and --rm"),
        ("--restart on-failure:x busybox", "invalid restart policy format: maximum retry count must be an integer"),
        ("--pid x busybox", "--pid: invalid PID mode"),
        ("--memory-swappiness 101 busybox", "invalid value: 101. Valid memory swappiness range is 0-100"),
        ("--device x busybox", "x is not an absolute path"),
        ("--device /dev/null:/x:q busybox", "bad mode specified: q"),
        ("--log-driver none --log-opt a=b busybox", "invalid logging opts for driver none"),
        ("--storage-opt x busybox", "invalid storage option"),
        ("--no-healthcheck --health-cmd x busybox", "--no-healthcheck conflicts with --health-* options"),
        ("--health-retries -1 busybox", "--health-retries cannot be negative"),
        ("--security-opt x busybox", 'Invalid --security-opt: "x"'),
        ("--env-file /nosuch busybox", "open /nosuch: no such file or directory"),
        ("--network none --network n1 busybox", "conflicting options: cannot attach both user-defined and non-user-defined network-modes"),
        ("--network-alias x --network none busybox", "network-scoped aliases are only supported for user-defined networks"),
        ("--mac-address x busybox", "x is not a valid mac address"),
    ],
)
def test_what_cannot_be_is_refused_in_dockers_words(line: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        made(line)
    assert str(refused.value) == why


def test_the_environment_comes_from_files_options_and_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "mine")
    monkeypatch.delenv("NOBODYS", raising=False)
    (tmp_path / "file").write_text("# a comment\nA=file\n\nOURS\nNOBODYS\n  B=with = signs\n")
    found = made(f"--env-file {tmp_path}/file -e A=option -e OURS -e NOBODYS busybox")["Env"]
    assert found == ["A=file", "OURS=mine", "B=with = signs", "A=option", "OURS=mine", "NOBODYS"]
    (tmp_path / "bad").write_text("A B=c\n")
    with pytest.raises(InvalidInput, match="variable 'A B' contains whitespaces"):
        made(f"--env-file {tmp_path}/bad busybox")


def test_a_seccomp_profile_is_read_here(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }')
    found = made(f"--security-opt seccomp={tmp_path}/profile busybox")["HostConfig"]["SecurityOpt"]
    assert found == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']


def test_what_is_not_said_means_nothing_to_the_engine() -> None:
    from labkit.engine import config

    plain = config.decode(config.HostConfig, made("busybox")["HostConfig"])
    said = {name: value for name, value in plain.__dict__.items() if value not in (None, "", 0, (), {}, (0, 0))}
    policy, log = config.RestartPolicy("no"), config.LogConfig()
    assert said == {"NetworkMode": "default", "RestartPolicy": policy, "MemorySwappiness": -1, "LogConfig": log}


def test_each_option_is_there_once_and_every_field_is_one_of_the_apis() -> None:
    from labkit.engine import config

    names = [name for option in OPTIONS for name in option.names]
    assert len(set(names)) == len(names)
    known = {f"HostConfig.{name}" for name in config.HostConfig().__dict__} | set(config.Config().__dict__) | {"HostConfig.LogConfig.Type"}
    assert {option.to for option in OPTIONS if option.to} <= known


@pytest.mark.skipif(not os.path.exists("/usr/local/bin/docker"), reason="docker 28 is not installed")
@pytest.mark.parametrize("name", [name for name in commands.TOP if name != "explain"])
def test_all_options_of_docker_are_there(name: str) -> None:
    help = subprocess.run(["/usr/local/bin/docker", name, "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    theirs = set(re.findall(r"^ +(?:-\w, )?(--[a-z][-a-z0-9]*)", help, re.MULTILINE)) - {"--help"}
    command = commands.assembled().get_command(click.Context(commands.assembled()), name)
    assert command is not None
    ours = {form for option in command.params for form in option.opts}
    windows = {"--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops"}
    nobodys = {"--disable-content-trust", "--use-api-socket", "--checkpoint", "--checkpoint-dir"}
    assert theirs - ours <= windows | nobodys


def test_a_container_in_a_list_has_its_own_name() -> None:
    assert answers.Listed("1", ("/web/db", "/db")).name == "db"
