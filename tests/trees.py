"""Trees of files for tests: invented by hypothesis, made on disk, and looked at.

@given(trees(), trees())
def test_something(a: Tree, b: Tree) -> None:
    make(a, "/tmp/a")
    assert look("/tmp/a") == …

Few names, so that two trees have much in common and much that is in each other's way.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

NAMES = ["a", "b", "c", "ä" * 60, "x" * 101, "-"]


@dataclass(frozen=True)
class Node:
    """One file of a tree; ``content`` is the target of a link, the name of another file for a hard link."""

    kind: str
    content: bytes = b""
    mode: int = 0o644
    mtime: int = 0
    xattr: bytes = b""


Tree = dict[str, Node]

_files = st.builds(
    Node,
    st.just("file"),
    st.sampled_from([b"", b"one", b"two", b"x" * 512, bytes(70_000), bytes(300_000) + b"end"]),
    st.sampled_from([0o644, 0o755, 0o600]),
    st.sampled_from([0, 1, 10**9, -1]),
    st.sampled_from([b"", b"", b"attribute\n=\0"]),
)
_directories = st.builds(Node, st.just("directory"), mode=st.sampled_from([0o755, 0o700, 0o777]), mtime=st.sampled_from([0, 10**9]))
_symlinks = st.builds(Node, st.just("symlink"), st.sampled_from([b"a", b"b/c", b"..", b"/", b"/nowhere", b"../../..", b"y" * 120]))
_fifos = st.just(Node("fifo"))
_hard_links = st.builds(Node, st.just("hard link"), st.sampled_from(NAMES).map(str.encode))
_paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)


def trees() -> st.SearchStrategy[Tree]:
    """Trees of up to a dozen files; a directory that nobody named is made with the usual attributes."""
    nodes = st.one_of(_files, _files, _directories, _symlinks, _fifos, _hard_links)
    return st.dictionaries(_paths, nodes, max_size=12)


def make(tree: Tree, root: str | Path) -> None:
    """Make the files of a tree. One that lies in something that is no directory, or a hard link to nothing, is left out."""
    os.makedirs(root, exist_ok=True)
    directories: dict[str, Node] = {"": Node("directory", mode=0o755)}
    for path in sorted(tree):
        node, place = tree[path], f"{root}/{path}"
        parent = ""
        for name in path.split("/")[:-1]:
            parent = f"{parent}/{name}".lstrip("/")
            if not os.path.lexists(f"{root}/{parent}"):
                os.mkdir(f"{root}/{parent}")
                directories[parent] = Node("directory", mode=0o755)
            if parent not in directories:
                break
        if parent not in directories:
            continue
        if node.kind == "directory":
            os.mkdir(place)
            directories[path] = node
        elif node.kind == "hard link":
            target = f"{root}/{node.content.decode()}"
            if os.path.lexists(target) and not stat.S_ISDIR(os.lstat(target).st_mode):
                os.link(target, place, follow_symlinks=False)
        else:
            _make_file(node, place)
    for path, node in directories.items():
        os.chmod(f"{root}/{path}", node.mode)
    for path, node in sorted(directories.items(), reverse=True):
        os.utime(f"{root}/{path}", (node.mtime, node.mtime))


def _make_file(node: Node, place: str) -> None:
    if node.kind == "symlink":
        os.symlink(node.content, place.encode())
    elif node.kind == "fifo":
        os.mkfifo(place)
    else:
        Path(place).write_bytes(node.content)
        if node.xattr:
            os.setxattr(place, "user.note", node.xattr)
    if node.kind != "symlink":
        os.chmod(place, node.mode)
    os.utime(place, (node.mtime, node.mtime), follow_symlinks=False)


def look(root: str | Path) -> dict[str, tuple[object, ...]]:
    """All that an archive can say of each file below ``root``; which names are of one file is among it."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[tuple[int, int], list[str]] = {}
    paths = [""]
    for here, directories, names in os.walk(root):
        paths += [os.path.relpath(os.path.join(here, name), root) for name in (*directories, *names)]
    for path in paths:
        place = os.path.join(root, path) if path else str(root)
        status = os.lstat(place)
        content: bytes = b""
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(os.fsencode(place))
        elif stat.S_ISREG(status.st_mode):
            content = Path(place).read_bytes()
            inodes.setdefault((status.st_dev, status.st_ino), []).append(path)
        device = status.st_rdev if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode) else 0
        found[path] = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns // 10**9, device, content, _xattrs(place))
    for paths in inodes.values():
        for path in paths:
            found[path] += (tuple(sorted(paths)),)
    return found


def _xattrs(place: str) -> tuple[tuple[str, bytes], ...]:
    names = sorted(os.listxattr(place, follow_symlinks=False))
    return tuple((name, os.getxattr(place, name, follow_symlinks=False)) for name in names if ".overlay." not in name)
