"""Layers: the archives of an image, each unpacked once, stacked, and shared by all images and containers that stand on them.

    >>> from labkit.storage.layers import chain_id
    >>> layers = store.layers
    >>> below = layers.commit(layers.unpack(open("base.tar", "rb")), None)
    >>> top = layers.commit(layers.unpack(open("app.tar", "rb")), below)

Any number are unpacked at the same time, each into a snapshot on top of nothing; then they are committed in order, lowest first:

    unpack(chunks) ──▶ Pending ──▶ commit(pending, parent) ──▶ snapshot of the chain
                          └──────▶ discard(pending)

A stack of layers is named by its *chain ID*, made of the digests of the uncompressed archives, the *diff IDs*:

    chain(L0)          =  diff(L0)
    chain(L0, …, Ln)   =  sha256(chain(L0, …, Ln-1) + " " + diff(Ln))

What an archive leaves to the layers below, commit adds: the owner and mode of directories that it has no entry for, and the target of a
hard link that it does not have itself.

Source: OCI image-spec ``config.md``, "Layer ChainID"; ``layer.md``. Shown in notebook 05.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence

from labkit.errors import Conflict, InvalidInput, KernelError
from labkit.linux import overlays, processes, syscalls
from labkit.records import record
from labkit.storage import attributes, copies, digests, trees, union
from labkit.storage.attributes import at
from labkit.storage.snapshots import Snapshot, Snapshots
from labkit.storage.unpack import Unpacked, unpack

_UNPACKING = re.compile(r"unpack-(\d+)-(\d+)-[0-9a-f]+")  # a snapshot that is not committed yet: PID and start time of whose it is


@record
class Pending:
    """A layer that is unpacked and stands on nothing yet."""

    key: str
    unpacked: Unpacked

    @property
    def diff_id(self) -> str:
        """The digest of the uncompressed archive."""
        return self.unpacked.diff_id


def chain_id(diff_ids: Sequence[str]) -> str:
    """The name of a stack of layers, the lowest first; ``InvalidInput`` if there is none."""
    if not diff_ids:
        raise InvalidInput("diff_ids: a stack of no layers has no name")
    chain, *rest = (digests.check(diff_id, "diff_ids") for diff_id in diff_ids)
    for diff_id in rest:
        chain = digests.of(f"{chain} {diff_id}".encode())
    return chain


def snapshot_name(chain: str) -> str:
    """What the snapshot of this chain is called: 128 of its bits. 127 paths of layers must find room in the options of one mount."""
    return digests.check(chain, "chain ID").partition(":")[2][:32]


def is_abandoned(snapshot: Snapshot) -> bool:
    """Whether this is a layer whose unpacking ended halfway: the process that did it is no longer there."""
    found = _UNPACKING.fullmatch(snapshot.name)
    return not snapshot.committed and found is not None and not processes.alive(int(found[1]), int(found[2]))


def _new_key() -> str:
    me = processes.stat(os.getpid())
    return f"unpack-{os.getpid()}-{me.start_time if me else 0}-{os.urandom(8).hex()}"


class Layers:
    """The layers among ``snapshots``. Any number of processes and threads may use them at the same time."""

    def __init__(self, snapshots: Snapshots) -> None:
        self.snapshots = snapshots

    def __repr__(self) -> str:
        return f"Layers({self.snapshots!r})"

    def has(self, chain: str) -> bool:
        """Whether this stack is unpacked."""
        return self.snapshots.has(snapshot_name(chain))

    def get(self, chain: str) -> Snapshot:
        """The snapshot of the topmost layer of this stack; ``NotFound`` if it is not unpacked."""
        return self.snapshots.get(snapshot_name(chain))

    def unpack(self, chunks: Iterable[bytes], limit: int | None = None) -> Pending:
        """Unpack an uncompressed archive, of at most ``limit`` bytes, while it arrives. What fails leaves nothing."""
        key = _new_key()
        snapshot = self.snapshots.prepare(key)
        try:
            os.chmod(snapshot.upper, 0o755)  # whatever the umask is
            pending = Pending(key, unpack(chunks, snapshot.upper, overlay=True, limit=limit))
            _flush(snapshot.upper)
            return pending
        except BaseException:
            self.snapshots.remove(key)
            raise

    def discard(self, pending: Pending) -> None:
        """Take an unpacked layer away; one that is committed or gone is fine."""
        self.snapshots.remove(pending.key)

    def commit(self, pending: Pending, parent: str | None) -> str:
        """Put the layer on top of the stack ``parent``, a chain ID; the chain ID of the two. If there is one already, that one stays."""
        chain = chain_id([pending.diff_id] if parent is None else [parent, pending.diff_id])
        if self.has(chain):
            self.discard(pending)
            return chain
        below = [layer.upper for layer in self.snapshots.stack(snapshot_name(parent))] if parent else []
        upper = self.snapshots.get(pending.key).upper
        try:
            _complete(pending.unpacked, upper, below)
            if pending.unpacked.links:
                _flush(upper)  # of files that were copied up
        except OSError as error:
            raise KernelError.of(error, f"complete layer {pending.diff_id} in", upper) from None
        try:
            self.snapshots.commit(pending.key, snapshot_name(chain), snapshot_name(parent) if parent else None)
        except Conflict:
            if not self.has(chain):
                raise
            self.discard(pending)  # somebody else was faster
        return chain


def _flush(directory: str) -> None:
    """Wait for the disk: else a layer that is there by name could, after the power went, be full of empty files."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)


def _complete(unpacked: Unpacked, upper: str, below: Sequence[str]) -> None:
    """Add to the layer in ``upper`` what it takes from those ``below``, topmost first."""
    with trees.Tree(upper) as tree:
        for path, target in unpacked.links:
            _complete_link(tree, os.fsencode(path), os.fsencode(target), upper, below)
        if overlays.is_opaque(upper):
            _spell_out_opaque_root(upper, below)
        for path in unpacked.whiteouts:
            _drop_needless_whiteout(tree, os.fsencode(path), below)
        # Last, and the deepest first: all of the above changes the times of directories.
        for path in sorted(unpacked.implicit, reverse=True):
            index = union.provider(below, f"/{path}" if path else "")
            if index is not None:
                _take_over(tree, os.fsencode(path), f"{below[index]}/{path}")


def _complete_link(tree: trees.Tree, path: bytes, target: bytes, upper: str, below: Sequence[str]) -> None:
    """A hard link to a file below: the file is copied up, as the kernel does before it makes such a link."""

    def copy_directory(parent: int, name: bytes, path: bytes) -> None:
        index = union.provider(below, "/" + os.fsdecode(path))
        os.mkdir(name, 0o755, dir_fd=parent)
        if index is not None:
            copies.attributes(f"{below[index]}/{os.fsdecode(path)}", at(parent, name))

    index = union.provider([upper, *below], "/" + os.fsdecode(target))
    if index is None:
        raise InvalidInput(f"layer: {os.fsdecode(path)!r} is a hard link to {os.fsdecode(target)!r}, which no layer has")
    head, _, name = target.rpartition(b"/")
    directory, _ = tree.directory(head, missing=copy_directory)
    if index:
        copies.copy(f"{below[index - 1]}/{os.fsdecode(target)}", at(directory, name))
    if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        raise InvalidInput(f"layer: {os.fsdecode(path)!r} is a hard link to {os.fsdecode(target)!r}, which is a directory")
    source = os.dup(directory)
    try:
        head, _, new = path.rpartition(b"/")
        directory, _ = tree.directory(head)
        os.link(name, new, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
    finally:
        os.close(source)


def _drop_needless_whiteout(tree: trees.Tree, path: bytes, below: Sequence[str]) -> None:
    """Where a directory is of one layer alone, the kernel lists whiteouts in it as files that cannot be opened."""
    head, _, name = path.rpartition(b"/")
    _, above = tree.directory(head)
    if union.provider(below, "/" + os.fsdecode(path)) is None or _is_below_opaque(tree, above):
        os.unlink(name, dir_fd=tree.directory(head)[0])


def _is_below_opaque(tree: trees.Tree, directory: bytes) -> bool:
    while directory:
        fd, _ = tree.directory(directory)
        if overlays.is_opaque(f"/proc/self/fd/{fd}/."):
            return True
        directory = directory.rpartition(b"/")[0]
    return False


def _spell_out_opaque_root(upper: str, below: Sequence[str]) -> None:
    """The kernel does not look whether the root is opaque: each name below gets what it means."""
    for path in union.entries(below):
        try:
            mode = os.lstat(upper + path).st_mode
        except FileNotFoundError:
            os.mknod(upper + path, stat.S_IFCHR, 0)
            continue
        if stat.S_ISDIR(mode):
            attributes.make_opaque(os.fsencode(upper + path))
    os.removexattr(upper, "trusted.overlay.opaque")


def _take_over(tree: trees.Tree, path: bytes, source: str) -> None:
    """The attributes of a directory that this layer has no entry for."""
    fd = tree.real_directory(path)
    if fd is not None and stat.S_ISDIR(os.lstat(source).st_mode):
        copies.attributes(source.rstrip("/"), at(fd, b"."))
