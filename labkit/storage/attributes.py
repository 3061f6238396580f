"""Extended attributes of what comes from strangers: set, but for those that would tell overlayfs to look elsewhere.

    >>> from labkit.storage import attributes
    >>> with open("/layers/app/bin/ping", "rb") as file:
    ...     attributes.set_xattr(file.fileno(), "user.note", b"mine", "bin/ping")

Source: ``man 7 xattr``; overlayfs.rst, "whiteouts and opaque directories". Shown in notebook 05.
"""

from __future__ import annotations

import errno
import os

from labkit.errors import InvalidInput, Unsupported

OVERLAYFS = ("trusted.overlay.", "user.overlay.")


def at(directory: int, name: bytes) -> bytes:
    """A name for calls that take no descriptor of a directory; the last component is not followed by those that are told so."""
    return b"/proc/self/fd/%d/%s" % (directory, name)


def set_xattr(target: int | bytes, key: str, value: bytes, entry: str) -> None:
    """Set an attribute that an archive has for ``entry``, on an open file or on a name that is not followed."""
    if key.startswith(OVERLAYFS):
        return
    try:
        if isinstance(target, int):
            os.setxattr(target, key, value)
        else:
            os.setxattr(target, key, value, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.E2BIG, errno.ERANGE, errno.EINVAL):
            raise InvalidInput(f"layer: entry {entry}: {len(value)} bytes cannot be its attribute {key}: {error.strerror}") from None
        if error.errno != errno.EOPNOTSUPP:
            raise
        if key == "security.capability":  # a program without its capabilities is another program
            raise Unsupported(f"layer: entry {entry} has capabilities, which this file system cannot hold") from None


def clear_xattrs(target: bytes) -> None:
    """Take away all attributes but those of the machine itself."""
    for key in os.listxattr(target, follow_symlinks=False):
        if not key.startswith((*OVERLAYFS, "security.selinux")):
            os.removexattr(target, key, follow_symlinks=False)


def make_opaque(directory: bytes) -> None:
    """Let nothing show through that the layers below have in this directory."""
    os.setxattr(directory, "trusted.overlay.opaque", b"y", follow_symlinks=False)
