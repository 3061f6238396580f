"""A container's life through Python: created, running, paused, stopped, gone; and what is refused on the way."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import runtime
from labkit.errors import Conflict, InvalidInput, LabError, NotFound
from labkit.linux import cgroups, processes
from labkit.runtime import container, state
from labkit.runtime.client import Job
from labkit.runtime.spawner import Request

Bundle = Callable[..., str]


def test_from_created_to_gone(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({}, "sh", "-c", "echo hello; cat; exit 3"), "box", root, stdin="input\n") as box:
        assert (box.status, repr(box), box.cgroup) == ("created", "<container box: created>", "labkit/box")
        assert [each.id for each in runtime.containers(root)] == ["box"]
        box.start()
        assert box.wait() == runtime.Finished(3, "hello\ninput\n", "")
        assert box.status == "stopped"
    assert box.status == "gone" and runtime.containers(root) == []
    with pytest.raises(NotFound, match="container box: does not exist"):
        runtime.find("box", root)


def test_run_gives_exit_code_and_both_outputs(bundle: Bundle, root: str) -> None:
    script = "read word; echo out $word; echo err $word >&2; kill -TERM $$; exit 5"
    assert runtime.run(bundle({}, "sh", "-c", script), root=root, stdin="in\n") == runtime.Finished(5, "out in\n", "err in\n")


def test_much_output_and_much_input_pass_through(bundle: Bundle, root: str) -> None:
    text = "".join(f"line {number}\n" for number in range(100_000))
    assert runtime.run(bundle({}, "tee", "/dev/stderr"), root=root, stdin=text) == runtime.Finished(0, text, text)


def test_a_program_with_a_terminal_has_both_outputs_in_one_and_its_input_ends(bundle: Bundle, root: str) -> None:
    script = "tty; stty size; read word; echo got $word; echo err >&2; cat; echo end"
    path = bundle({"process.terminal": True, "process.consoleSize": {"height": 30, "width": 90}}, "sh", "-c", script)
    done = runtime.run(path, root=root, stdin="hello\n")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.replace("\r\n", "\n").replace("hello\n", "", 1) == "/dev/pts/0\n30 90\ngot hello\nerr\nend\n"
    with runtime.create(bundle({"process.terminal": True}, "sh", "-c", "cat; echo end"), root=root) as box:
        box.start()
        assert box.wait() == runtime.Finished(0, "end\r\n", "")


def test_execute_in_it(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({"hostname": "shop"}), root=root) as box:
        assert box.exec("hostname").stdout == "shop\n"  # before the start, too: it is all there but the program
        box.start()
        assert box.exec("sh", "-c", "cat; echo err >&2; exit 9", stdin="in\n") == runtime.Finished(9, "in\n", "err\n")
        assert box.exec("id", "-u", user=(1000, 1000)).stdout == "1000\n"
        assert box.exec("cat", "/proc/1/comm").stdout == "sleep\n"
        with pytest.raises(LabError, match=r"exec no-such: ENOENT \(executable file not found in \$PATH\)"):
            box.exec("no-such")
        with pytest.raises(InvalidInput, match="exec: name a program"):
            box.exec()
        assert box.processes() == (box.pid,)


def test_pause_stands_still_until_resume(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({}, "sh", "-c", "while :; do echo x >> /count; done"), root=root) as box:
        box.start()
        with pytest.raises(Conflict, match="cannot be resumed: it is running, not paused"):
            box.resume()
        box.pause()
        assert box.status == "paused"
        with pytest.raises(Conflict, match="cannot execute in it: it is paused"):
            box.exec("true")
        with pytest.raises(Conflict, match="cannot be deleted: it is paused"):
            box.delete()
        box.resume()
        assert box.status == "running"
        box.pause()
        box.delete(force=True)
        assert box.status == "gone"


def test_a_signal_reaches_the_program(bundle: Bundle, root: str) -> None:
    script = "trap 'echo got it; exit 6' USR1; echo > /ready; while :; do sleep 0.01; done"
    with runtime.create(bundle({}, "sh", "-c", script), root=root) as box:
        box.start()
        while box.exec("test", "-e", "/ready").code:
            assert box.status == "running"
        box.kill("USR1")
        assert box.wait() == runtime.Finished(6, "got it\n", "")
        with pytest.raises(Conflict, match="cannot be sent a signal: it is stopped"):
            box.kill()


def test_it_is_started_once(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), root=root) as box:
        box.start()
        with pytest.raises(Conflict, match="cannot be started: it is running, not created"):
            box.start()
        box.kill("KILL")
        box.wait()
        with pytest.raises(Conflict, match="cannot be started: it is stopped, not created"):
            box.start()


def test_a_running_one_is_not_deleted_unless_by_force(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), root=root) as box:
        box.start()
        pid = box.pid
        with pytest.raises(Conflict, match="it is running"):
            box.delete()
        assert processes.alive(pid)
        box.delete(force=True)
        assert not processes.alive(pid) and box.status == "gone"
        box.delete(force=True)  # gone is fine


def test_one_that_is_being_created_is_not_deleted_unless_by_force(bundle: Bundle, root: str) -> None:
    plan = runtime.plan(bundle(), "box", root)
    for _ in range(10):
        plan.step()
    assert runtime.find("box", root).status == "creating"
    with pytest.raises(Conflict, match="cannot be deleted: it is creating"):
        container.delete(root, "box")
    with pytest.raises(Conflict, match="cannot be sent a signal: it is creating"):
        container.kill(root, "box")
    container.delete(root, "box", force=True)
    with pytest.raises((LabError, OSError)):
        plan.finish()


@pytest.fixture
def neighbour() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A group of somebody else's, with a process in it."""
    with cgroups.create(f"labkit-test-{os.getpid()}") as group, subprocess.Popen(["sleep", "infinity"]) as process:
        group.add(process.pid)
        yield group.path, process
        assert process.poll() is None, "the neighbour was killed"
        process.kill()


def test_a_group_that_others_are_in_is_refused_and_they_are_unharmed(
    bundle: Bundle, root: str, neighbour: tuple[str, subprocess.Popen[bytes]]
) -> None:
    path, process = neighbour
    for group in (f"/{path}", f"/{path}/"):
        with pytest.raises(Conflict, match=f"cgroup {path}: processes {process.pid} are in it already"):
            runtime.run(bundle({"linux.cgroupsPath": group}, "true"), root=root)
    assert state.ids(root) == [] and cgroups.Cgroup(path).exists()


def test_a_container_may_live_below_a_group_of_others(bundle: Bundle, root: str, neighbour: tuple[str, subprocess.Popen[bytes]]) -> None:
    path, _ = neighbour
    if cgroups.detect().mode == "v2":
        return  # a v2 group that holds processes hands no controllers down
    assert runtime.run(bundle({"linux.cgroupsPath": f"/{path}/box"}, "true"), root=root).code == 0
    assert cgroups.Cgroup(path).exists() and not cgroups.Cgroup(f"{path}/box").exists()


def test_two_bundles_that_name_one_group_do_not_meet_in_it(bundle: Bundle, root: str) -> None:
    path = bundle({"linux.cgroupsPath": "shared"})
    with runtime.create(path, "first", root) as box:
        box.start()
        with pytest.raises(Conflict, match="cgroup labkit/shared: processes"):
            runtime.run(path, "second", root)
        assert box.status == "running"


@pytest.mark.parametrize("moment", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_ends_the_creation_and_the_last_hooks_still_clean_up(
    bundle: Bundle, root: str, directory: Path, moment: str
) -> None:
    note = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {directory}/note"]}
    hooks = {moment: [{"path": "/bin/sh", "args": ["sh", "-c", "echo no network >&2; exit 3"]}], "poststop": [note]}
    with pytest.raises(LabError, match=rf"hook {moment} /bin/sh: exit code 3: no network"):
        runtime.run(bundle({"hooks": hooks}, "true"), root=root)
    assert '"status": "stopped"' in (directory / "note").read_text() and state.ids(root) == []


def test_a_request_may_be_for_a_plan_of_any_size(bundle: Bundle, root: str) -> None:
    path = bundle({"process.env": ["PATH=/bin", *(f"V{number}={'x' * 1000}" for number in range(200))]}, "sh", "-c", "echo ${#V199}")
    assert runtime.run(path, root=root).stdout == "1000\n"


def test_a_long_state_directory_is_no_matter(bundle: Bundle, directory: Path) -> None:
    """A socket's address holds 107 bytes; a path may be longer."""
    root = str(directory / ("deep" * 20) / ("er" * 30))
    with runtime.create(bundle({}, "echo", "hello"), "box" * 10, root) as box:
        box.start()
        assert box.wait().stdout == "hello\n"
    job = Job(Request(runtime.plan(bundle({}, "true"), "box" * 10, root), remove=True), capture=False)
    assert job.hear("ended") == 0
    job.close()
