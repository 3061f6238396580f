"""Docker Hub, as far as a lesson needs it: a registry of its own that has busybox, debian and nginx, for everybody to read.

    >>> library = hub.stocked(lesson, print)            # the first time on a machine it makes the images, and says how far it is
    debian: asking …
    >>> library
    a registry at 127.0.0.1:5005
    >>> library.requests()                              # since the last time
    ('GET /v2/library/nginx/manifests/latest', …)

The images are the lab's own (``labkit.lab.seed``), and so are their blobs on disk: what ``labkit up`` has made is there already, and what
is made here, ``labkit up`` need not make again. That takes a Debian mirror once, and no network ever after. This registry is a second
reader of that directory, on a port of its own: it is there without ``labkit up``, has a log of its own, and takes no push. Notebook 09.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from labkit.image.progress import Report, silent
from labkit.lab import registry, seed, service
from labkit.lab.seed import recipes
from labkit.lessons import registries
from labkit.lessons.registries import Registry
from labkit.lessons.stage import Lesson


def stocked(lesson: Lesson, report: Report = silent) -> Registry:
    """The lesson's hub; returns when it has all three images. ``LabError`` with the remedy if they are missing and cannot be made."""
    library = registries.serve(lesson, "hub", data=registry.DATA, writable=False)
    if recipes.missing(library.url):
        with _writer(lesson) as server:
            seed.seed(report, server=server)
    library.requests()  # what we asked is no news
    return library


@contextmanager
def _writer(lesson: Lesson) -> Iterator[registry.Server]:
    """A registry that takes what is made: the lab's if it runs, or else one for the moment, over the same directory."""
    if running := registry.running():
        yield running
        return
    writer = registries.serve(lesson, "workshop", data=registry.DATA)
    try:
        process = service.running(writer.directory, registries.Server)
        assert process is not None, "serve returns when it answers"
        yield registry.Server(process.pid, process.start_time, int(process.address.rpartition(":")[2]), registry.DATA)
    finally:
        writer.stop()
