"""What holds for every test: nothing is left on the machine afterwards.

Before and after each test outside tests/unit, each module of them, and each notebook, these are compared:

    mounts        of our mount namespace (/proc/self/mountinfo)
    links         of our network namespace (/sys/class/net)
    cgroups       in every hierarchy that is mounted; labkit/ and labkit/containers/, which others are in, may stay; systemd's are its own
    namespaces    that our own threads are in, that our descriptors hold, or that are kept by name under /run
    processes     that descend from us: we are their subreaper, so an orphan is handed to us, and no double fork hides one
    state         directories of containers, /run/labkit/*/*

The test fails, naming the difference. Zombies count as gone. A machine has other users, and the kernel needs a moment to
take things down, so a difference must last: it is looked at again for two seconds. What another run of the tests holds at
the same time is left out where it can be told (its temporary directory; its process in the cgroup).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import hypothesis
import pytest

from labkit.linux import mounts, processes, syscalls
from tests.patience import PATIENCE

ROOT = Path(__file__).parent
pytest_plugins = ["tests.chaos", "tests.registries"]
SETTLE_SECONDS = 2.0 * PATIENCE
SYSTEMDS = ("init.scope", "system.slice", "user.slice", "machine.slice")
"""Groups at the top in which systemd makes and removes others for whoever logs in, and for its services."""
SYSTEMDS_MOUNTS = ("/run/user/", "/run/credentials/")

hypothesis.settings.register_profile("labkit", deadline=None, database=None)  # other users slow us down; nothing is written here
hypothesis.settings.load_profile("labkit")


# ── What there is ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Traces:
    """Everything on the machine that a test of ours could have left, by kind, each as a line for people."""

    mounts: frozenset[str]
    links: frozenset[str]
    cgroups: frozenset[str]
    namespaces: frozenset[str]
    processes: frozenset[str]
    state: frozenset[str]

    def left_since(self, before: Traces) -> list[str]:
        """What is there now and was not there before, and the mounts and links that are missing."""
        kinds = [field.name for field in fields(self)]
        left = [f"{kind}: {line}" for kind in kinds for line in sorted(getattr(self, kind) - getattr(before, kind))]
        left = [line for line in left if not is_in_use_by_others(line)]
        gone = [f"{kind}: {line} is gone" for kind in ("mounts", "links") for line in sorted(getattr(before, kind) - getattr(self, kind))]
        return left + [line for line in gone if "labkit" not in line and " lk" not in line]


def traces(temporary: str) -> Traces:
    """What there is now; ``temporary`` is the directory that this run of the tests may use."""
    return Traces(
        mounts=frozenset(f"{mount.target} ({mount.fstype})" for mount in mounts.table() if not is_of_others(mount.target, temporary)),
        links=frozenset(f" {name}" for name in os.listdir("/sys/class/net")),
        cgroups=frozenset(groups()),
        namespaces=frozenset(namespaces_held()),
        processes=frozenset(f"{stat.pid} {stat.command}, started at {stat.start_time}" for stat in lasting().values()),
        state=frozenset(path for place in subdirectories("/run/labkit") for path in subdirectories(place) if read(f"{path}/state.json")),
    )


def descendants() -> dict[int, processes.Stat]:
    """The living processes below this one, but for pytest's own short-lived helpers that are us."""
    everyone = {pid: stat for name in os.listdir("/proc") if name.isdecimal() and (stat := processes.stat(pid := int(name)))}
    found: dict[int, processes.Stat] = {}
    for pid, stat in everyone.items():
        line = [pid]
        while (above := everyone.get(line[-1])) and above.ppid in everyone and above.ppid != os.getpid():
            line.append(above.ppid)
        if above and above.ppid == os.getpid() and stat.state not in "ZX":
            found[pid] = stat
    return found


def lasting() -> dict[int, processes.Stat]:
    """The same without the runtime's spawners, and the monitor and builder that each keeps ready: once used, it waits for the next."""
    found = descendants()
    ours = {pid for pid in found if b"labkit.runtime import spawner" in command_line(pid)}
    below: dict[int, set[int]] = {pid: set() for pid in found}
    for pid, stat in found.items():
        below.get(stat.ppid, set()).add(pid)
    idle = {pid for pid in ours if found[pid].ppid not in ours}
    for spawner in tuple(idle):
        # A monitor that has a container is above its init, which is another program; one that is ready is above its builder alone.
        ready = [monitor for monitor in below[spawner] & ours if below[monitor] and below[monitor] <= ours]
        if len(ready) == 1:
            idle.update(ready, below[ready[0]])
    return {pid: stat for pid, stat in found.items() if pid not in idle}


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def groups() -> Iterator[str]:
    for mount in mounts.table():
        if mount.fstype in ("cgroup", "cgroup2"):
            shared = (f"{mount.target}/labkit", f"{mount.target}/labkit/containers")
            for directory, below, _ in os.walk(mount.target):
                if directory == mount.target:
                    below[:] = (name for name in below if name not in SYSTEMDS)
                if directory not in shared:
                    yield directory


def namespaces_held() -> Iterator[str]:
    for task in os.listdir("/proc/self/task"):
        for kind in os.listdir("/proc/self/ns"):
            try:
                yield f"a thread of the tests is in {os.readlink(f'/proc/self/task/{task}/ns/{kind}')}"
            except FileNotFoundError:
                continue
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.endswith("]") and ":[" in target and not target.startswith(("pipe", "socket", "anon_inode")):
            yield f"the tests have {target} open as descriptor {fd}"
    for directory in ("/run/netns", "/run/labkit/netns"):
        if os.path.isdir(directory):
            yield from (f"{directory}/{name}" for name in os.listdir(directory))


def subdirectories(parent: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def is_in_use_by_others(line: str) -> bool:
    """Whether it is somebody else's: processes live in it, or in the group of labkit's that it is a part of, and none is ours."""
    kind, _, path = line.partition(": ")
    members: set[int] = set()
    if kind == "cgroups":
        head, labkit, tail = path.partition("/labkit/")
        for directory, _, files in os.walk(head + labkit + tail.partition("/")[0]):
            if "cgroup.procs" in files:
                members.update(map(int, read(f"{directory}/cgroup.procs").split()))
    elif kind == "state":
        members = {pid for pid in (json.loads(read(f"{path}/state.json") or "{}").get("pid"),) if pid and processes.alive(pid)}
    return bool(members) and not members & descendants().keys()


def read(path: str) -> str:
    """What a file holds, or nothing if it is gone."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def is_of_others(target: str, temporary: str) -> bool:
    """Whether a mount is another run's of the tests, or systemd's for somebody who has logged in."""
    runs = os.path.dirname(temporary)
    return target.startswith(SYSTEMDS_MOUNTS) or (target.startswith(f"{runs}/") and not target.startswith(f"{temporary}/"))


# ── When it is looked at ─────────────────────────────────────────────────────────────────────────────────────────────


def fail_if_left(before: Traces, temporary: str, what: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while left := traces(temporary).left_since(before):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} left something on the machine:\n  " + "\n  ".join(left), pytrace=False)
        time.sleep(0.02)


def is_guarded(path: Path) -> bool:
    return not path.is_relative_to(ROOT / "tests" / "unit")


@pytest.fixture(autouse=True, scope="module")
def _module_leaves_nothing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield from _leaves_nothing(request, tmp_path_factory)
    reap()


def reap() -> None:
    """Bury the orphans that have come to us. They count as gone, but thousands of them would make every later look at /proc a slow one."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


@pytest.fixture(autouse=True)
def _test_leaves_nothing(
    _module_leaves_nothing: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    yield from _leaves_nothing(request, tmp_path_factory)


def _leaves_nothing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if not is_guarded(request.path):
        yield
        return
    temporary = str(tmp_path_factory.getbasetemp())
    before = traces(temporary)
    yield
    fail_if_left(before, temporary, request.node.name)


class NotebookLeavesNothing:
    """The same for a notebook, whose cells are no functions and take no fixtures: from before its kernel starts to after its end."""

    def __init__(self, config: pytest.Config) -> None:
        self.temporary = str(config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
        self.before: Traces | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        if item.path.suffix == ".ipynb" and self.before is None:
            self.before = traces(self.temporary)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        result = yield
        if self.before is not None and (nextitem is None or nextitem.path != item.path):
            before, self.before = self.before, None
            fail_if_left(before, self.temporary, item.path.name)
        return result


def pytest_sessionstart(session: pytest.Session) -> None:
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    session.config.pluginmanager.register(NotebookLeavesNothing(session.config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0 and any(is_guarded(item.path) for item in items):
        raise pytest.UsageError("building containers takes root: run `sudo .venv/bin/pytest`, or tests/unit alone")
