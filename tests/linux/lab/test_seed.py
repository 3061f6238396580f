"""The lab's images, really made and pushed to a registry of the test's own, and what comes out of it again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.errors import LabError, Unreachable
from labkit.image import references
from labkit.image.images import Image, Images
from labkit.image.progress import Progress
from labkit.image.registry import pull
from labkit.image.registry.settings import Settings
from labkit.lab import mirrors, registry, seed
from labkit.lab.seed import debian, recipes
from labkit.storage.store import Store

pytestmark = pytest.mark.timeout(400)


class Place:
    """A registry and the directories that seeding needs, all of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.server = registry.up(port, f"{directory}/registry", f"{directory}/data")
        self.said: list[Progress] = []

    def seed(self, again: bool = False) -> tuple[str, ...]:
        return seed.seed(self.said.append, again, self.server, f"{self.directory}/run", f"{self.directory}/workshop")

    def pull(self, name: str, into: Path) -> Image:
        """The image as anybody gets it who has the registry for a mirror."""
        return pull.pull(Images(Store(str(into))), references.parse(name), settings=Settings((self.server.url,)))

    def digests(self) -> dict[str, str]:
        tags = (self.directory / "data/docker/registry/v2/repositories/library").glob("*/_manifests/tags/*")
        return {f"{tag.parts[-4]}:{tag.name}": (tag / "current/link").read_text() for tag in tags}

    def close(self) -> None:
        registry.down(f"{self.directory}/registry")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "place")
    yield made
    made.close()


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day on which no Debian mirror answers."""

    def unreachable(*_: object) -> None:
        raise Unreachable("http://mirror.example: Temporary failure resolving")

    monkeypatch.setattr(debian, "bootstrap", unreachable)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """All images, made once for the tests that only look."""
    made = Place(tmp_path_factory.mktemp("seeded"))
    try:
        made.seed()
        yield made
    except Unreachable as error:
        pytest.skip(str(error))
    finally:
        made.close()


def inside(image: Image, store: Path, target: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an image's file system."""
    images = Images(Store(str(store)))
    snapshot = images.ensure_unpacked(image)
    target.mkdir(exist_ok=True)
    images.store.snapshots.prepare("test", snapshot)
    try:
        with images.store.snapshots.mounted("test", str(target)):
            return subprocess.run(["chroot", str(target), *command], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    finally:
        images.store.snapshots.remove("test")


# With a mirror


def test_all_three_are_there_and_nothing_else_is_left(seeded: Place) -> None:
    assert sorted(seeded.digests()) == ["busybox:latest", "debian:latest", "debian:trixie", "nginx:latest"]
    assert recipes.missing(seeded.server.url) == ()
    assert sorted(os.listdir(seeded.directory)) == ["data", "registry", "run"]


def test_what_is_there_is_not_made_again(seeded: Place, no_mirror: None) -> None:
    assert seeded.seed() == ()


def test_the_same_packages_give_the_same_digests(seeded: Place) -> None:
    before = seeded.digests()
    assert seeded.seed(again=True) == ("busybox", "debian", "nginx")
    assert seeded.digests() == before


def test_nginx_stands_on_the_layers_of_debian(seeded: Place, tmp_path: Path) -> None:
    base, image = (seeded.pull(name, tmp_path).manifest.layers for name in ("debian", "nginx"))
    assert len(base) > 1
    assert image[: len(base)] == base
    assert len(image) > len(base)


def test_nginx_is_set_up_as_people_know_it(seeded: Place, tmp_path: Path) -> None:
    image = seeded.pull("nginx", tmp_path / "store")
    config = image.config.config
    assert (config.Cmd, config.StopSignal, list(config.ExposedPorts)) == (("nginx", "-g", "daemon off;"), "SIGQUIT", ["80/tcp"])
    script = "nginx -t && readlink /var/log/nginx/access.log /var/log/nginx/error.log && grep -c h1 /usr/share/nginx/html/index.html"
    done = inside(image, tmp_path / "store", tmp_path / "root", "/bin/sh", "-c", f"mknod -m 666 /dev/null c 1 3; {script}")
    assert done.stdout.splitlines() == ["/dev/stdout", "/dev/stderr", "2"], done.stderr


def test_debian_is_one_with_apt_and_without_manuals_or_traces_of_this_machine(seeded: Place, tmp_path: Path) -> None:
    image = seeded.pull("debian", tmp_path / "store")
    script = (
        ". /etc/os-release; echo $VERSION_CODENAME; apt-get --version | head -c 3; echo; ls /usr/share/man /etc/hostname /etc/resolv.conf"
    )
    done = inside(image, tmp_path / "store", tmp_path / "root", "/bin/sh", "-c", script)
    assert done.stdout.splitlines()[:2] == [debian.SUITE, "apt"]
    assert not {"/etc/hostname", "/etc/resolv.conf", "man1"} & set(done.stdout.splitlines())


# Without


def test_without_a_mirror_there_is_busybox_and_a_word_on_the_rest(place: Place, no_mirror: None) -> None:
    with pytest.raises(LabError) as failure:
        place.seed()
    assert str(failure.value) == (
        "not in the lab's registry: debian, nginx: http://mirror.example: Temporary failure resolving "
        "(a Debian mirror must answer once, then `labkit images seed`; all else works without)"
    )
    assert list(place.digests()) == ["busybox:latest"]
    assert [recipe.name for recipe in recipes.missing(place.server.url)] == ["debian", "nginx"]
    assert not (place.directory / "workshop").exists()


def test_busybox_is_a_program_and_its_names(place: Place, no_mirror: None, tmp_path: Path) -> None:
    with pytest.raises(LabError):
        place.seed()
    image = place.pull("busybox", tmp_path / "store")
    assert len(image.manifest.layers) == 3
    done = inside(image, tmp_path / "store", tmp_path / "root", "/bin/ls", "-l", "/bin/ls", "/usr/bin/awk", "/etc/passwd")
    assert done.stdout.count("-> /bin/busybox") == 2
    assert "root     root" in done.stdout


def test_steps_are_told_with_the_name_of_the_image(place: Place, no_mirror: None) -> None:
    with pytest.raises(LabError):
        place.seed()
    said = [str(each) for each in place.said]
    assert said[0] == "busybox: Step 1/7 : FROM scratch"
    assert said[-3].startswith("busybox: Pushed: 3 layers, ")
    assert said[-2:] == ["debian: Not made", "nginx: Not made"]
    assert max(map(len, said)) < 100


def test_an_image_that_somebody_put_in_its_place_is_replaced(place: Place, no_mirror: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", recipes.RECIPES[:1])
    place.seed()
    before = place.digests()
    link = place.directory / "data/docker/registry/v2/repositories/library/busybox/_manifests/tags/latest/current/link"
    link.write_text("sha256:" + "0" * 64)
    assert place.seed() == ("busybox",)
    assert place.digests() == before


@pytest.mark.parametrize("change", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: b""], ids=["changed", "emptied"])
def test_what_is_damaged_is_made_whole_again(
    place: Place, no_mirror: None, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(recipes, "RECIPES", recipes.RECIPES[:1])
    place.seed()
    for path in (place.directory / "data/docker/registry/v2/blobs/sha256").glob("*/*/data"):
        path.write_bytes(change(path.read_bytes()))
    assert place.seed(again=True) == ("busybox",)
    assert mirrors.inspect(place.server.url).faults == ()


def test_a_layer_that_is_lost_is_noticed(place: Place, no_mirror: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", recipes.RECIPES[:1])
    place.seed()
    largest = max((place.directory / "data/docker/registry/v2/blobs/sha256").glob("*/*/data"), key=lambda path: path.stat().st_size)
    shutil.rmtree(largest.parent)
    assert place.seed() == ("busybox",)
    assert mirrors.inspect(place.server.url).faults == ()


def test_a_changed_recipe_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", recipes.RECIPES[:1])
    place.seed()
    monkeypatch.setattr(recipes.debian, "EPOCH", debian.EPOCH + 1)
    changed = (recipes.Recipe("busybox", program=recipes.BUSYBOX),)
    monkeypatch.setattr(recipes, "RECIPES", changed)
    assert recipes.missing(place.server.url) == changed


def test_a_store_that_can_hold_no_layers_is_told_before_anything_is_fetched(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Store) -> None:
        raise LabError("snapshots in /x: this is on overlayfs")

    monkeypatch.setattr(Store, "snapshots", property(refuse))
    monkeypatch.setattr(debian, "bootstrap", None)
    with pytest.raises(LabError, match="busybox, debian, nginx: snapshots in /x: this is on overlayfs"):
        place.seed()


def test_killed_in_the_middle_it_keeps_what_was_done(place: Place) -> None:
    program = (
        "import os, signal, sys; from labkit.lab import registry, seed; from labkit.lab.seed import debian\n"
        "debian.bootstrap = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "place, port = sys.argv[1:]; server = registry.Server(1, 1, int(port), place + '/data')\n"
        "seed.seed(print, False, server, place + '/run', place + '/workshop')"
    )
    command = [sys.executable, "-c", program, str(place.directory), str(place.server.port)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(place.digests()) == ["busybox:latest"]
    assert os.listdir(place.directory / "workshop") != []


def test_what_one_left_who_was_killed_is_removed_by_the_next(place: Place, no_mirror: None) -> None:
    (place.directory / "workshop/tmp123/store").mkdir(parents=True)
    with pytest.raises(LabError):
        place.seed()
    assert not (place.directory / "workshop").exists()


def test_the_label_is_all_that_tells_that_it_is_seeded(place: Place, no_mirror: None, tmp_path: Path) -> None:
    with pytest.raises(LabError):
        place.seed()
    image = place.pull("busybox", tmp_path / "store")
    assert dict(image.config.config.Labels) == {recipes.LABEL: recipes.named("busybox").digest}
