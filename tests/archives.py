"""Tar archives for tests, as others write them: Python's tarfile, and bytes of our own where no tool would write such a thing.

unpack([archive(file("etc/motd", b"hello"), whiteout("etc/hosts"))], directory, overlay=False)
"""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass

from hypothesis import strategies as st


@dataclass(frozen=True)
class Member:
    """One entry of an archive."""

    info: tarfile.TarInfo
    data: bytes = b""


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object) -> Member:
    """An entry with the fields of ``TarInfo``; a directory and a file get usual modes, and all belong to whoever runs the test."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.mtime = 1_000_000_000
    info.uid, info.gid = os.getuid(), os.getgid()
    for field, value in fields.items():
        setattr(info, field, value)
    return Member(info, data)


def file(name: str, data: bytes = b"", **fields: object) -> Member:
    return member(name, tarfile.REGTYPE, data, **fields)


def directory(name: str, **fields: object) -> Member:
    return member(name, tarfile.DIRTYPE, **fields)


def symlink(name: str, target: str) -> Member:
    return member(name, tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> Member:
    return member(name, tarfile.LNKTYPE, linkname=target)


def whiteout(path: str) -> Member:
    head, slash, name = path.rpartition("/")
    return file(f"{head}{slash}.wh.{name}")


def opaque(path: str) -> Member:
    return file(f"{path}/.wh..wh..opq".lstrip("/"))


def archive(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    """The archive with these entries, in this order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for each in members:
            made.addfile(each.info, io.BytesIO(each.data))
    return out.getvalue()


Entry = tuple[str, bytes, str]  # name, kind and target: hypothesis shows these better than whole archives

_names = st.lists(
    st.sampled_from(["a", "b", "c", "..", ".", "", "outside", "secret", ".wh.a", ".wh..wh..opq", ".wh."]), min_size=1, max_size=4
)
_paths = st.builds(lambda names, start: start + "/".join(names), _names, st.sampled_from(["", "", "", "/", "../", "./"]))
_kinds = st.sampled_from(
    [tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
)


def anything() -> st.SearchStrategy[list[Entry]]:
    """Entries of all kinds, whose names and targets often meet, go in circles and point out."""
    return st.lists(st.tuples(_paths, _kinds, _paths), min_size=1, max_size=8)


def made(entry: Entry) -> Member:
    """The member of an archive that ``anything`` speaks of."""
    name, kind, target = entry
    data = b"evil" if kind == tarfile.REGTYPE else b""
    return member(name, kind, data, linkname=target if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "", mode=0o777, mtime=1)
