"""Files of containers, for tests: archives in memory, what is in one, and what comes out of a container."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterable

from labkit.engine import files
from labkit.engine.container import Container
from tests.containers import SECONDS, said


def archive(*members: tuple[str, str | bytes | None], mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> list[bytes]:
    """A tar of files by name; None is a directory, a text that begins with ``->`` a link, with ``=>`` a hard link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.mode, (member.uid, member.gid), member.mtime = mode, owner, 1_000_000_000
            data = content.encode() if isinstance(content, str) else content or b""
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            elif data[:2] in (b"->", b"=>"):
                member.type, member.linkname = tarfile.SYMTYPE if data[:1] == b"-" else tarfile.LNKTYPE, data[2:].decode()
                data = b""
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return [out.getvalue()]


def members(chunks: Iterable[bytes]) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return {member.name: member for member in tar.getmembers()}


def contents(chunks: Iterable[bytes]) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        found = (member for member in tar.getmembers() if member.isreg() or member.islnk())
        return {member.name: file.read() for member in found if (file := tar.extractfile(member))}


def got(container: Container, path: str) -> dict[str, bytes]:
    return contents(files.get_archive(container, path)[1])


def until_said(container: Container, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while text not in said(container):
        assert time.monotonic() < deadline, said(container)
