"""Stores of the lesson's own: each a machine of its own, with its images and its daemon.json.

    >>> engine = stores.filled(lesson)                          # busybox, site:v1 and clock:v1, built here and now
    >>> laptop = stores.empty(lesson, "laptop")                 # another machine, without any image
    >>> desk = stores.empty(lesson, "desk", ["http://127.0.0.1:5005"])          # one with a mirror
    >>> attic = stores.spoilt(lesson, "attic")                  # a copy of the first, with one bit flipped

All are below the lesson's data and have nothing to do with the lab's own store, /var/lib/labkit. The images are small, so that a
notebook needs neither network nor ``labkit up``: a busybox of Debian's, and a page or a script upon it. Shown in notebook 05.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence

from labkit.engine.build import builder
from labkit.engine.images import ImageStore
from labkit.image.registry.settings import load
from labkit.lessons.rootfs import busybox_root
from labkit.lessons.stage import Lesson

DOCKERFILES = {
    "busybox:latest": """\
FROM scratch
COPY programs /
COPY etc /etc/
CMD ["sh"]
""",
    "site:v1": """\
FROM busybox
COPY index.html /www/
RUN rm /etc/motd
CMD ["httpd", "-f", "-h", "/www"]
""",
    "clock:v1": """\
FROM busybox
COPY tick /bin/
CMD ["tick"]
""",
}
_EPOCH = 1_767_225_600  # 2026-01-01, in seconds since 1970: the same busybox gives the same digests, whenever it is run
_FILES = {
    "index.html": "<h1>Served from the third layer</h1>\n",
    "tick": "#!/bin/sh\nwhile date +%T; do sleep 1; done\n",
}


def filled(lesson: Lesson, name: str = "store", tags: Sequence[str] = tuple(DOCKERFILES)) -> ImageStore:
    """The store with these images of the lesson's three; built, if they are not there. Two of them stand on busybox."""
    engine = _engine(lesson, name)
    context = f"{lesson.data}/{name}.context"
    if {name.familiar for image in engine.images.list() for name in image.tags} >= set(tags):
        return engine
    lesson.fresh(f"{name}.context", "")
    _write_context(context)
    for tag in tags:
        with open(f"{context}/Dockerfile", "w") as file:
            file.write(DOCKERFILES[tag])
        builder.build(engine.images, context, tags=(tag,), epoch=_EPOCH)
    shutil.rmtree(context)
    return engine


def empty(lesson: Lesson, name: str, mirrors: Sequence[str] = ()) -> ImageStore:
    """A new machine in place of the one of this name; its daemon.json names ``mirrors``. ``InvalidInput`` if one cannot be one."""
    lesson.fresh(name, "")
    engine = _engine(lesson, name)
    with open(engine.config, "w") as file:
        json.dump({"registry-mirrors": list(mirrors)}, file)
    load(engine.config)
    return engine


def spoilt(lesson: Lesson, name: str) -> str:
    """A copy of the filled store's image layout in which one bit of one blob is another; the directory."""
    engine = filled(lesson)
    lesson.fresh(name, "")
    layout = f"{lesson.data}/{name}/images"
    shutil.copytree(engine.store.blobs.directory, layout)
    flip_bit(f"{layout}/blobs/{engine.get('site:v1').manifest.layers[0].digest.replace(':', '/')}")
    return layout


def flip_bit(path: str) -> None:
    """Change one bit in the middle of a file, and neither its size nor its time."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(before.st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes((byte ^ 1,)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _engine(lesson: Lesson, name: str) -> ImageStore:
    return ImageStore(f"{lesson.data}/{name}", f"{lesson.data}/{name}/daemon.json")


def _write_context(directory: str) -> None:
    """What the Dockerfiles copy: the programs of a small root and its /etc, a page and a script."""
    busybox_root(f"{directory}/programs")
    os.rename(f"{directory}/programs/etc", f"{directory}/etc")
    for name, text in _FILES.items():
        with open(f"{directory}/{name}", "w") as file:
            file.write(text)
    os.chmod(f"{directory}/tick", 0o755)
