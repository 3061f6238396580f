"""The script of every command (docker_script.py), typed at the unmodified docker client, on labkit and on dockerd: the same results.

Where dockerd is not installed, the script must run on labkit all the same, and no line may end in a way that no docker's does. What
differs for a reason is in docs/differences.md, which these tests hold to account: a difference that is not there fails, one that is
there and not seen fails too.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.docker_script import SCENES, Line, Plain, lines
from tests.daemons import CLIENTS, HAS_DOCKERD, Daemon, busybox_archive, dockerd, labkit_daemon, registry
from tests.patience import PATIENCE
from tests.registries import require

pytestmark = [pytest.mark.skipif(not CLIENTS, reason="no docker client is installed"), pytest.mark.timeout(300)]

DIFFERENCES = Path(__file__).parents[2] / "docs/differences.md"
SECONDS = 30 * PATIENCE


@dataclass(frozen=True)
class Said:
    """What a line came to."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        complaint = "".join(f"\n2> {line}" for line in self.err.splitlines())
        return f"[{self.code}] {self.out}{complaint}"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busybox_archive(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def daemons(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, ...]]:
    """labkit's daemon, and dockerd if there is one; each has a registry, and takes it for a mirror."""
    require()
    place = tmp_path_factory.mktemp("daemons")
    starts = (labkit_daemon, dockerd) if HAS_DOCKERD else (labkit_daemon,)
    with contextlib.ExitStack() as running:
        found = tuple(running.enter_context(start(place / start.__name__, registry_mirrors=["http://localhost:5000"])) for start in starts)
        for daemon in found:
            running.enter_context(registry(daemon))
            daemon.docker.says("load", "--input", str(archive))
            daemon.docker.says("run", "--rm", "--network=none", "busybox", "true")  # what is made for a first container stays
        yield found


def play(scene: str, client: str, daemon: Daemon, directory: Path, archive: Path) -> list[Said]:
    """Type all lines of a scene, one after the other, and put the daemon back to where it was."""
    directory.mkdir(parents=True)
    (directory / "docker").symlink_to(client)
    path = f"{directory}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    variables = {"HOME": str(directory), "PATH": path, **daemon.environment}
    plain = Plain({str(directory): "HERE", daemon.socket: "SOCKET", str(daemon.place): "PLACE"})
    said = [_typed(line, variables, directory / "work", plain) for line in lines(SCENES[scene])]
    _clear(daemon, archive)
    return said


def _typed(line: Line, variables: dict[str, str], directory: Path, plain: Plain) -> Said:
    directory.mkdir(exist_ok=True)
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": directory, "env": variables}
    with subprocess.Popen(["sh", "-c", line.text], **how, start_new_session=True) as process:  # type: ignore[call-overload]
        late = threading.Timer(SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        late.start()
        out, err = (plain(each.decode(errors="replace")) for each in process.communicate())
        late.cancel()
    if line.is_sorted:
        out, err = ("\n".join(sorted(each.splitlines())) for each in (out, err))
    return Said(process.returncode, out, err) if line.words_matter else Said(process.returncode, "", "")


def _clear(daemon: Daemon, archive: Path) -> None:
    docker = daemon.docker
    for listed, removed in (
        ("ps --all --quiet --no-trunc", "rm --force --volumes"),
        ("volume ls --quiet", "volume rm --force"),
        ("network ls --quiet --no-trunc --filter type=custom", "network rm"),
    ):
        if found := docker(*listed.split()).out.split():
            docker(*removed.split(), *found)
    if names := [name for name in docker("images", "--format", "{{.Repository}}:{{.Tag}}").out.split() if name != "busybox:latest"]:
        docker("rmi", "--force", *names)
    docker("image", "prune", "--force")
    docker.says("load", "--input", str(archive))


def differences() -> dict[str, str]:
    """What docs/differences.md says: a line ``- `name`: reason`` each."""
    return dict(re.findall(r"^- `([\w-]+)`: (.+)$", DIFFERENCES.read_text(), re.MULTILINE))


@pytest.mark.parametrize(("client", "scene"), [*itertools.product(CLIENTS, SCENES)], ids=lambda value: value.strip("/").replace("/", "-"))
def test_every_command_ends_and_says_the_same(client: str, scene: str, daemons: tuple[Daemon, ...], archive: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as both:
        played = [both.submit(play, scene, client, daemon, tmp_path / daemon.name, archive) for daemon in daemons]
        results = [each.result() for each in played]
    if len(results) == 1:
        assert not [line.text for line, said in zip(lines(SCENES[scene]), results[0], strict=True) if said.code < 0]
        return
    wrong = [told for line, *pair in zip(lines(SCENES[scene]), *results, strict=True) if (told := compared(line, *pair))]
    assert not wrong, "\n\n".join(wrong)


def compared(line: Line, labkit: Said, docker: Said) -> str:
    """What is wrong with a line, as a text for people; nothing if all is well."""
    if labkit == docker:
        return f"$ {line.text}\nno longer differs: take {line.difference} away" if line.always_differs else ""
    if line.difference and (labkit.code == docker.code or not line.always_differs):
        return ""
    told = difflib.unified_diff(str(docker).splitlines(), str(labkit).splitlines(), "dockerd", "labkit", n=1, lineterm="")
    return f"$ {line.text}\n" + "\n".join(told)


def test_the_list_of_differences_and_the_script_agree() -> None:
    marked = {line.difference for scene in SCENES.values() for line in lines(scene) if line.difference}
    assert marked == set(differences())
