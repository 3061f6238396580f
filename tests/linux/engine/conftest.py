"""What the tests of the engine share: an engine with a busybox image, and containers of it that are gone when a test ends.

The image is made once; each test has an engine of its own over it. ``run`` is the shortest way to what a program in a container says.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.engine.config import Config, HostConfig
from labkit.engine.container import Container
from labkit.engine.engine import Engine
from labkit.image import archives, references
from labkit.image.container_config import ContainerConfig
from labkit.image.images import Images
from labkit.lessons.rootfs import busybox_root
from labkit.storage.store import Store
from tests.container_files import until_said
from tests.containers import SECONDS, SLEEP, Make, create_in, ran, said

_FILES = "echo hi > /made; mkdir /d; ln -s /d /link; ln -s ../nosuch/../x /d/dangling; ln -s loop /loop; chmod 4755 /made; echo ready; "


@pytest.fixture(scope="session")
def engine_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of an engine whose only image is busybox, with a few users."""
    place = tmp_path_factory.mktemp("engine")
    tree = place / "tree"
    busybox_root(str(tree))
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/var/www:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nweb:x:34:\nadm:x:4:root,www\nstaff:x:50:\n")
    (tree / "data").mkdir()
    (tree / "data/seed").write_text("from the image\n")
    packed = subprocess.run(["tar", "-C", tree, "-c", "."], capture_output=True, check=True).stdout
    store = Store(str(place / "lib"))
    config = ContainerConfig(Cmd=("sh",), Env=("FROM=image", "BOTH=image"), Labels={"of": "image"})
    images = Images(store)
    image = archives.import_(images, io.BytesIO(packed), references.parse("busybox"), config=config)
    images.ensure_unpacked(image)
    return place / "lib"


@pytest.fixture(scope="session", autouse=True)
def _engine_spawner(engine_root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Started before the first test, and no leak of any of them."""
    with Engine(str(engine_root), str(tmp_path_factory.mktemp("first"))) as engine:
        made = engine.containers.create("first", Config(Image="busybox", Cmd=("true",)), HostConfig(NetworkMode="none"))
        first = engine.containers.get(made.Id)
        ended = first.wait("next-exit")
        first.start()
        assert ended.result(SECONDS).StatusCode == 0
        first.remove()


@pytest.fixture
def engine_run(tmp_path: Path) -> str:
    return str(tmp_path / "run")


@pytest.fixture
def engine(engine_root: Path, engine_run: str) -> Iterator[Engine]:
    made = Engine(str(engine_root), engine_run)
    yield made
    for container in made.containers.list(all=True):
        container.remove(force=True, volumes=True)
    made.volumes.prune(all=True)
    for image in made.images.images.list():
        if not any(name.familiar == "busybox:latest" for name in image.names):
            made.images.remove(image.id, force=True)
    made.close()


@pytest.fixture
def make(engine: Engine) -> Make:
    """``make("sleep", "1000", name="box", Memory=64 << 20, Env=("A=b",))``: a container, its fields of either configuration by name."""

    def create(*command: str, name: str = "", **fields: object) -> Container:
        return create_in(engine, *command, name=name, **fields)

    return create


@pytest.fixture
def start(make: Make) -> Make:
    """The same, started."""

    def begin(*command: str, name: str = "", **fields: object) -> Container:
        container = make(*(command or SLEEP), name=name, **fields)
        assert container.start()
        return container

    return begin


@pytest.fixture
def run(make: Make) -> Callable[..., tuple[int, str]]:
    """``run("hostname; id", Hostname="web")``: the exit code of a script in a container, and what it wrote."""

    def do(script: str, **fields: object) -> tuple[int, str]:
        container = make("sh", "-c", script, **fields)
        code = ran(container)
        text = said(container)
        container.remove()
        return code, text

    return do


@pytest.fixture
def out(run: Callable[..., tuple[int, str]]) -> Callable[..., str]:
    """The same for a script that succeeds: what it wrote."""

    def output(script: str, **fields: object) -> str:
        code, text = run(script, **fields)
        assert code == 0, text
        return text.strip()

    return output


@pytest.fixture(params=["running", "stopped"])
def box(request: pytest.FixtureRequest, start: Make) -> Container:
    """A container with a few files, running or not."""
    script = _FILES + ("sleep 1000" if request.param == "running" else "")
    box = start("sh", "-c", script, name="box", Binds=("vol:/data",))
    until_said(box, "ready")
    if request.param == "stopped":
        assert box.exited.wait(SECONDS)
    return box
