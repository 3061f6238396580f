from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from labkit.errors import Conflict, InvalidInput, LabError
from labkit.linux import cgroups, idmaps, namespaces, processes
from labkit.linux.box import Box


@pytest.fixture(params=["uts", "pid"], ids=["box", "box-as-process-1"])
def kind(request: pytest.FixtureRequest) -> str:
    """A box is an ordinary process, or process 1 of a namespace, for which the kernel has rules of its own."""
    chosen: str = request.param
    return chosen


def wait_for_end(pid: int, act: Callable[[], object]) -> bool:
    """Do something that shall end a process, and see whether it does."""
    pidfd = processes.pidfd(pid)
    act()
    ended = processes.wait(pidfd, 10)
    os.close(pidfd)
    return ended


def test_run_returns_what_was_written_without_the_last_newlines(kind: str) -> None:
    with namespaces.new(kind) as box:
        assert box.run("echo one; echo two; echo; echo err >&2") == "one\ntwo"
        assert box.run("true") == ""
        assert box.run("printf '\\377'") == "\ufffd"
        assert len(box.run("head -c 3000000 /dev/zero | tr '\\0' x")) == 3_000_000


def test_run_of_a_command_that_never_stops_writing_ends() -> None:
    with namespaces.new("uts") as box:
        for command in "yes", "yes >&2":
            with pytest.raises(LabError, match=f"{command}: wrote more than 16 MiB, killed"):
                box.run(command)
        assert box.run("yes & true")[:2] in ("", "y\n")


def test_run_takes_output_written_through_the_name_of_the_stream() -> None:
    with namespaces.new("uts") as box:
        assert box.run("echo one; echo two > /dev/stdout; echo three > /dev/stderr; echo four") == "one\ntwo\nfour"


def test_a_background_process_may_go_on_writing(tmp_path: os.PathLike[str]) -> None:
    with namespaces.new("uts") as box:
        box.run(f"cd {tmp_path}; mkfifo go done; (read x < go; echo late; echo late >&2; echo alive > done) &")
        assert box.run(f"cd {tmp_path}; echo > go; cat done") == "alive"


def test_run_is_in_the_makers_directory_with_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDENT", "seven")
    with namespaces.new("mnt") as box:
        assert box.run("pwd; echo $STUDENT").split() == [os.getcwd(), "seven"]


def test_run_reads_no_input_and_ignores_no_signals() -> None:
    with namespaces.new("uts") as box:
        assert box.run("cat") == ""
        ignored = box.run("grep SigIgn /proc/self/status").split()[1]
        assert int(ignored, 16) & 0x7FFFFFFF == 0  # the C library keeps 32 and 33 for itself


@pytest.mark.parametrize(("command", "code"), [("echo sorry >&2; exit 3", 3), ("kill -9 $$", 137), ("no-such-command", 127)])
def test_a_command_that_fails_raises_with_its_exit_code_and_its_errors(command: str, code: int) -> None:
    with namespaces.new("uts") as box, pytest.raises(LabError) as caught:
        box.run(command)
    assert str(caught.value).startswith(f"{command}: exit code {code}")
    assert "sorry" in str(caught.value) or code != 3


def test_run_does_not_wait_for_what_goes_on_in_the_background(kind: str) -> None:
    with namespaces.new(kind) as box:
        assert box.run("sleep 1000 & echo done") == "done"


def test_a_command_that_takes_too_long_is_killed_with_all_it_started() -> None:
    with namespaces.new("uts") as box:
        with pytest.raises(LabError, match=r"sleep 1000 \| cat: still running after 0.05 seconds"):
            box.run("sleep 1000 | cat", timeout=0.05)
        assert box.run("echo next") == "next"
        while processes.children(box.pid):
            assert box.run("true") == ""


def test_an_interrupt_kills_the_command_and_leaves_the_box() -> None:
    with namespaces.new("uts") as box:

        def interrupt() -> None:
            while not processes.children(box.pid):
                time.sleep(0)
            os.kill(os.getpid(), signal.SIGINT)

        other = threading.Thread(target=interrupt)
        other.start()
        with pytest.raises(KeyboardInterrupt):
            box.run("sleep 1000")
        other.join()
        assert box.run("echo next") == "next"


def test_two_threads_can_run_commands_at_once(tmp_path: os.PathLike[str]) -> None:
    with namespaces.new("uts") as box:
        box.run(f"mkfifo {tmp_path}/fifo")
        heard: list[str] = []
        listener = threading.Thread(target=lambda: heard.append(box.run(f"cat {tmp_path}/fifo")))
        listener.start()
        box.run(f"echo hello > {tmp_path}/fifo")
        listener.join()
        assert heard == ["hello"]


def test_orphans_are_reaped(kind: str) -> None:
    with namespaces.new(kind) as box:
        for _ in range(3):
            box.run("(sleep 0 &)")
        while processes.children(box.pid):
            box.run("true")
        assert not processes.children(box.pid)


def test_close_ends_the_box_and_all_that_runs_in_it(kind: str) -> None:
    box = namespaces.new(kind)
    box.run("sleep 1001 &")
    (left,) = processes.children(box.pid)
    assert wait_for_end(left, box.close)
    assert processes.stat(box.pid) is None
    box.close()
    with pytest.raises(Conflict, match="has ended"):
        box.run("true")


def test_the_with_block_ends_the_box_even_after_an_error(kind: str) -> None:
    with pytest.raises(ZeroDivisionError), namespaces.new(kind) as box:
        raise ZeroDivisionError
    assert processes.stat(box.pid) is None


def test_a_box_that_nobody_remembers_ends_and_is_reaped() -> None:
    box: Box | None = namespaces.new("uts")
    assert box is not None
    found = processes.stat(box.pid)
    assert found is not None

    def forget() -> None:
        nonlocal box
        box = None
        gc.collect()

    assert wait_for_end(found.pid, forget)
    assert processes.stat(found.ppid) is None


def test_a_box_ends_when_its_maker_is_killed(kind: str) -> None:
    script = f"""
from labkit.linux import namespaces
box = namespaces.new("{kind}")
box.run("sleep 1002 &")
print(box.pid, flush=True)
input()
"""
    maker = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert maker.stdin is not None and maker.stdout is not None
    with maker.stdin, maker.stdout:
        pid = int(maker.stdout.readline())
        (sleeper,) = processes.children(pid)
        sleeping = processes.pidfd(sleeper)
        assert wait_for_end(pid, maker.kill)
        assert processes.wait(sleeping, 10)
        os.close(sleeping)
    maker.wait()


def test_a_box_ends_when_its_maker_is_killed_though_a_fork_of_it_lives_on(kind: str) -> None:
    script = f"""
import os
from labkit.linux import namespaces
box = namespaces.new("{kind}")
twin = os.fork()
if twin:
    print(box.pid, twin, flush=True)
input()
"""
    maker = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert maker.stdin is not None and maker.stdout is not None
    with maker.stdin, maker.stdout:
        pid, twin = map(int, maker.stdout.readline().split())
        assert wait_for_end(pid, maker.kill)
        assert processes.alive(twin)
        assert wait_for_end(twin, maker.stdin.close)
    maker.wait()


def test_a_box_ends_with_its_helper(kind: str) -> None:
    with namespaces.new(kind) as box:
        box.run("sleep 1003 &")
        found = processes.stat(box.pid)
        assert found is not None and found.ppid != os.getpid()
        assert wait_for_end(box.pid, lambda: os.kill(found.ppid, signal.SIGKILL))
        with pytest.raises(Conflict, match="has ended"):
            box.run("true")


def test_a_box_that_is_killed_says_so_and_nothing_of_it_is_left(kind: str) -> None:
    with namespaces.new(kind) as box:

        def kill() -> None:
            while not processes.children(box.pid):
                time.sleep(0)
            os.kill(box.pid, signal.SIGKILL)

        other = threading.Thread(target=kill)
        other.start()
        with pytest.raises(LabError, match="the box ended meanwhile"):
            box.run("sleep 1000")
        other.join()
        with pytest.raises(Conflict, match="has ended"):
            box.run("true")


def test_a_box_that_was_stopped_ends_all_the_same(kind: str) -> None:
    box = namespaces.new(kind)
    box.run("sleep 1004 &")
    (left,) = processes.children(box.pid)
    os.kill(box.pid, signal.SIGSTOP)
    assert wait_for_end(left, box.close)
    assert not processes.alive(box.pid)


def test_a_command_that_cannot_be_started_fails_and_the_box_goes_on() -> None:
    with namespaces.new("uts") as box, cgroups.create("labkit/test-box", cgroups.Limits(pids=1)) as group:
        group.add(box.pid)
        with pytest.raises(LabError, match=r"exit code 126\nno process could be started: Resource temporarily unavailable"):
            box.run("true")
        group.limit(cgroups.Limits(pids=5))
        assert box.run("echo next") == "next"


def test_no_descriptor_of_a_box_stays_open(kind: str) -> None:
    before = os.listdir("/proc/self/fd")
    with namespaces.new(kind) as box:
        for command in "true", "exit 1", "sleep 1005 &", "yes":
            with contextlib.suppress(LabError):
                box.run(command)
    with pytest.raises(Conflict):
        box.run("true")
    assert os.listdir("/proc/self/fd") == before


def test_a_box_shows_what_it_is() -> None:
    with namespaces.new("uts", "network") as box:
        assert repr(box) == f"<Box {box.pid}: uts, net of its own>"
        assert box.namespaces() == namespaces.of(box.pid)


def test_ids_are_mapped_as_asked() -> None:
    uids, gids = (idmaps.IdMap(0, 100000, 1000), idmaps.IdMap(5000, 300000, 1)), (idmaps.IdMap(0, 200000, 65536),)
    with namespaces.new("user", uids=uids, gids=gids) as box:
        assert idmaps.read(box.pid) == (uids, gids)
        assert box.run("id -u; id -g; id -G").split() == ["0", "0", "0"]
        outside = os.stat(f"/proc/{box.pid}")
        assert (outside.st_uid, outside.st_gid) == (100000, 200000)


def test_a_map_that_is_refused_leaves_no_box_behind() -> None:
    before = processes.children(os.getpid())
    with pytest.raises(InvalidInput, match=r"uidMappings\[0\]"):
        namespaces.new("user", uids=(idmaps.IdMap(0, 0, 0),))
    assert processes.children(os.getpid()) == before
