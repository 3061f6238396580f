"""The program that asks for containers, such as a notebook's kernel: its threads, its interruption, its death by kill -9."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import runtime
from labkit.errors import Conflict, LabError
from labkit.lab import reset
from labkit.linux import cgroups, processes
from labkit.runtime import container, state

Bundle = Callable[..., str]


class Notebook:
    """Another Python that uses labkit.runtime; it says a line when it has got somewhere."""

    def __init__(self, program: str) -> None:
        command = [sys.executable, "-c", f"import os, sys\nfrom labkit import runtime\n{program}"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> str:
        """The next line that it says, within 30 seconds."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 30)
        assert ready, "it has not said anything"
        return self.process.stdout.readline().rstrip("\n")

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def notebook() -> Iterator[Callable[[str], Notebook]]:
    begun: list[Notebook] = []

    def make(program: str) -> Notebook:
        begun.append(Notebook(program))
        return begun[-1]

    yield make
    for each in begun:
        each.kill()
        for pipe in (each.process.stdin, each.process.stdout):
            assert pipe is not None
            pipe.close()


def end_of(pid: int) -> None:
    """Wait for the end of a process that is not ours."""
    try:
        pidfd = processes.pidfd(pid)
    except LabError:
        return
    assert processes.wait(pidfd, 10)
    os.close(pidfd)


def parent_of(pid: int) -> int:
    found = processes.stat(pid)
    assert found
    return found.ppid


# Death by kill -9


def test_a_container_outlives_the_notebook_and_the_next_one_finds_it(
    notebook: Callable[[str], Notebook], bundle: Bundle, root: str
) -> None:
    path = bundle({}, "sh", "-c", "while [ ! -e /stop ]; do sleep 0.01; done; exit 7")
    first = notebook(f"box = runtime.create({path!r}, 'box', {root!r}); box.start(); print(box.pid, flush=True); sys.stdin.readline()")
    pid = int(first.hear())
    first.kill()
    box = runtime.find("box", root)
    assert (box.status, box.pid) == ("running", pid)
    with pytest.raises(Conflict, match="container box: there is one of that id"):
        runtime.run(path, "box", root)
    monitor = parent_of(pid)
    assert box.exec("touch", "/stop").code == 0
    end_of(monitor)
    assert state.exit_code(root, "box") == 7  # its monitor has written down how it ended
    box.delete()


def test_what_a_killed_notebook_has_run_is_gone_when_it_ends_by_itself(
    notebook: Callable[[str], Notebook], bundle: Bundle, root: str
) -> None:
    path = bundle({}, "sh", "-c", "while [ ! -e /stop ]; do sleep 0.01; done")
    first = notebook(f"import threading; threading.Thread(target=runtime.run, args=({path!r}, 'box', {root!r})).start(); print(flush=True)")
    first.hear()
    while state.ids(root) != ["box"] or runtime.find("box", root).status != "running":
        assert first.process.poll() is None
    box = runtime.find("box", root)
    group, monitor = cgroups.Cgroup(box.cgroup), parent_of(box.pid)
    first.kill()
    assert box.exec("touch", "/stop").code == 0
    end_of(monitor)
    assert state.ids(root) == [] and not group.exists()  # run() removes it, and its monitor does so without whoever asked


def test_the_spawner_of_a_killed_notebook_ends(notebook: Callable[[str], Notebook], bundle: Bundle, root: str) -> None:
    first = notebook(
        f"from labkit.runtime import client\nruntime.run({bundle({}, 'true')!r}, root={root!r})\n"
        "print(client._running[2].pid, flush=True); sys.stdin.readline()"
    )
    spawner = int(first.hear())
    waiting = [pid for monitor in processes.children(spawner) for pid in (monitor, *processes.children(monitor))]
    first.kill()
    for pid in (spawner, *waiting):
        end_of(pid)


def test_reset_takes_everything_of_a_killed_notebook(notebook: Callable[[str], Notebook], bundle: Bundle, tmp_path: Path) -> None:
    """A running container, one that is paused, one that waits for its start, and one half-way through its plan."""
    marks = reset.Marks(f"labkit-test-{os.getpid()}", "lkt", (str(tmp_path / "run"), str(tmp_path / "var")))
    root = f"{marks.places[0]}/lessons"
    path = bundle({}, "sleep", "infinity")
    other = bundle({"linux.cgroupsPath": f"/{marks.group}-elsewhere/box"}, "sleep", "infinity")
    first = notebook(
        f"boxes = [runtime.create({path!r}, name, {root!r}) for name in ('running', 'paused', 'created')]\n"
        f"boxes.append(runtime.create({other!r}, 'elsewhere', {root!r}))\n"
        "for box in boxes[:2] + boxes[3:]: box.start()\n"
        "boxes[1].pause()\n"
        f"plan = runtime.plan({path!r}, 'stepped', {root!r})\n"
        "for _ in range(20): plan.step()\n"
        "print(*(box.pid for box in boxes), flush=True); sys.stdin.readline()"
    )
    pids = [int(word) for word in first.hear().split()]
    first.kill()
    told = reset.reset(marks)
    assert {f"deleted the container {name}" for name in ("running", "paused", "created", "elsewhere")} <= set(told)
    for pid in pids:
        assert not processes.alive(pid)
    assert not os.path.exists(marks.places[0]) or os.listdir(marks.places[0]) == []
    assert reset.reset(marks) == ()
    cgroups.Cgroup(f"{marks.group}-elsewhere").delete()
    assert runtime.run(bundle({}, "echo", "again"), "running", root).stdout == "again\n"
    reset.reset(marks)


# The interrupt button


@pytest.mark.parametrize("how", ["run", "exec"])
def test_an_interrupted_call_takes_its_program_along(notebook: Callable[[str], Notebook], bundle: Bundle, root: str, how: str) -> None:
    endless = bundle({}, "sh", "-c", "echo begun > /begun; sleep infinity")
    call = f"runtime.run({endless!r}, 'box', {root!r})"
    if how == "exec":
        call = f"box = runtime.create({endless!r}, 'box', {root!r}); box.start(); box.exec('sh', '-c', 'echo $$ > /executed; sleep 999')"
    first = notebook(f"try:\n    {call}\nexcept KeyboardInterrupt:\n    print('interrupted', flush=True)\nsys.stdin.readline()")
    sign = Path(endless, "rootfs", "begun" if how == "run" else "executed")
    while not sign.exists() or not sign.read_text().endswith("\n"):
        assert first.process.poll() is None
    first.process.send_signal(signal.SIGINT)
    assert first.hear() == "interrupted"
    if how == "run":
        assert state.ids(root) == []
    else:
        box = runtime.find("box", root)
        while len(box.processes()) > 2:  # init and the program it runs; what was executed is on the way out
            assert first.process.poll() is None
        box.delete(force=True)


# The spawner


def test_a_spawner_that_was_killed_is_started_anew_and_running_containers_do_not_mind(
    notebook: Callable[[str], Notebook], bundle: Bundle, root: str
) -> None:
    path, endless = bundle({}, "echo", "hello"), bundle({}, "sleep", "infinity")
    first = notebook(
        "import os, signal\nfrom labkit.runtime import client\n"
        f"box = runtime.create({endless!r}, 'box', {root!r}); box.start()\n"
        "for round in range(5):\n"
        "    killed = client._running[2].pid\n"
        "    os.kill(killed, signal.SIGKILL)\n"
        f"    print(runtime.run({path!r}, root={root!r}).stdout.strip(), runtime.run({path!r}, root={root!r}).stdout.strip(),\n"
        "          box.status, box.exec('echo', 'fine').stdout.strip(), client._running[2].pid != killed, flush=True)\n"
        "box.delete(force=True)"
    )
    assert [first.hear() for _ in range(5)] == ["hello hello running fine True"] * 5
    assert first.process.wait(30) == 0


def test_threads_that_ask_at_once_share_one_spawner(notebook: Callable[[str], Notebook], bundle: Bundle, root: str) -> None:
    first = notebook(
        "import threading\nfrom labkit.linux import processes\n"
        f"run = lambda: runtime.run({bundle({}, 'true')!r}, root={root!r})\n"
        "threads = [threading.Thread(target=run) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(len(processes.children(os.getpid())), flush=True)"
    )
    assert first.hear() == "1"
    assert first.process.wait(30) == 0


def test_a_fork_of_the_notebook_does_not_keep_it_from_ending(notebook: Callable[[str], Notebook], bundle: Bundle, root: str) -> None:
    first = notebook(
        f"runtime.run({bundle({}, 'true')!r}, root={root!r})\n"
        "import time\nchild = os.fork()\nif child == 0:\n    os.close(1)\n    sys.stdin.readline()\n    os._exit(0)\n"
        "print(child, flush=True)"
    )
    child = int(first.hear())
    assert first.process.wait(30) == 0
    os.kill(child, signal.SIGKILL)


def test_two_and_twenty_at_once(bundle: Bundle, root: str) -> None:
    path = bundle({}, "sh", "-c", "hostname; echo $$")
    done: list[runtime.Finished] = []
    threads = [threading.Thread(target=lambda: done.append(runtime.run(path, root=root))) for _ in range(22)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [runtime.Finished(0, "labkit\n1\n", "")] * 22


# How little it takes


def test_a_monitor_of_an_idle_container_is_small(bundle: Bundle, root: str, record_property: Callable[[str, object], None]) -> None:
    """What the processes of labkit share is counted by halves, thirds, …: so the more containers, the smaller each monitor."""
    path = bundle({}, "sleep", "infinity")
    boxes = [runtime.create(path, root=root) for _ in range(10)]
    rollups = [Path(f"/proc/{parent_of(box.pid)}/smaps_rollup").read_text() for box in boxes]
    for box in boxes:
        box.delete(force=True)
    sizes = [int(kB) for rollup in rollups for kB in re.findall(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)]
    record_property("monitor_pss_kB", max(sizes))
    assert len(sizes) == 10 and max(sizes) < 2500


def test_importing_the_runtime_loads_no_library_of_notebooks() -> None:
    program = "import sys, labkit, labkit.runtime; labkit.runtime.run; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"IPython", "ipywidgets", "anywidget", "matplotlib", "numpy", "click", "rich", "pyroute2", "asyncio"} & set(loaded)


def test_whoever_made_a_container_alone_can_wait_for_it(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle({}, "sh", "-c", "exit 4"), "box", root) as box:
        with pytest.raises(LabError, match=r"only the one who made it hears of its end; see .*/box/exit.json"):
            runtime.find("box", root).wait()
        box.start()
        assert box.wait().code == 4
        assert (box.status, state.exit_code(root, "box")) == ("stopped", 4)
    assert box.status == "gone" and container.destroy_all(root) == []
