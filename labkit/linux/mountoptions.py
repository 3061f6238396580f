"""Mount options: the words of ``mount -o`` and of an OCI bundle, sorted by the system call that takes them.

    >>> from labkit.linux import mounts
    >>> mounts.parse_options(["ro", "nosuid", "mode=755", "size=64k", "rslave"])
    Options(flags=3, clear=0, propagation=(540672,), data='mode=755,size=64k', …)

``ro`` is a bit in ``mount(2)``'s flags, ``mode=755`` is text for the file system, ``rslave`` needs a call of its own, and ``rro``
another one. Source: ``man 8 mount``, ``man 2 mount``, ``man 2 mount_setattr``, OCI runtime-spec ``config.md``, "Linux mount options".
Shown in notebook 04.
"""

from __future__ import annotations

from collections.abc import Sequence

from labkit.linux import syscalls
from labkit.linux.syscalls import MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE
from labkit.records import record

# The words of mount(8) and of an OCI bundle: the flag, the word that sets it and the one that takes it back.
_FLAGS = (
    (syscalls.MS_RDONLY, "ro", "rw"),
    (syscalls.MS_NOSUID, "nosuid", "suid"),
    (syscalls.MS_NODEV, "nodev", "dev"),
    (syscalls.MS_NOEXEC, "noexec", "exec"),
    (syscalls.MS_NOSYMFOLLOW, "nosymfollow", "symfollow"),
    (syscalls.MS_NOATIME, "noatime", "atime"),
    (syscalls.MS_NODIRATIME, "nodiratime", "diratime"),
    (syscalls.MS_RELATIME, "relatime", "norelatime"),
    (syscalls.MS_STRICTATIME, "strictatime", "nostrictatime"),
    (syscalls.MS_LAZYTIME, "lazytime", "nolazytime"),
    (syscalls.MS_SYNCHRONOUS, "sync", "async"),
    (syscalls.MS_DIRSYNC, "dirsync", ""),
    (syscalls.MS_MANDLOCK, "mand", "nomand"),
    (syscalls.MS_I_VERSION, "iversion", "noiversion"),
    (syscalls.MS_POSIXACL, "acl", "noacl"),
    (syscalls.MS_SILENT, "silent", "loud"),
    (syscalls.MS_REMOUNT, "remount", ""),
    (syscalls.MS_BIND, "bind", ""),
    (syscalls.MS_BIND | syscalls.MS_REC, "rbind", ""),
)
# The same for a whole tree of mounts, in the numbers of mount_setattr(2): rro, rrw, rnosuid, …
_TREE_FLAGS = (
    (syscalls.MOUNT_ATTR_RDONLY, "rro", "rrw"),
    (syscalls.MOUNT_ATTR_NOSUID, "rnosuid", "rsuid"),
    (syscalls.MOUNT_ATTR_NODEV, "rnodev", "rdev"),
    (syscalls.MOUNT_ATTR_NOEXEC, "rnoexec", "rexec"),
    (syscalls.MOUNT_ATTR_NOSYMFOLLOW, "rnosymfollow", "rsymfollow"),
    (syscalls.MOUNT_ATTR_NOATIME, "rnoatime", "ratime"),
    (syscalls.MOUNT_ATTR_NODIRATIME, "rnodiratime", "rdiratime"),
    (syscalls.MOUNT_ATTR_RELATIME, "rrelatime", "rnorelatime"),
    (syscalls.MOUNT_ATTR_STRICTATIME, "rstrictatime", "rnostrictatime"),
)
_SET, _CLEAR = {word: flag for flag, word, _ in _FLAGS}, {word: flag for flag, _, word in _FLAGS if word}
_TREE_SET, _TREE_CLEAR = {word: flag for flag, word, _ in _TREE_FLAGS}, {word: flag for flag, _, word in _TREE_FLAGS}
PROPAGATION = {
    prefix + word: flag | recursive
    for word, flag in {"private": MS_PRIVATE, "slave": MS_SLAVE, "shared": MS_SHARED, "unbindable": MS_UNBINDABLE}.items()
    for prefix, recursive in {"": 0, "r": MS_REC}.items()
}

OPTION_WORDS = tuple(sorted({*_SET, *_CLEAR, *_TREE_SET, *_TREE_CLEAR, *PROPAGATION, "defaults", "tmpcopyup"}))
"""Every option that labkit itself understands; all others are handed to the file system."""


@record
class Options:
    """Mount options by the call that takes them.

    ``flags`` and ``data`` go to ``mount(2)``; ``clear`` holds the flags that were explicitly taken back (``rw``, ``dev``);
    ``propagation`` needs a call of its own each; ``tree_set`` and ``tree_clear`` are for ``mount_setattr(2)`` on the whole tree
    (``rro``); ``copy_up`` fills a new tmpfs with what lay below it (``tmpcopyup``).
    """

    flags: int = 0
    clear: int = 0
    propagation: tuple[int, ...] = ()
    data: str = ""
    tree_set: int = 0
    tree_clear: int = 0
    copy_up: bool = False


def parse_options(words: Sequence[str]) -> Options:
    """Sort the words of ``mount -o`` by what they are; of two that contradict each other the later one wins.

    >>> parse_options(["nosuid", "mode=755", "size=64k"]).data
    'mode=755,size=64k'
    """
    flags = clear = tree_set = tree_clear = 0
    propagation, data, copy_up = [], [], False
    for word in words:
        if flag := _SET.get(word):
            flags, clear = flags | flag, clear & ~flag
        elif flag := _CLEAR.get(word):
            flags, clear = flags & ~flag, clear | flag
        elif flag := PROPAGATION.get(word):
            propagation.append(flag)
        elif word in _TREE_SET:
            flag = _TREE_SET[word]
            tree_set, tree_clear = tree_set | flag, tree_clear & ~flag
            if word in ("rnoatime", "rrelatime", "rstrictatime"):
                # The access-time setting is one field of three values, not a bit: it has to be cleared to be set.
                tree_clear |= syscalls.MOUNT_ATTR__ATIME
        elif word in _TREE_CLEAR:
            flag = _TREE_CLEAR[word]
            tree_set, tree_clear = tree_set & ~flag, tree_clear | flag
        elif word == "tmpcopyup":
            copy_up = True
        elif word and word != "defaults":
            data.append(word)
    return Options(flags, clear, tuple(propagation), ",".join(data), tree_set, tree_clear, copy_up)
