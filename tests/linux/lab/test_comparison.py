"""A container and a virtual machine of one image, side by side: both answer, all is measured, and nothing is left, however it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.errors import NotFound, Unsupported
from labkit.image import archives, references
from labkit.image.container_config import ContainerConfig
from labkit.image.images import Images
from labkit.image.registry import pull
from labkit.image.registry.settings import Settings
from labkit.lab import registry, seed
from labkit.lab.comparison import bench, experiment, files, measures, sides
from labkit.lessons.rootfs import busybox_root
from labkit.linux import cgroups, links, processes
from labkit.storage.store import Store
from labkit.vm import kernel, machine
from tests.command_lines import Program

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """A store with a busybox in it, one for another processor, and one that is not for root."""
    place = tmp_path_factory.mktemp("comparison")
    busybox_root(str(place / "tree"))
    packed = subprocess.run(["tar", "-C", place / "tree", "-c", "."], capture_output=True, check=True).stdout
    store = Images(Store(str(place / "store")))
    for name, config in (("busybox", ContainerConfig(Cmd=("sh",), Env=("FROM=image",))), ("nobody", ContainerConfig(User="nobody"))):
        store.ensure_unpacked(archives.import_(store, io.BytesIO(packed), references.parse(name), config=config))
    return store


@pytest.fixture(scope="module")
def vm_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("vm")
    os.symlink(f"{kernel.ROOT}/kernel", place / "kernel")
    machine.accelerated(str(place))
    return str(place)


@pytest.fixture
def labkit(images: Images) -> Program:
    return Program([sys.executable, "-m", "labkit", "--root", images.store.root])


def marks() -> set[str]:
    """Whatever of a comparison could be left: directories, control groups, bridges."""
    found = {place for place in (bench.DATA, bench.RUN) if os.path.exists(place)}
    found |= {place for place in cgroups.directories(bench.GROUP, cgroups.detect()) if os.path.exists(place)}
    return found | {name for name in links.names() if name.startswith("lk")}


def test_both_sides_run_the_same_program_on_different_kernels(images: Images, vm_root: str) -> None:
    command = ("sleep", "1000")
    with (
        bench.opened(images, "busybox", root=vm_root) as place,
        sides.Container(place, command) as box,
        sides.VirtualMachine(place, command) as vm,
    ):
        assert box.run("uname", "-r").output.strip() == os.uname().release
        assert vm.run("uname", "-r").output.strip() == kernel.find(vm_root).release
        for side in (box, vm):
            assert side.run("sh", "-c", "echo $FROM; exit 3") == sides.Done(3, "image\n")
            assert side.memory().total > 0


def test_each_repetition_gives_each_row_a_value_for_both_sides(images: Images, vm_root: str) -> None:
    steps: list[experiment.Step] = []
    result = experiment.compare(images, "busybox", repetitions=2, root=vm_root, report=steps.append)
    for measure in measures.MEASURES:
        row = result.row(measure.key)
        assert len(row.container.values) == len(row.machine.values) == 2
        assert min(*row.container.values, *row.machine.values) > 0
    assert [(step.done, step.total) for step in steps] == [(number, len(steps)) for number in range(len(steps))]
    assert result.row("start").ratio > 3
    assert result.row("memory").ratio > 3
    assert result.row("density").extrapolated
    assert ("kernel", os.uname().release, kernel.find(vm_root).release) in result.facts


def test_the_engine_of_a_comparison_leaves_the_store_as_it_was(images: Images, vm_root: str) -> None:
    before = sorted(snapshot.name for snapshot in images.store.snapshots.list())
    with bench.opened(images, "busybox", root=vm_root) as place, sides.Container(place, ("sleep", "9")):
        assert sorted(snapshot.name for snapshot in images.store.snapshots.list()) == before


def test_nginx_answers_from_a_container_and_from_a_virtual_machine(tmp_path: Path, vm_root: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = registry.up(port, f"{tmp_path}/registry", f"{tmp_path}/data")
    try:
        seed.seed(server=server, run=f"{tmp_path}/run", workshop=f"{tmp_path}/workshop")
        store = Images(Store(str(tmp_path / "store")))
        pull.pull(store, references.parse("nginx"), settings=Settings((server.url,)))
    finally:
        registry.down(f"{tmp_path}/registry")
    with (
        bench.opened(store, "nginx", root=vm_root) as place,
        sides.Container(place, place.server, serves=True) as box,
        sides.VirtualMachine(place, place.server, serves=True) as vm,
    ):
        pages = [sides.get(side, place.port, 60) for side in (box, vm)]
        assert pages[0] == pages[1]
        assert b"nginx" in pages[0]
        assert "nginx: master" in vm.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").output


def test_an_image_for_another_user_is_refused_by_name(images: Images, vm_root: str) -> None:
    with pytest.raises(Unsupported, match="it wants user nobody"):
        files.boot(images, images.get("nobody"), root=vm_root)


def test_an_image_that_is_not_there_leaves_nothing(images: Images, vm_root: str) -> None:
    before = marks()
    with pytest.raises(NotFound), bench.opened(images, "nosuch", root=vm_root):
        pass
    assert marks() == before


def test_the_opened_image_is_mounted_nowhere(images: Images) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    with files.opened(images, images.get("busybox")) as directory:
        assert os.path.lexists(f"{directory}/bin/sh")
        assert Path("/proc/self/mountinfo").read_text() == before


# ── On the command line ──────────────────────────────────────────────────────────────────────────────────────────────


def test_boot_prints_the_virtual_machines_kernel_and_ends_with_the_commands_code(labkit: Program) -> None:
    assert labkit.says("vm", "boot", "--image", "busybox", "--", "uname", "-r") == kernel.find().release
    assert labkit("vm", "boot", "--", "sh", "-c", "echo $FROM; exit 5").code == 5


def test_boot_shows_the_console_on_request(labkit: Program) -> None:
    result = labkit("vm", "boot", "--console", "--", "true")
    assert "Linux version" in result.err
    assert result.out == ""


def test_a_full_machine_with_an_image_has_its_files(labkit: Program) -> None:
    look = "readlink /bin/sh; ls /sys/bus/pci/devices"
    said = labkit.says("vm", "boot", "--machine", "full", "--image", "busybox", "--", "sh", "-c", look)
    assert said.startswith("busybox\n0000:00:00.0\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--memory", "lots"), "'lots' is no size"),
        (("--publish", "a:b"), "PORT or HOST_PORT:PORT"),
        (("--machine", "huge"), "micro, full"),
        (("--accel", "magic"), "auto, kvm and tcg"),
        (("--timeout", "0"), "no number from 1"),
        (("--cpus", "99"), "no number from 1 to 8"),
        (("--memory", "1m"), "a Debian kernel takes 64 MiB"),
        (("--image", "busybox", "--disk", "x"), "its files from one of them"),
        (("--disk", "/nosuch"), "disk /nosuch: there is no such file"),
        (("--disk", "/nosuch", "--machine", "micro"), "no firmware"),
    ],
)
def test_what_cannot_be_is_refused_by_the_options_name(labkit: Program, words: tuple[str, ...], complaint: str) -> None:
    result = labkit("vm", "boot", *words, "--", "true")
    assert result.code == 1
    assert complaint in result.err


def test_compare_prints_json_alone_on_stdout(labkit: Program) -> None:
    result = labkit("vm", "compare", "--json", "--repetitions", "1")
    data = json.loads(result.out)
    assert {row["key"] for row in data["rows"]} >= {measure.key for measure in measures.MEASURES} | {"disk", "density"}
    assert result.err.splitlines()[0].startswith("[1/")


@pytest.mark.parametrize("until", ["container 1 of 1", "virtual machine 1 of 1: first", "virtual machine: 3 at once"])
def test_a_comparison_that_is_killed_leaves_nothing(images: Images, until: str) -> None:
    before = marks()
    command = [sys.executable, "-m", "labkit", "--root", images.store.root, "vm", "compare", "--repetitions", "1"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if until in line:
                break
        below = processes.children(running.pid)
        running.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (marks() - before or any(map(processes.alive, below))) and time.monotonic() < deadline:
        time.sleep(0.05)  # it is the guard that ends last, and it is nobody's child
    assert marks() - before == set()
    assert [pid for pid in below if processes.alive(pid)] == []


def test_a_comparison_that_is_interrupted_leaves_nothing(images: Images) -> None:
    before = marks()
    command = [sys.executable, "-m", "labkit", "--root", images.store.root, "vm", "compare", "--repetitions", "1"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "virtual machine 1" in line:
                break
        running.send_signal(signal.SIGINT)
        running.stderr.read()
    assert running.returncode == 130
    assert marks() == before
