"""The same cases on labkit and on a reference: every test that takes ``runtime`` or ``container`` runs once on each.

runc says what is right, wherever it is installed. Both are called by their command line, as podman and dockerd call them:
a bundle in a directory, and this process (pytest is a subreaper, see the root conftest.py) as the parent that the container's
init is left to, as conmon and containerd-shim are.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest

from labkit.runtime import defaults
from tests.patience import PATIENCE

COMMANDS = {"labkit": (os.path.join(os.path.dirname(sys.executable), "labkit"), "runtime"), "runc": (shutil.which("runc") or "",)}
SECONDS = 30 * PATIENCE  # that a command may take before a test gives up on it
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended. ``code`` is as a shell has it: 128 + n for signal n."""

    code: int
    out: str
    err: str


@dataclasses.dataclass(frozen=True)
class Runtime:
    """An OCI runtime's command line with a state directory of its own."""

    name: str
    root: Path

    def command(self, *words: str) -> list[str]:
        return [*COMMANDS[self.name], "--root", str(self.root), *words]

    def __call__(self, *words: str, stdin: bytes = b"", cwd: Path | None = None, pass_fds: tuple[int, ...] = ()) -> Result:
        # Files, not pipes: a container that is created inherits them, and a pipe would not end before the container does.
        with tempfile.TemporaryFile() as into, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            into.write(stdin)
            into.seek(0)
            command = self.command(*words)
            done = subprocess.run(command, stdin=into, stdout=out, stderr=err, cwd=cwd, pass_fds=pass_fds, timeout=SECONDS, check=False)
            out.seek(0)
            err.seek(0)
            return Result(done.returncode if done.returncode >= 0 else 128 - done.returncode, out.read(), err.read())


@dataclasses.dataclass
class Container:
    """A bundle and the container that comes of it, whose standard output is a pipe to us when it is created."""

    runtime: Runtime
    id: str
    bundle: Path
    output: IO[str] | None = None

    @property
    def rootfs(self) -> Path:
        return self.bundle / "rootfs"

    def run(self, *options: str, **how: object) -> Result:
        """``run`` in the foreground, to the end."""
        return self.runtime("run", "--bundle", str(self.bundle), *options, self.id, **how)  # type: ignore[arg-type]

    def create(self, *options: str) -> Result:
        """``create``; from here on, this process is the parent of the container's init."""
        command = self.runtime.command("create", "--bundle", str(self.bundle), *options, self.id)
        reader, writer = os.pipe()
        self.close()
        self.output = open(reader)
        with tempfile.TemporaryFile("w+") as err, open(writer, "w") as out:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=SECONDS, check=False)
            err.seek(0)
            return Result(done.returncode, "", err.read())

    def line(self) -> str:
        """The next line that the process writes: waits for it."""
        assert self.output
        assert select.select([self.output], [], [], SECONDS)[0], f"{self.id} says nothing"
        return self.output.readline().rstrip("\n")

    def close(self) -> None:
        if self.output:
            self.output.close()

    def start(self) -> Result:
        return self.runtime("start", self.id)

    def created(self, *options: str) -> Container:
        made = self.create(*options)
        assert made.code == 0, made.err
        return self

    def started(self, *options: str) -> Container:
        self.created(*options)
        begun = self.start()
        assert begun.code == 0, begun.err
        return self

    def state(self) -> dict[str, object]:
        shown = self.runtime("state", self.id)
        assert shown.code == 0, shown.err
        return dict(json.loads(shown.out))

    @property
    def pid(self) -> int:
        return int(str(self.state()["pid"]))

    def kill(self, signal: str = "KILL", *options: str) -> Result:
        return self.runtime("kill", *options, self.id, signal)

    def exec(self, *words: str, **how: object) -> Result:
        return self.runtime("exec", *words, **how)  # type: ignore[arg-type]

    def inside(self, script: str) -> str:
        """What a shell script says in the running container."""
        result = self.runtime("exec", self.id, "sh", "-c", script)
        assert result.code == 0, result.err
        return result.out.strip()

    def delete(self, *options: str) -> Result:
        return self.runtime("delete", *options, self.id)

    def wait(self, pid: int | None = None) -> int:
        """Wait for the init, or for another process that was left to us, and reap it: its exit code."""
        pid = self.pid if pid is None else pid
        handle = os.pidfd_open(pid)
        ended, _, _ = select.select([handle], [], [], SECONDS)
        os.close(handle)
        assert ended, f"process {pid} of {self.id} has not ended"
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return code if code >= 0 else 128 - code

    def cgroups(self) -> list[str]:
        """The directories of its control group that there are, one a hierarchy."""
        with open("/proc/self/mountinfo") as table:
            mounted = [line.split() for line in table]
        roots = [words[4] for words in mounted if words[words.index("-") + 1] in ("cgroup", "cgroup2")]
        return [found for root in roots if os.path.isdir(found := f"{root}/{self.id}")]

    def frozen(self) -> bool:
        """Whether its control group stands still, as the kernel says it in version 1 or 2."""
        events = [f"{directory}/{name}" for directory in self.cgroups() for name in ("freezer.state", "cgroup.events")]
        return any(word in Path(file).read_text() for file in events if os.path.exists(file) for word in ("FROZEN", "frozen 1"))

    def cgroup_file(self, name: str) -> str:
        """The contents of a file of its control group, in whichever hierarchy has it."""
        (found,) = {file for directory in self.cgroups() if os.path.exists(file := f"{directory}/{name}")}
        with open(found) as file:
            return file.read().strip()


def change(config: dict[str, object], path: str, value: object) -> None:
    """Set what is at ``path``, such as ``process.user.uid`` or ``linux.namespaces[0].type``; ``mounts[+]`` appends."""
    *way, last = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]
    place: object = config
    for step in way:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]  # type: ignore[index,call-overload]
    if last == "+":
        place.append(value)  # type: ignore[attr-defined]
    else:
        place[last] = value  # type: ignore[index]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "labkit_only(why): not asked of runc 1.1, and why")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def is_asked(item: pytest.Item) -> bool:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return not (item.get_closest_marker("labkit_only") and parameters.get("runtime") == "runc")

    items[:] = filter(is_asked, items)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that others may walk through, as root of a user namespace must; pytest's own is root's alone."""
    with tempfile.TemporaryDirectory(prefix="labkit-") as path:
        os.chmod(path, 0o711)
        yield Path(path)


@pytest.fixture(params=[name for name, command in COMMANDS.items() if command[0]])
def runtime(request: pytest.FixtureRequest, directory: Path) -> Iterator[Runtime]:
    runtime = Runtime(request.param, directory / "state")
    yield runtime
    listed = runtime("list", "--quiet")
    assert (listed.code, listed.out) == (0, "")


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of one program, which is every command: its shell runs its own applets."""
    rootfs = tmp_path_factory.mktemp("busybox") / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "busybox is not installed", rootfs / "bin/busybox")
    for applet in ("sh", "sleep", "cat", "true", "false", "id", "env", "ps", "tty", "kill"):
        (rootfs / "bin" / applet).symlink_to("busybox")
    return rootfs


@pytest.fixture
def container(runtime: Runtime, busybox: Path, directory: Path) -> Iterator[Callable[..., Container]]:
    """``container({"hostname": "x"}, "sh", "-c", "true")``: a container of the default configuration with those changes.

    When the test is over, whatever it made is deleted. The tests' root conftest.py sees to it that nothing is left.
    """
    made: list[Container] = []

    def make(changes: Mapping[str, object] | None = None, *args: str) -> Container:
        id = f"labkit-{os.getpid()}-{next(_numbers)}"
        bundle = directory / id
        shutil.copytree(busybox, bundle / "rootfs", symlinks=True, copy_function=os.link)
        config = json.loads(defaults.text(defaults.spec()))
        config["process"]["terminal"] = False
        config["root"]["readonly"] = False
        config["linux"]["cgroupsPath"] = f"/{id}"
        config["process"]["args"] = list(args or ("sleep", "infinity"))
        for path, value in (changes or {}).items():
            change(config, path, copy.deepcopy(value))
        (bundle / "config.json").write_text(json.dumps(config))
        made.append(Container(runtime, id, bundle))
        return made[-1]

    yield make
    for box in made:
        if os.path.exists(runtime.root / box.id):
            box.delete("--force")
        box.close()
    left = [group for box in made for group in box.cgroups()]
    with contextlib.suppress(ChildProcessError):
        for group in left:  # what the runtime could not delete goes now, so that one failure stays one failure
            for pid in Path(group, "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
                os.waitpid(int(pid), 0)
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    for group in left:
        os.rmdir(group)
    assert not left
