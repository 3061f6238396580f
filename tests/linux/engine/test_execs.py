"""One more program in a container that runs: as whom, where, how it is attached, and how it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.engine.config import HostConfig
from labkit.engine.container import Container
from labkit.engine.engine import Engine
from labkit.engine.execs import ExecConfig
from labkit.errors import Conflict, InvalidInput, NotFound
from labkit.linux import processes
from tests.containers import SECONDS, Make, create_in

Run = Callable[..., tuple[int | None, bytes, bytes]]


@pytest.fixture
def box(start: Make) -> Container:
    """A container that sleeps."""
    return start(name="box", Env=("A=container",))


@pytest.fixture
def execute(engine: Engine, box: Container) -> Run:
    """``execute("id", User="www")``: exit code, standard output and standard error; ``say`` is its input."""

    def do(*command: str, say: bytes | None = None, **fields: object) -> tuple[int | None, bytes, bytes]:
        config = ExecConfig(Cmd=command, AttachStdin=say is not None, AttachStdout=True, AttachStderr=True, **fields)  # type: ignore[arg-type]
        id = engine.execs.create(box, config)
        with engine.execs.start(id) as line:
            if say is not None:
                line.send(say)
                line.close_input()
            found = {1: b"", 2: b""}
            while packet := line.receive():
                found[packet[0]] += packet[1]
        return engine.execs.wait(id, SECONDS), found[1], found[2]

    return do


def test_exit_code_and_both_streams(execute: Run) -> None:
    assert execute("sh", "-c", "echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")
    assert execute("sh", "-c", "kill -9 $$") == (137, b"", b"")


def test_it_is_in_the_containers_namespaces_and_control_group(box: Container, execute: Run) -> None:
    assert execute("hostname")[1].decode().strip() == box.short_id
    assert execute("ps", "-o", "args")[1].splitlines()[1] == b"sleep 1000"
    assert execute("cat", "/proc/self/cgroup")[1] == execute("cat", "/proc/1/cgroup")[1]
    for kind in ("mnt", "pid", "net", "uts", "ipc"):
        theirs = os.readlink(f"/proc/{box.state.Init.Pid}/ns/{kind}")
        assert execute("readlink", f"/proc/self/ns/{kind}")[1].decode().strip() == theirs


def test_input_reaches_it_and_ends(execute: Run) -> None:
    assert execute("cat", say=b"hello\n") == (0, b"hello\n", b"")
    data = bytes(range(33, 83)) * 4000
    assert execute("cat", say=data) == (0, data, b"")


def test_without_input_it_finds_the_end_at_once(execute: Run) -> None:
    assert execute("cat") == (0, b"", b"")


def test_the_environment_is_the_containers_and_more(execute: Run) -> None:
    environment = execute("env", Env=("B=exec", "BOTH=exec"))[1].decode().splitlines()
    assert {"A=container", "B=exec", "FROM=image", "BOTH=exec"} <= set(environment)
    assert not [entry for entry in environment if entry.startswith("TERM=")]
    assert "A=exec" in execute("env", Env=("A=exec",))[1].decode().splitlines()


@pytest.mark.parametrize(
    ("user", "uid", "gid"),
    [("", 0, 0), ("www", 33, 34), ("33", 33, 34), ("www:staff", 33, 50), ("1234", 1234, 0), ("1234:5678", 1234, 5678)],
)
def test_users_are_those_of_the_container(execute: Run, user: str, uid: int, gid: int) -> None:
    assert execute("sh", "-c", "id -u; id -g", User=user)[1].decode().split() == [str(uid), str(gid)]


def test_a_user_that_was_added_while_the_container_ran_is_known(execute: Run) -> None:
    assert execute("sh", "-c", "echo new:x:77:77::/:/bin/sh >> /etc/passwd")[0] == 0
    assert execute("id", "-u", User="new")[1] == b"77\n"


def test_the_working_directory(execute: Run) -> None:
    assert execute("pwd") == (0, b"/\n", b"")
    assert execute("pwd", WorkingDir="/data") == (0, b"/data\n", b"")


def test_privileged_has_all_capabilities_and_others_the_containers(execute: Run) -> None:
    def capabilities(**fields: object) -> int:
        return int(execute("sed", "-n", "s/CapEff:\t//p", "/proc/self/status", **fields)[1], 16)

    assert capabilities() == 0xA80425FB
    assert capabilities(Privileged=True).bit_count() > capabilities().bit_count()
    assert capabilities(User="www") == 0


def test_a_terminal(engine: Engine, box: Container) -> None:
    script = "tty; stty size; trap 'stty size' WINCH; env | grep TERM; read word; echo got $word; while :; do sleep 0.05; done"
    id = engine.execs.create(box, ExecConfig(Cmd=("sh", "-c", script), Tty=True, AttachStdin=True, AttachStdout=True, AttachStderr=True))
    with engine.execs.start(id, size=(24, 80)) as line:

        def hear_until(text: bytes) -> bytes:
            found = b""
            while text not in found:
                packet = line.receive()
                assert packet, found
                found += packet[1]
            return found

        assert b"/dev/pts/" in hear_until(b"24 80\r\nTERM=xterm\r\n")
        line.send(b"hello\n")
        hear_until(b"got hello\r\n")
        engine.execs.resize(id, 33, 77)
        hear_until(b"33 77\r\n")
        line.send(b"\x10\x11")  # ctrl-p ctrl-q
        assert line.detached and line.receive() is None
    assert engine.execs.get(id).Running
    engine.execs.kill(id)
    assert engine.execs.wait(id, SECONDS) == 137


def test_a_size_that_comes_before_the_start_is_set_with_it(engine: Engine, box: Container) -> None:
    id = engine.execs.create(box, ExecConfig(Cmd=("sh", "-c", "read line; stty size"), Tty=True, AttachStdin=True, AttachStdout=True))
    resizing = threading.Thread(target=engine.execs.resize, args=(id, 33, 77))
    resizing.start()
    with engine.execs.start(id) as line:
        resizing.join(SECONDS)
        line.send(b"now\n")
        said = b""
        while packet := line.receive():
            said += packet[1]
    assert said.endswith(b"33 77\r\n")


def test_one_that_cannot_start_or_has_ended_has_no_size(engine: Engine, box: Container) -> None:
    for command in "nosuchcmd", "true":
        id = engine.execs.create(box, ExecConfig(Cmd=(command,), Tty=True, AttachStdout=True))
        engine.execs.start(id).close()
        engine.execs.wait(id, SECONDS)
        with pytest.raises(Conflict, match="is not running"):
            engine.execs.resize(id, 33, 77)


@pytest.mark.parametrize(
    ("command", "fields", "message"),
    [
        ("nosuchcmd", {}, 'exec: "nosuchcmd": executable file not found in $PATH: unknown'),
        ("/nosuch", {}, 'exec: "/nosuch": stat /nosuch: no such file or directory: unknown'),
        ("/etc", {}, 'exec: "/etc": permission denied: unknown'),
        ("/etc/passwd", {}, 'exec: "/etc/passwd": permission denied: unknown'),
        ("pwd", {"WorkingDir": "/nosuch"}, 'chdir to cwd ("/nosuch") set in config.json failed: no such file or directory: unknown'),
    ],
)
def test_what_cannot_be_started_is_told_in_the_stream_and_its_code_is_126(
    engine: Engine, box: Container, execute: Run, command: str, fields: dict[str, str], message: str
) -> None:
    whole = f"OCI runtime exec failed: exec failed: unable to start container process: {message}"
    assert execute(command, **fields) == (126, f"{whole}\r\n".encode(), b"")
    id = engine.execs.create(box, ExecConfig(Cmd=(command,), **fields))
    with pytest.raises(InvalidInput) as raised:
        engine.execs.start(id, detach=True)
    assert str(raised.value) == whole
    assert (engine.execs.get(id).ExitCode, engine.execs.get(id).Running) == (126, False)


def test_a_working_directory_is_an_absolute_path(execute: Run) -> None:
    message = b"OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown\r\n"
    assert execute("pwd", WorkingDir="data") == (126, message, b"")


def test_a_user_that_is_not_there(execute: Run) -> None:
    assert execute("id", User="nobody-here") == (126, b"unable to find user nobody-here: no matching entries in passwd file\r\n", b"")


def test_a_detached_program_runs_on_its_own_and_its_output_holds_up_nobody(engine: Engine, box: Container) -> None:
    id = engine.execs.create(box, ExecConfig(Cmd=("sh", "-c", "head -c 5000000 /dev/zero; exit 4")))
    ended = threading.Event()
    engine.execs.start(id, detach=True, then=ended.set)
    assert ended.wait(SECONDS)
    assert engine.execs.get(id).ExitCode == 4


def test_a_program_that_leaves_a_daemon_behind_ends(engine: Engine, execute: Run) -> None:
    code, out, _ = execute("sh", "-c", "yes & echo done")
    assert code == 0 and b"done\n" in out


def test_a_client_that_vanishes_does_not_end_the_program(engine: Engine, box: Container) -> None:
    script = "cat; sleep 0.1; head -c 1000000 /dev/zero; touch /went-on"
    id = engine.execs.create(box, ExecConfig(Cmd=("sh", "-c", script), AttachStdin=True, AttachStdout=True))
    engine.execs.start(id).close()
    assert engine.execs.wait(id, SECONDS) == 0
    assert Path(f"/proc/{box.state.Init.Pid}/root/went-on").exists()


def test_what_is_known_of_it(engine: Engine, box: Container) -> None:
    id = engine.execs.create(box, ExecConfig(Cmd=("sleep", "1000"), AttachStdout=True))
    made = engine.execs.get(id)
    assert (made.ID, made.ContainerID, made.Running, made.ExitCode, made.Pid) == (id, box.id, False, None, 0)
    assert engine.execs.of(box) == ()
    with engine.execs.start(id):
        running = engine.execs.get(id)
        assert running.Running and running.ExitCode is None and processes.alive(running.Pid)
        assert engine.execs.of(box) == (id,)
        engine.execs.kill(id)
        assert engine.execs.wait(id, SECONDS) == 137
    assert engine.execs.of(box) == ()
    with pytest.raises(Conflict, match=rf"^Error: Exec command {id} has already run$"):
        engine.execs.start(id)
    with pytest.raises(NotFound, match=r"^No such exec instance: nosuch$"):
        engine.execs.start("nosuch")


def test_events_tell_of_it(engine: Engine, box: Container, execute: Run) -> None:
    with engine.events.subscribe(filters={"type": ("container",)}) as events:
        assert execute("sh", "-c", "exit 7")[0] == 7
        told = [next(events) for _ in range(3)]
    assert [event.Action for event in told] == ["exec_create: sh -c exit 7", "exec_start: sh -c exit 7", "exec_die"]
    assert len({event.Attributes["execID"] for event in told}) == 1 and told[-1].Attributes["exitCode"] == "7"


def test_who_does_not_run_runs_no_program(engine: Engine, make: Make) -> None:
    container = make("sleep", "1000", name="other")
    wanted = ExecConfig(Cmd=("true",))
    with pytest.raises(Conflict, match=rf"^Container {container.id} is not running$"):
        engine.execs.create(container, wanted)
    container.start()
    with pytest.raises(InvalidInput, match=r"^No exec command specified$"):
        engine.execs.create(container, ExecConfig())
    with pytest.raises(InvalidInput, match=r"^Invalid detach keys \(what\) provided$"):
        engine.execs.create(container, ExecConfig(Cmd=("true",), Tty=True, DetachKeys="what"))
    id = engine.execs.create(container, wanted)
    container.pause()
    with pytest.raises(Conflict, match=r"^Container other is paused, unpause the container before exec$"):
        engine.execs.create(container, wanted)
    container.unpause()
    container.stop(timeout=0)
    with pytest.raises(Conflict, match=rf"^Container {container.id} is not running$"):
        engine.execs.start(id)


def test_the_end_of_the_container_is_the_end_of_its_programs(engine: Engine, box: Container) -> None:
    ids = [engine.execs.create(box, ExecConfig(Cmd=("sleep", "1000"), AttachStdout=True)) for _ in range(3)]
    lines = [engine.execs.start(id) for id in ids]
    box.stop(timeout=0)
    assert [engine.execs.wait(id, SECONDS) for id in ids] == [137] * 3
    assert [line.receive() for line in lines] == [None] * 3
    for line in lines:
        line.close()


def test_twenty_at_once(execute: Run) -> None:
    found: list[tuple[int | None, bytes, bytes]] = []
    threads = [threading.Thread(target=lambda: found.append(execute("cat", say=b"hello"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == [(0, b"hello", b"")] * 20


def test_no_new_privileges_and_limits_hold_for_it_too(engine: Engine, make: Make) -> None:
    container = create_in(engine, "sleep", "1000", SecurityOpt=("no-new-privileges",), CapDrop=("ALL",))
    assert isinstance(container.record.HostConfig, HostConfig)
    container.start()
    id = engine.execs.create(
        container, ExecConfig(Cmd=("grep", "-E", "CapEff|NoNewPrivs|Seccomp:", "/proc/self/status"), AttachStdout=True)
    )
    with engine.execs.start(id) as line:
        found = b""
        while packet := line.receive():
            found += packet[1]
    assert found.split() == [b"CapEff:", b"0000000000000000", b"NoNewPrivs:", b"1", b"Seccomp:", b"2"]


def test_a_program_goes_on_when_the_engine_is_closed_and_its_container_can_still_be_stopped(engine_root: Path, engine_run: str) -> None:
    with Engine(str(engine_root), engine_run) as first:
        container = create_in(first, "sleep", "1000", name="goes-on")
        container.start()
        id = first.execs.create(container, ExecConfig(Cmd=("sleep", "1001"), AttachStdout=True))
        first.execs.start(id)
        pid = first.execs.get(id).Pid
    assert processes.alive(pid)
    with Engine(str(engine_root), engine_run) as second:
        second.containers.get("goes-on").remove(force=True)
        assert not processes.alive(pid)
