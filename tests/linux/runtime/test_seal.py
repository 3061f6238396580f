"""Every process of labkit's on the way into a container runs from a read-only mount; test_confinement.py attacks from inside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from labkit import runtime
from labkit.linux import processes
from labkit.runtime import client, seal

Bundle = Callable[..., str]

INTERPRETER = os.path.realpath(sys.executable)


def is_sealed(pid: int) -> bool:
    """Whether root cannot open the program file of a process of labkit's for writing, since it lies on a read-only mount."""
    fd = os.open(f"/proc/{pid}/exe", os.O_PATH)
    try:
        assert os.path.samestat(os.fstat(fd), os.stat(INTERPRETER)), "this is no process of labkit's own"
        with pytest.raises(OSError, match=r"Read-only|busy"):  # without O_TRUNC: it would be this machine's interpreter
            os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
        return bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)
    finally:
        os.close(fd)


def test_an_init_that_waits_to_be_started_and_its_monitor_are_sealed(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), root=root) as box:
        monitor = processes.stat(box.pid)
        assert monitor is not None
        assert is_sealed(box.pid) and is_sealed(monitor.ppid)
        assert not is_sealed(os.getpid()), "this test would see nothing"


def test_the_spawner_and_what_it_keeps_ready_are_sealed() -> None:
    assert client._running is not None
    spawner = client._running[2].pid
    family = [spawner, *processes.children(spawner)]
    family += [grandchild for child in family[1:] for grandchild in processes.children(child)]
    assert len(family) == 3, "a spawner, a monitor and a builder"
    assert all(is_sealed(pid) for pid in family)


def test_an_init_of_the_command_line_is_sealed(bundle: Bundle, root: str) -> None:
    command = [os.path.join(os.path.dirname(sys.executable), "labkit"), "runtime", "--root", root, "create", "--bundle", bundle(), "box"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with runtime.find("box", root) as box:
        assert is_sealed(box.pid)


def test_nothing_of_the_seal_shows_in_a_mount_table(bundle: Bundle, root: str) -> None:
    with runtime.create(bundle(), root=root) as box:
        for pid in (os.getpid(), box.pid):
            with open(f"/proc/{pid}/mountinfo") as table:
                assert INTERPRETER not in table.read()


def test_a_program_is_sealed_once_and_keeps_its_arguments_and_environment() -> None:
    program = "import os, sys; from labkit.runtime import seal; seal.seal(); "
    program += "print(os.getpid(), seal.is_sealed(), sys.argv[1:], os.environ['A'])"
    sealed = subprocess.Popen([sys.executable, "-c", program, "one", "two words"], stdout=subprocess.PIPE, text=True, env={"A": "b"})
    out, _ = sealed.communicate()
    assert out == f"{sealed.pid} True ['one', 'two words'] b\n"


def test_who_was_not_sealed_knows() -> None:
    assert not seal.is_sealed()


@pytest.mark.parametrize("words", [["state", "box"], ["list"], ["features"]])
def test_a_command_that_starts_nothing_takes_no_time_for_it(words: list[str]) -> None:
    script = f"""if True:
        import sys
        from labkit import cli
        sys.argv = ["labkit", "runtime", *{words}]
        cli.main()
        from labkit.runtime import seal
        print("sealed" if seal.is_sealed() else "as it was")
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "as it was"
