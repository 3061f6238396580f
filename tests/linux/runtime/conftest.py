"""What the tests of the runtime share: bundles to run, and a place of their own for the state of containers.

The spawner is started before the first test and stays until the last, as in a notebook; it is no leak of any of them.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from labkit import runtime
from labkit.lessons.rootfs import busybox_root
from labkit.runtime import container, defaults

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> str:
    return busybox_root(str(tmp_path_factory.mktemp("busybox") / "rootfs"))


@pytest.fixture(scope="session", autouse=True)
def _spawner(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("first")
    write_bundle(place, busybox, {}, ("true",))
    assert runtime.run(str(place), root=str(place / "state")).code == 0


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that others may walk through, as root of a user namespace must; pytest's own is root's alone."""
    with tempfile.TemporaryDirectory(prefix="labkit-") as path:
        os.chmod(path, 0o711)
        yield Path(path)


@pytest.fixture
def root(directory: Path) -> Iterator[str]:
    """Where the state of this test's containers is kept; at the end it must be empty."""
    path = str(directory / "state")
    yield path
    left = container.destroy_all(path)
    assert left == []


@pytest.fixture
def bundle(busybox: str, directory: Path) -> Callable[..., str]:
    """``bundle({"process.cwd": "/etc"}, "sh", "-c", "pwd")``: the directory of a bundle with the default configuration, changed so.

    Its root file system is a busybox that may be written to; a path that ends in + appends to a list.
    """

    def make(changes: Mapping[str, object] | None = None, *args: str) -> str:
        path = directory / f"bundle-{next(_numbers)}"
        write_bundle(path, busybox, changes or {}, args or ("sleep", "infinity"))
        return str(path)

    return make


def write_bundle(path: Path, busybox: str, changes: Mapping[str, object], args: tuple[str, ...]) -> None:
    shutil.copytree(busybox, path / "rootfs", symlinks=True, copy_function=_link_busybox)
    config = json.loads(defaults.text(defaults.spec()))
    config["root"]["readonly"] = config["process"]["terminal"] = False
    config["process"]["args"] = list(args)
    for where, value in changes.items():
        _change(config, where, copy.deepcopy(value))
    (path / "config.json").write_text(json.dumps(config))


def _link_busybox(source: str, target: str) -> None:
    (os.link if source.endswith("/busybox") else shutil.copy2)(source, target)


def _change(config: dict[str, object], where: str, value: object) -> None:
    *way, last = where.split(".")
    for step in way:
        config = config.setdefault(step, {})  # type: ignore[assignment]
    if last.endswith("+"):
        config[last[:-1]].append(value)  # type: ignore[attr-defined]
    else:
        config[last] = value


@pytest.fixture
def run(bundle: Callable[..., str], root: str) -> Callable[..., runtime.Finished]:
    """``run("id", {"hostname": "x"})``: what a shell script in a container writes, and how it ends."""
    return lambda script, changes=None: runtime.run(bundle(changes, "sh", "-c", script), root=root)


@pytest.fixture
def out(run: Callable[..., runtime.Finished]) -> Callable[..., str]:
    """``out("hostname")``: what a script in a container writes; it must succeed."""

    def output(script: str, changes: Mapping[str, object] | None = None) -> str:
        done = run(script, changes)
        assert (done.code, done.stderr) == (0, ""), done
        return done.stdout.strip()

    return output
