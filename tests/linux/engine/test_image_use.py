"""Images that containers use are not taken away under them."""

from __future__ import annotations

import io
import tarfile

import pytest

from labkit.engine.config import Config, HostConfig
from labkit.engine.container import Container
from labkit.engine.engine import Engine
from labkit.errors import Conflict, NotFound
from tests.containers import ran


@pytest.fixture
def image(engine: Engine) -> str:
    """The ID of an image called ``used``, which has a program: the busybox of another one, once more."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add("/bin/busybox", "bin/true")
    archive.seek(0)
    made = engine.images.import_(archive, "used")
    return made.id


@pytest.fixture
def box(engine: Engine, image: str) -> Container:
    assert image
    made = engine.containers.create("", Config(Image="used", Cmd=("/bin/true",)), HostConfig(NetworkMode="none"))
    return engine.containers.get(made.Id)


def removed(engine: Engine, name: str, force: bool = False) -> list[str]:
    return [str(line) for line in engine.images.remove(name, force=force)]


def test_its_last_name_is_kept_unless_that_is_forced(engine: Engine, image: str, box: Container) -> None:
    short = image[7:19]
    why = f"container {box.short_id} is using its referenced image {short}"
    message = f'conflict: unable to remove repository reference "used" \\(must force\\) - {why}'
    with pytest.raises(Conflict, match=f"^{message}$"):
        removed(engine, "used")
    assert removed(engine, "used", force=True) == ["Untagged: used:latest"]
    assert engine.images.get(image).tags == ()
    assert ran(box) == 0
    box.remove()
    removed(engine, image)


def test_one_name_of_several_goes(engine: Engine, image: str, box: Container) -> None:
    engine.images.tag("used", "used:v2")
    assert removed(engine, "used:v2") == ["Untagged: used:v2"]
    box.remove()
    assert f"Deleted: {image}" in removed(engine, "used")


def test_by_its_id_it_goes_only_by_force_and_not_while_the_container_runs(engine: Engine, image: str, box: Container) -> None:
    short = image[7:19]
    message = f"conflict: unable to delete {short} \\(must be forced\\) - image is being used by stopped container {box.short_id}"
    with pytest.raises(Conflict, match=f"^{message}$"):
        removed(engine, short)
    box.become(Status="paused")
    with pytest.raises(Conflict, match=f"unable to delete {short} .cannot be forced. - image is being used by running container"):
        removed(engine, short, force=True)
    box.become(Status="created")
    assert f"Deleted: {image}" in removed(engine, short, force=True)
    with pytest.raises(NotFound):
        engine.images.get(image)
    assert ran(box) == 0, "its layers are there as long as it is"


def test_prune_leaves_those_that_are_used(engine: Engine, image: str, box: Container) -> None:
    engine.images.prune(all=True, filters=("label!=of",))
    assert engine.images.get("used").id == image
    box.remove()
    assert f"Deleted: {image}" in [str(line) for line in engine.images.prune(all=True, filters=("label!=of",)).removed]
    assert engine.images.get("busybox")


def test_what_is_not_there_is_not_found(engine: Engine) -> None:
    with pytest.raises(NotFound, match="No such image: nosuch:latest"):
        removed(engine, "nosuch")
