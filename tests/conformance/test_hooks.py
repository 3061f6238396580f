"""Hooks: in which order, in whose namespaces, with what on their standard input, and what follows when one fails."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Container

# Notes its moment, its mount and UTS namespace, an argument, a variable and the state that it is given.
SCRIPT = """#!/bin/sh
echo "$1|$(readlink /proc/self/ns/mnt)|$(readlink /proc/self/ns/uts)|$2|$A|$(cat)" >> {log}
"""
ORDER = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


@pytest.fixture
def hooked(container: Callable[..., Container], directory: Path) -> Container:
    (directory / "log").mkdir()
    (directory / "hook").write_text(SCRIPT.format(log=directory / "log/log"))
    (directory / "hook").chmod(0o755)
    hooks = {
        moment: [
            {
                "path": "/bin/hook" if moment == "startContainer" else str(directory / "hook"),
                "args": ["hook", moment, "one"],
                "env": ["A=1", PATH],
            }
        ]
        for moment in ORDER
    }
    box = container(
        {
            "hooks": hooks,
            "annotations": {"org.example.course": "containers"},
            "mounts[+]": {"destination": "/log", "source": str(directory / "log"), "options": ["bind"]},
        }
    )
    (box.rootfs / "bin/hook").write_text(SCRIPT.format(log="/log/log"))
    (box.rootfs / "bin/hook").chmod(0o755)
    return box


PATH = "PATH=/bin:/usr/bin"


def notes(directory: Path) -> list[list[str]]:
    try:
        return [line.split("|", 5) for line in (directory / "log/log").read_text().splitlines()]
    except FileNotFoundError:
        return []


def test_hooks_run_in_their_order_at_their_moments(hooked: Container, directory: Path) -> None:
    early = ["poststart"] if hooked.runtime.name == "runc" else []  # runc 1.1 runs poststart as part of create
    hooked.created()
    assert [note[0] for note in notes(directory)] == ["prestart", "createRuntime", "createContainer", *early]
    hooked.start()
    late = [note[0] for note in notes(directory)[3 + len(early) :]]
    assert late == (["startContainer"] if early else ["startContainer", "poststart"])
    assert hooked.delete("--force").code == 0
    assert notes(directory)[-1][0] == "poststop"


def test_hooks_run_in_the_namespaces_that_the_specification_names(hooked: Container, directory: Path) -> None:
    hooked.started()
    inside = [os.readlink(f"/proc/{hooked.pid}/ns/{name}") for name in ("mnt", "uts")]
    host = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "uts")]
    hooked.delete("--force")
    assert {note[0]: note[1:3] for note in notes(directory)} == dict(zip(ORDER, [host, host, inside, inside, host, host], strict=True))


def test_hooks_get_their_arguments_and_environment(hooked: Container, directory: Path) -> None:
    hooked.started()
    assert [note[3:5] for note in notes(directory)] == [["one", "1"]] * 5


def test_hooks_get_the_state_on_their_standard_input(hooked: Container, directory: Path) -> None:
    hooked.started()
    pid = hooked.pid
    hooked.delete("--force")
    states = {note[0]: json.loads(note[5]) for note in notes(directory)}
    for state in states.values():
        assert (state["id"], state["bundle"]) == (hooked.id, str(hooked.bundle))
        assert state["annotations"] == {"org.example.course": "containers"} and state["ociVersion"].startswith("1.")
    after_start = "created" if hooked.runtime.name == "runc" else "running"  # as above: runc 1.1 has not started it yet
    # The pid is the one that the hook itself would see: runtime.md, State.
    assert [(states[moment]["status"], states[moment].get("pid", 0)) for moment in ORDER] == [
        *(("creating", pid), ("creating", pid), ("creating", 1)),
        *(("created", 1), (after_start, pid), ("stopped", 0)),
    ]


@pytest.mark.parametrize("moment", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_of_create_that_fails_ends_the_container(container: Callable[..., Container], moment: str) -> None:
    box = container({"hooks": {moment: [{"path": "/bin/false"}]}})
    result = box.create()
    assert result.code == 1 and "hook" in result.err
    assert box.runtime("state", box.id).code == 1


def test_a_hook_in_the_container_that_fails_ends_it_before_its_program_runs(container: Callable[..., Container]) -> None:
    box = container({"hooks": {"startContainer": [{"path": "/bin/false"}]}}, "sh", "-c", "echo ran").created()
    pid = box.pid
    box.start()
    assert box.wait(pid) != 0
    assert box.line() == ""
    assert box.delete("--force").code == 0


def test_hooks_after_the_container_do_not_stop_it_when_they_fail(container: Callable[..., Container]) -> None:
    box = container({"hooks": {"poststop": [{"path": "/bin/false"}]}}).started()
    assert box.delete("--force").code == 0
    assert box.runtime("state", box.id).code == 1


def test_the_next_hook_runs_only_after_the_one_before(container: Callable[..., Container], directory: Path) -> None:
    words = [["sh", "-c", f"echo {number} >> {directory}/order"] for number in "123"]
    box = container({"hooks": {"createRuntime": [{"path": "/bin/sh", "args": args} for args in words]}}).created()
    assert (directory / "order").read_text() == "1\n2\n3\n"
    assert box.state()["status"] == "created"


def test_a_hook_that_takes_too_long_is_ended(container: Callable[..., Container]) -> None:
    box = container({"hooks": {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "infinity"], "timeout": 1}]}})
    assert box.create().code == 1
    assert box.runtime("state", box.id).code == 1
