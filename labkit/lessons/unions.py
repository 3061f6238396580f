"""The checks of notebook 03: read the mount table and the layers' directories, and leave both as they are."""

from __future__ import annotations

import os
from collections.abc import Callable

from labkit.lessons.stage import DATA
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.linux import mounts, overlays
from labkit.storage.snapshots import Snapshots

_HERE = f"{DATA}/03"
_RUN_IT = "fill the blank and run the starter cell."


def order() -> Verdict:
    """The union at …/order shows the page of the layer "theme", though "site" and "base" have one, too."""
    target = f"{_HERE}/order/union"
    mount = mounts.at(target)
    if mount is None or mount.fstype != "overlay":
        return failed(f"Not yet: no union is mounted at {target}.", _RUN_IT)
    with open(f"{target}/page") as file:
        page = file.read().strip()
    stack = next(option for option in mount.super_options if option.startswith("lowerdir=")).replace(f"{_HERE}/order/", "")
    if page != "theme":
        return failed(f"The union shows the page of {page}: the kernel has {stack}.", "the topmost layer comes first.")
    if not all(os.path.exists(f"{target}/{name}") for name in ("only-base", "only-site", "only-theme")):
        return failed("The page is right, but the files of another layer are missing.", "stack all three.")
    return passed(f"In the mount table: {stack}. The first that has a name provides it.")


def whiteout() -> Verdict:
    """The union at …/vault has no secret, its lower layer has one, and a whiteout does it."""
    target, lower, upper = f"{_HERE}/vault/union", f"{_HERE}/vault/lower/secret", f"{_HERE}/vault/upper/secret"
    if mounts.at(target) is None:
        return failed(f"Not yet: no union is mounted at {target}.", "run the starter cell.")
    if not os.path.exists(lower):
        return failed("The secret is gone from the lower layer itself: everybody who shares it has lost it.", "run the starter cell again.")
    if not os.path.lexists(upper):
        return failed("Not yet: the upper layer has no mark, and the secret shows through.", _RUN_IT)
    if not overlays.is_whiteout(upper):
        return failed(
            "The upper layer has a file of its own there, and the union shows that one in place of the secret.",
            "`ls -l` of a real whiteout, further up, begins with the letter of its type.",
        )
    if os.path.exists(f"{target}/secret"):
        return failed("The mark is right, but the union was mounted before it was made.", "run the starter cell once more.")
    return passed("A device with the numbers 0, 0 hides the secret; the layer below has it still.")


def restored() -> Verdict:
    """The union of "mine" has the image's message of the day again, and still what "mine" added."""
    layers = _layers("restore")
    if layers is None:
        return failed("Not yet: there is no container layer called mine.", "run the starter cell.")
    seen_from = layers.providers("mine")
    if not os.path.exists(f"{layers.get('image').upper}/etc/motd"):
        return failed(
            "The file is gone from the image: every container that shares it has lost its message.",
            "run the starter cell again, it makes both layers anew; then delete below the other directory.",
        )
    if "/home/work" not in seen_from:
        return failed("The container's own work is gone, too.", "only one file was to be given back.")
    if seen_from.get("/etc/motd") != "image":
        return failed("The container still sees its own, broken /etc/motd.", "which directory holds the copy that hides the image's file?")
    return passed("/etc/motd comes from the image again, /home/work from the container: what is not above shows through.")


def ten_for_one() -> Verdict:
    """Ten containers, c0 to c9, see the image's shell, and have no byte of their own."""
    layers = _layers("ten")
    if layers is None:
        return failed("Not yet: there are no containers.", "run the starter cell.")
    names = [f"c{number}" for number in range(10)]
    found = {snapshot.name: snapshot for snapshot in layers.list() if snapshot.name in names}
    if len(found) < 10:
        return failed(f"Not yet: of the ten containers there are {len(found)}.", "run the starter cell.")
    without = [name for name in names if layers.providers(name).get("/bin/sh") != "image"]
    if without:
        return failed(f"{len(without)} of the ten have no shell from the image.", "give each of them the image as its parent, by name.")
    own = [name for name in names if os.listdir(found[name].upper)]
    if own:
        return failed(f"{len(own)} of the ten have files of their own.", "do not copy: a parent is enough.")
    return passed("Ten root file systems with a shell each, and ten upper directories without a single file.")


def _layers(name: str) -> Snapshots | None:
    root = f"{_HERE}/{name}/layers"
    return Snapshots(root) if os.path.isdir(root) else None


CHECKS: dict[str, Callable[[], Verdict]] = {
    "order": order,
    "whiteout": whiteout,
    "restored": restored,
    "ten-for-one": ten_for_one,
}
