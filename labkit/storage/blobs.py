"""Blobs: contents on disk, found by their digest; the directory is an OCI image layout, which ``skopeo`` reads and writes, too.

    >>> from labkit.storage.blobs import Blobs
    >>> blobs = Blobs("/var/lib/labkit/images")
    >>> name = blobs.put(b"hello")
    >>> blobs.read(name)
    b'hello'

A blob is whole or it is not there: it is written beside the others, flushed to disk, checked, and only then gets its name.

    writer(digest) ──▶ ingest/sha256-…  ── write ──┬── commit: size and digest are right ──▶ blobs/sha256/…
          ▲                                        ├── commit: they are wrong ─────────────▶ removed, InvalidInput
          └── the next writer goes on from there ──┴── the connection broke, kill -9

Who writes a blob holds a lock on its unfinished file. A second writer of the same blob waits, then finds it there.

Source: OCI image-spec ``image-layout.md``; ``man 2 fsync``, ``man 2 rename``, ``man 2 flock``. Shown in notebook 05.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.storage import digests

CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Blobs:
    """The blobs below one directory. Any number of processes and threads may use it at the same time."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        try:
            for name in "blobs/sha256", "ingest":
                os.makedirs(f"{self.directory}/{name}", exist_ok=True)
            if not os.path.exists(f"{self.directory}/oci-layout"):
                _write_whole(f"{self.directory}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        except OSError as error:
            raise KernelError.of(error, "make an image layout in", directory) from None

    def __repr__(self) -> str:
        return f"Blobs({self.directory!r})"

    def path(self, digest: str) -> str:
        """Where the blob is, or would be; ``InvalidInput`` if this is no digest."""
        return f"{self.directory}/blobs/{digests.check(digest).replace(':', '/')}"

    def has(self, digest: str) -> bool:
        """Whether it is there, whole."""
        return os.path.isfile(self.path(digest))

    def size(self, digest: str) -> int:
        """Its size in bytes."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise self._missing(digest) from None

    def open(self, digest: str) -> BinaryIO:
        """Read it piece by piece; what is on disk is taken to be right."""
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError:
            raise self._missing(digest) from None

    def read(self, digest: str, limit: int = 4 << 20) -> bytes:
        """All of it, compared with its digest; ``InvalidInput`` if it is larger than ``limit`` bytes or has changed on disk."""
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise InvalidInput(f"blob {digest}: has {self.size(digest)} bytes, more than the limit of {limit}")
        hasher = digests.Hasher(digest.partition(":")[0])
        hasher.update(data)
        if hasher.digest() != digest:
            raise InvalidInput(f"blob {digest}: {self.path(digest)} has changed on disk: remove that file and pull again")
        return data

    def put(self, data: bytes) -> str:
        """Store ``data``; its digest."""
        digest = digests.of(data)
        if not self.has(digest):
            with self.writer(digest, len(data)) as writer:
                if not writer.there:
                    writer.restart()
                    writer.write(data)
                    writer.commit()
        return digest

    def remove(self, digest: str) -> None:
        """Delete it; one that is gone is fine."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            pass

    def list(self) -> tuple[str, ...]:
        """The digests of all that are there."""
        found = []
        for algorithm, length in digests.ALGORITHMS.items():
            try:
                names = os.listdir(f"{self.directory}/blobs/{algorithm}")
            except FileNotFoundError:
                continue
            found += [f"{algorithm}:{name}" for name in sorted(names) if len(name) == length]
        return tuple(found)

    @contextmanager
    def writer(self, digest: str | None = None, size: int | None = None) -> Iterator[BlobWriter]:
        """Write a blob: of this ``digest`` and ``size``, or of whatever digest it turns out to have.

        Left without a ``commit``, what was written stays for the next writer of the same digest to go on from; without a digest it goes.
        """
        name = digests.check(digest).replace(":", "-") if digest else f"new-{os.urandom(16).hex()}"
        partial = f"{self.directory}/ingest/{name}"
        with _locked(partial) as file:
            writer = BlobWriter(self, file, partial, digest, size)
            try:
                yield writer
            finally:
                writer.close()

    def _missing(self, digest: str) -> NotFound:
        return NotFound(f"blob {digest}: there is none in {self.directory}")


class BlobWriter:
    """A blob on its way; made by ``Blobs.writer``.

    ``there``    somebody else has finished it meanwhile: nothing needs to be written, and ``commit`` returns its digest
    ``offset``   how many bytes are there already, of an earlier writer that was interrupted; ``resumed()`` reads these again
    """

    def __init__(self, blobs: Blobs, file: BinaryIO, partial: str, digest: str | None, size: int | None) -> None:
        self.digest = digest
        self.size = size
        self._blobs = blobs
        self._file = file
        self._partial = partial
        self._committed = False
        self.there = digest is not None and blobs.has(digest)
        self._hasher = self._new_hasher()
        if self.there:
            self.offset = blobs.size(digest or "")
            return
        if size is not None and os.fstat(file.fileno()).st_size > size:
            os.ftruncate(file.fileno(), 0)
        while chunk := file.read(CHUNK):
            self._hasher.update(chunk)
        self.offset = self._hasher.size

    @property
    def written(self) -> int:
        """How many bytes there are now, those of an earlier writer included."""
        return self.offset if self.there else self._hasher.size

    def resumed(self) -> Iterator[bytes]:
        """The bytes that were there when this writer began, once more."""
        source = self._blobs.open(self.digest or "") if self.there else open(self._partial, "rb")
        with source as file:
            left = self.offset
            while left and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk

    def restart(self) -> None:
        """Throw away what is there, and begin at the first byte."""
        self._file.seek(0)
        self._file.truncate()
        self._hasher = self._new_hasher()
        self.offset, self.there = 0, False

    def write(self, chunk: bytes) -> None:
        """Go on with ``chunk``; ``InvalidInput`` as soon as it is more than the blob's size."""
        if self.size is not None and self._hasher.size + len(chunk) > self.size:
            self._throw_away()
            raise InvalidInput(f"{self._what}: more than the {self.size} bytes that it should have")
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]  # unbuffered: it may take only a part
        except OSError as error:
            raise self._failed(error) from None
        self._hasher.update(chunk)

    def commit(self) -> str:
        """Check it, make it last, give it its name; ``InvalidInput`` if it is not what it should be: then it is thrown away."""
        if self.there or self._committed:
            return self.digest or ""
        digest, size = self._hasher.digest(), self._hasher.size
        if self.size is not None and size != self.size:
            self._throw_away()
            raise InvalidInput(f"{self._what}: {size} bytes instead of {self.size}")
        if self.digest and digest != self.digest:
            self._throw_away()
            again = "; its first part is of an earlier try: try again" if self.offset else ""
            raise InvalidInput(f"{self._what}: the contents that came have the digest {digest}{again}")
        place = self._blobs.path(digest)
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.fsync(self._file.fileno())
            os.rename(self._partial, place)
            _fsync_directory(os.path.dirname(place))
        except OSError as error:
            raise self._failed(error) from None
        self.digest, self._committed = digest, True
        return digest

    def close(self) -> None:
        """The end: keep an unfinished file only if a later writer can tell what it is."""
        if not self._committed and (self.digest is None or self.there or not self._hasher.size):
            self._throw_away()

    @property
    def _what(self) -> str:
        return f"blob {self.digest}" if self.digest else "new blob"

    def _new_hasher(self) -> digests.Hasher:
        return digests.Hasher(self.digest.partition(":")[0] if self.digest else "sha256")

    def _throw_away(self) -> None:
        if not self._committed:
            try:
                os.unlink(self._partial)
            except FileNotFoundError:
                pass

    def _failed(self, error: OSError) -> KernelError:
        """On a full disk the unfinished file goes, too: all else on the machine needs the room."""
        hint = ""
        if error.errno in _FULL:
            self._throw_away()
            hint = "the disk is full: df -h shows which; make room and try again"
        return KernelError.of(error, f"write {self._what} in", self._blobs.directory, hint)


@contextmanager
def _locked(path: str) -> Iterator[BinaryIO]:
    """The file at ``path``, made if it is missing, for this caller alone."""
    while True:
        try:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "rb+", buffering=0)
        except OSError as error:
            raise KernelError.of(error, "write", path) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                    yield file
                    return
            except FileNotFoundError:
                pass  # whoever held it gave it its name, or threw it away: begin again


def _write_whole(path: str, data: bytes) -> None:
    new = f"{path}.{os.urandom(4).hex()}"
    with open(new, "wb") as file:
        file.write(data)
    os.rename(new, path)


def _fsync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
