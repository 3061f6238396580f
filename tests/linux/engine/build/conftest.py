"""A builder with a store and a context of its own, and an image of one program to build on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit.engine.build import builder, working
from labkit.engine.build.output import Output
from labkit.image.image import Image
from labkit.image.images import Images
from labkit.storage.store import Store

APPLETS = ("sh", "cat", "echo", "env", "grep", "hostname", "id", "kill", "ln", "ls", "mkdir", "rm", "sleep", "stat", "touch", "true")
BASE = """\
FROM scratch
COPY root /
CMD ["sh"]
"""


class Lab:
    """``lab.build("FROM base\\nRUN true")`` builds; ``said`` is what it said, ``context`` where its files are."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.images = Images(Store(str(place / "store")))
        self.context = place / "context"
        self.context.mkdir()
        self.said: list[Output] = []

    def build(self, dockerfile: str, tag: str = "built", **options: object) -> Image:
        (self.context / "Dockerfile").write_text(dockerfile)
        self.said = []
        how: dict[str, object] = {"tags": (tag,) if tag else (), "report": self.said.append, **options}
        return builder.build(self.images, str(self.context), **how)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        return "".join(said.text for said in self.said)

    def files(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (self.context / name).parent.mkdir(parents=True, exist_ok=True)
            (self.context / name).write_text(text)

    @contextmanager
    def root(self, image: Image) -> Iterator[Path]:
        """The image's file system."""
        with working.seen(self.images.store, image.chain_ids[-1]) as root:
            yield Path(root)

    def layers(self, image: Image) -> list[set[str]]:
        """The paths in each layer, the lowest first."""
        found = []
        for chain in image.chain_ids:
            upper = self.images.store.layers.get(chain).upper
            found.append({os.path.relpath(os.path.join(at, name), upper) for at, dirs, names in os.walk(upper) for name in (*dirs, *names)})
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def base(lab: Lab) -> Image:
    """An image called ``base``: busybox, with a root and a user ada."""
    program = lab.context / "root/bin/busybox"
    program.parent.mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "busybox is not installed", program)
    for applet in APPLETS:
        (program.parent / applet).symlink_to("busybox")
    etc = lab.context / "root/etc"
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\nada:x:5:6::/home/ada:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\nada:x:6:\nstaff:x:50:ada\n")
    image = lab.build(BASE, "base")
    shutil.rmtree(lab.context / "root")
    return image
