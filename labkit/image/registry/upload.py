"""A blob to a registry: mounted from another repository, in one piece, or in chunks.

    POST …/blobs/uploads/?mount=D&from=R ──201──▶ it was there already, and is in this repository now, too
         │202 Location
         ├──▶ PUT Location?digest=D      all of it                                  ──201──▶ done
         └──▶ PATCH Location  0-…        a chunk, and the next one to the Location that each answer gives
                └──▶ PUT Location?digest=D                                          ──201──▶ done

    >>> from labkit.image.registry import upload
    >>> upload.blob(client, "me/web", descriptor, read, mount_from="library/nginx")
    'Mounted'

A connection that breaks costs one chunk: the registry is asked how far it has come. What is in one piece begins anew. A registry may ask
for chunks of a minimum size. Source: OCI distribution-spec 1.1, "Pushing blobs". Shown in notebook 05.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal
from urllib.parse import urlencode

from labkit.errors import NotFound, Unreachable
from labkit.image.documents import Descriptor
from labkit.image.registry.client import Client, pulling, pushing
from labkit.image.registry.refusals import Passing
from labkit.image.registry.transport import Answer, Waiting

CHUNK = 64 << 20
"""Blobs that are larger, in bytes, go in chunks of this size."""

Reader = Callable[[int], Iterable[bytes]]
"""The bytes of a blob from an offset on."""

_BINARY = {"Content-Type": "application/octet-stream"}


def blob(
    client: Client,
    repository: str,
    descriptor: Descriptor,
    read: Reader,
    *,
    mount_from: str | None = None,
    chunk: int = CHUNK,
    waiting: Waiting | None = None,
) -> Literal["Mounted", "Pushed"]:
    """Bring a blob into a repository. ``mount_from`` is a repository of the same registry that may have it already."""
    sending = _Upload(client, repository, descriptor, read, waiting)

    def attempt() -> Literal["Mounted", "Pushed"]:
        started = sending.start(mount_from)
        if started.status == 201:
            return "Mounted"
        least = started.headers.get("oci-chunk-min-length", "")
        size = max(chunk, int(least) if least.isdecimal() else 0)
        location = _location(started)
        if descriptor.size > size:
            location = sending.chunks(location, size)
            sending.finish(location, whole=False)
        else:
            sending.finish(location, whole=True)
        return "Pushed"

    return client.transport.patiently(attempt, waiting)


class _Upload:
    """One upload session after the other, until one comes to its end."""

    def __init__(self, client: Client, repository: str, descriptor: Descriptor, read: Reader, waiting: Waiting | None) -> None:
        self._transport, self._repository, self._descriptor = client.transport, repository, descriptor
        self._read, self._waiting = read, waiting

    def start(self, mount_from: str | None) -> Answer:
        """201 if it was mounted, else 202 and where to send it."""
        path, scope = f"/v2/{self._repository}/blobs/uploads/", pushing(self._repository)
        if mount_from:
            path += "?" + urlencode({"mount": self._descriptor.digest, "from": mount_from}, safe=":/")
            scope += f" {pulling(mount_from)}"
        return self._transport.fetch("POST", path, scope=scope, headers={"Content-Length": "0"}, waiting=self._waiting)

    def chunks(self, location: str, size: int) -> str:
        """Send all of it, ``size`` bytes at a time; where to say that it is complete."""
        offset, failures = 0, 0
        while offset < self._descriptor.size:
            end = min(offset + size, self._descriptor.size)
            headers = {**_BINARY, "Content-Length": str(end - offset), "Content-Range": f"{offset}-{end - 1}"}
            try:
                with self._transport.open("PATCH", location, scope=self._scope, headers=headers, body=self._body(offset, end)) as answer:
                    location = _location(Answer(answer.status_code, dict(answer.headers), b"", str(answer.url)))
                offset, failures = end, 0
            except Passing as failure:
                failures += 1
                self._transport.bear(failure, failures, self._waiting)
                location, offset = self._state(location)
        return location

    def finish(self, location: str, *, whole: bool) -> None:
        """Close the session, with all of the blob or with nothing more."""
        url = location + ("&" if "?" in location else "?") + urlencode({"digest": self._descriptor.digest}, safe=":")
        length = self._descriptor.size if whole else 0
        headers = {**_BINARY, "Content-Length": str(length)}
        body = self._body(0, length) if length else None
        with self._transport.open("PUT", url, scope=self._scope, headers=headers, body=body):
            pass

    @property
    def _scope(self) -> str:
        return pushing(self._repository)

    def _state(self, location: str) -> tuple[str, int]:
        """Where the session goes on, and how many bytes the registry has."""
        try:
            answer = self._transport.fetch("GET", location, scope=self._scope, waiting=self._waiting)
        except NotFound as error:
            raise Passing(f"{error}: the registry has forgotten the upload") from None
        there = re.fullmatch(r"(?:bytes=)?0-([0-9]+)", answer.headers.get("range", ""))
        # 0-0 is both nothing and one byte, as the specification has it; nobody sends one byte.
        return _location(answer, location), int(there[1]) + 1 if there and there[1] != "0" else 0

    def _body(self, start: int, end: int) -> Callable[[], Iterator[bytes]]:
        def pieces() -> Iterator[bytes]:
            left = end - start
            for piece in self._read(start):
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    return

        return pieces


def _location(answer: Answer, default: str = "") -> str:
    """Where to go on, in full: it may be relative to where the answer came from."""
    location = answer.headers.get("location", default)
    if not location:
        raise Unreachable(f"{answer.url}: the registry does not say where to upload to")
    if location.startswith("/"):
        return location
    return location if "://" in location else answer.url.partition("?")[0].rsplit("/", 1)[0] + "/" + location
