"""What Python code that keeps a container in a variable may rely on; its life is in test_lifecycle.py, notebooks in test_notebook.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import runtime
from labkit.errors import Conflict, InvalidInput, LabError, NotFound
from labkit.linux import capabilities

Bundle = Callable[..., str]

LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")


def test_the_end_is_told_as_often_as_it_is_asked_for(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({}, "sh", "-c", "echo once; exit 4"), root=root) as box:
        box.start()
        assert box.wait() == box.wait() == runtime.Finished(4, "once\n", "")


def test_what_has_stopped_keeps_its_files_until_it_is_deleted(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({"annotations": {"course": "os"}}, "false"), "box", root) as box:
        box.start()
        assert box.wait().code == 1
        state = json.loads(Path(root, "box/state.json").read_text())
        assert (state["id"], state["annotations"], state["cgroup"]) == ("box", {"course": "os"}, "labkit/box")
        assert json.loads(Path(root, "box/exit.json").read_text())["code"] == 1
    assert not Path(root, "box").exists()


def test_a_plan_stands_for_its_bundle_and_may_be_run_again(bundle: Bundle, root: str) -> None:
    plan = runtime.plan(bundle({}, "echo", "planned"), "box", root)
    done = runtime.Finished(0, "planned\n", "")
    assert (runtime.run(plan), runtime.run(plan)) == (done, done)
    with runtime.create(plan) as box:
        assert (box.id, box.root) == ("box", root)
        box.start()
        assert box.wait() == done


def test_its_id_is_refused_where_it_is_taken_or_can_be_none(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), "box", root):
        with pytest.raises(Conflict, match="container box: there is one of that id"):
            runtime.run(bundle({}, "true"), "box", root)
        with pytest.raises(InvalidInput, match=r"container id: '\.\./box'"):
            runtime.run(bundle({}, "true"), "../box", root)
        assert [box.status for box in runtime.containers(root)] == ["created"]


def test_one_that_is_found_can_do_all_but_wait(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), "box", root) as box:
        found = runtime.find("box", root)
        found.start()
        assert found.exec("echo", "hello").stdout == "hello\n"
        assert (found.pid, found.processes(), found.status) == (box.pid, (box.pid,), "running")
        with pytest.raises(LabError, match=rf"only the one who made it hears of its end; see {root}/box/exit.json"):
            found.wait()
        found.kill("KILL")
        assert box.wait().code == 137


def test_what_is_gone_has_a_status_and_nothing_else(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), "box", root) as box:
        pass
    assert (box.status, repr(box)) == ("gone", "<container box: gone>")
    box.delete(force=True)
    for ask in (box.start, box.kill, box.pause, box.processes, lambda: box.pid, lambda: box.exec("true"), box.delete):
        with pytest.raises(NotFound, match="container box: does not exist"):
            ask()


def test_megabytes_pass_through_a_program_executed_in_it(bundle: Bundle, root: str) -> None:
    text = "0123456789abcdef" * (3 << 16)
    with runtime.create(bundle(), root=root) as box:
        box.start()
        assert box.exec("tee", "/dev/stderr", stdin=text) == runtime.Finished(0, text, text)


def test_output_waits_to_be_read_however_late(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({}, "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"), root=root) as box:
        box.start()
        assert box.exec("true").code == 0
        assert box.wait().stdout == "x" * 3_000_000


def test_bytes_that_are_no_text_do_not_hurt(bundle: Bundle, root: str) -> None:
    assert runtime.run(bundle({}, "printf", "a\\377b"), root=root).stdout == "a\ufffdb"


def test_many_threads_execute_in_one_container_at_once(bundle: Bundle, root: str) -> None:
    heard: dict[int, str] = {}
    with runtime.create(bundle(), root=root) as box:
        box.start()

        def ask(number: int) -> None:
            heard[number] = box.exec("sh", "-c", f"cat; exit {number}", stdin=f"{number}").stdout

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert heard == {number: str(number) for number in range(8)}


@pytest.fixture
def lacking() -> str:
    """A capability that this machine's root does not have, as in many a virtual machine; nothing where it has all."""
    missing = set(capabilities.NAMES[: capabilities.last() + 1]) - capabilities.of().bounding
    return sorted(missing)[0] if missing else ""


def test_warnings_are_told_and_the_container_runs(
    bundle: Bundle, root: str, lacking: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["CAP_KILL", "CAP_FROM_THE_FUTURE", *([lacking] if lacking else [])]
    path = bundle({"process.capabilities": dict.fromkeys(("bounding", "effective", "permitted"), wanted)})
    with runtime.create(path, root=root) as box:
        told = capsys.readouterr().err
        assert "labkit: warning: process.capabilities: CAP_FROM_THE_FUTURE unknown, ignored\n" in told
        assert not lacking or f"labkit: warning: capabilities that labkit itself does not have: {lacking}\n" in told
        box.start()
        assert box.exec("true").code == 0
        assert capsys.readouterr().err == told


def test_warnings_of_the_command_line_go_to_the_log_if_there_is_one(bundle: Bundle, root: str, directory: Path) -> None:
    """For an engine gives it the container's standard error."""
    path = bundle({"process.capabilities": {"bounding": ["CAP_FROM_THE_FUTURE"]}}, "true")
    warning = "process.capabilities: CAP_FROM_THE_FUTURE unknown, ignored"

    def told(*options: str) -> str:
        command = [LABKIT, "runtime", "--root", root, *options, "run", "--bundle", path, "box"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert told() == f"labkit: warning: {warning}\n"
    assert told("--log", f"{directory}/log", "--log-format", "json") == ""
    entry = json.loads((directory / "log").read_text())
    assert (entry["level"], entry["msg"]) == ("warning", warning)
