"""What an image has in a directory, copied to where an empty volume begins with it.

    >>> from labkit.engine import volume_filling
    >>> volume_filling.copied(layers, "/usr/share/nginx/html", "/var/lib/labkit/volumes/site/_data", "/run/labkit")
    True

All of it with owners, modes, times, links and attributes, that of the directory itself, too. The image is a stranger's: it is read through
a view that nothing leads out of. Source: moby's ``container.CopyImagePathContent``. Shown in notebook 09.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from labkit.engine import extraction, files, packing, view
from labkit.storage import copies, trees


def copied(layers: Sequence[str], path: str, target: str, place: str) -> bool:
    """Whether an image has a directory at ``path``, of which ``target`` is now a copy."""
    with view.of_layers(layers, place) as seen, trees.Tree(seen.root) as tree:
        try:
            source = files.followed(tree, os.fsencode(path))
            directory, _ = tree.directory(source)
        except (FileNotFoundError, NotADirectoryError):
            return False
        os.makedirs(target, exist_ok=True)
        copies.attributes(f"/proc/self/fd/{directory}/.", target)
        with trees.Tree(target) as copy:
            extraction.extract(packing.packed(tree, source, b""), copy, b"", extraction.Rules())
            found = os.fstat(tree.directory(source)[0])
            os.utime(copy.root, ns=(found.st_atime_ns, found.st_mtime_ns))
    return True
