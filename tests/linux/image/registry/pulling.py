"""A pull in a process of its own, to be killed and measured: STORE NAME. Prints the ID and its peak of memory in KiB."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from labkit.image import references
from labkit.image.images import Images
from labkit.image.registry import pull
from labkit.image.registry.settings import Settings
from labkit.storage.store import Store


def main() -> None:
    root, name = sys.argv[1:]
    image = pull.pull(Images(Store(root)), references.parse(name), settings=Settings())
    # Not ru_maxrss, which begins with that of the process that has started this one.
    print(image.id, *re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()))


if __name__ == "__main__":
    main()
