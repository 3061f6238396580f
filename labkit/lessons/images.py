"""The checks of notebook 05: they read stores on disk, and ask the lesson's registry what it has."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from labkit.errors import InvalidInput, LabError
from labkit.image.image import Image
from labkit.image.images import Images
from labkit.image.registry import settings
from labkit.lessons import registries
from labkit.lessons.stage import DATA
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.storage.store import Store

_HERE = f"{DATA}/05"
_RUN_IT = "fill the blank and run the starter cell."


def spoilt() -> Verdict:
    """Of the attic's blobs all are what they are called, and exactly one of the store's is not among them."""
    attic, store = _digests("attic"), _digests("store")
    if not os.path.isdir(f"{_HERE}/attic"):
        return failed("Not yet: there is no attic.", "run the starter cell.")
    wrong = [name for name in attic if not _is_what_it_is_called(f"{_HERE}/attic/images/blobs/sha256/{name}")]
    missing = len(store - attic)
    if wrong and not missing:
        return failed("Not yet: all blobs are there, and the bytes of one are not what its name says.", _RUN_IT)
    if wrong:
        return failed(f"{missing} are gone, but the spoilt one is still there.", "run the starter cell again: it brings all of them back.")
    if missing > 1:
        return failed(
            f"{missing} blobs are gone, and {missing - 1} of them were well: by that function they all looked spoilt.",
            "a digest says before the colon how it was made. The starter cell brings all of them back.",
        )
    return passed(f"{len(attic)} blobs, and sha256 of each is its name. The spoilt one had not changed in size, time or owner.")


def pushed() -> Verdict:
    """The registry has team/page:v2, and that is the manifest of the store's site:v1."""
    shop = registries.find("05")
    if shop is None or not shop.running:
        return failed("No registry of this lesson is running.", "run the first cell again.")
    wanted = _get("store", "site:v1")
    there, tags = shop.repositories(), shop.tags("team/page")
    if wanted is None:
        return failed("There is no site:v1 in the store any more.", "run the first cell again.")
    if "team/page" not in there:
        has = f"it has {', '.join(there)}" if there else "it is empty"
        return failed(f"Not yet: the registry has no repository team/page; {has}.", _RUN_IT)
    if "v2" not in tags:
        return failed(f"The repository team/page has no tag v2; it has {', '.join(tags)}.", "a name without a tag means :latest.")
    if shop.digest("team/page", "v2") != wanted.descriptor.digest:
        return failed("The registry has team/page:v2, but that is another image than site:v1.", "run the starter cell as it was.")
    return passed("The registry gives out team/page:v2 by the very digest that site:v1 has in your store.")


def pinned() -> Verdict:
    """The laptop has got the image that the tag pointed to before it was moved."""
    shop = registries.find("05")
    first, second, laptop = _get("store", "site:v1"), _get("store", "clock:v1"), _all("laptop")
    if shop is None or first is None or second is None or shop.digest("shop/page", "v1") != second.descriptor.digest:
        return failed("Not yet: in the registry the tag v1 of shop/page has not been moved.", "run the starter cell.")
    pulled = [image.descriptor.digest for image in laptop if any(name.path == "shop/page" for name in image.names)]
    if first.descriptor.digest in pulled:
        return passed("The laptop has the first image, though no tag in the registry points to it any more.")
    if second.descriptor.digest in pulled:
        return failed(
            "The laptop has got the image that was pushed second.",
            "a tag is a pointer, and yours has been moved. What does `first` say that nobody can move?",
        )
    return failed("Not yet: the laptop has no image of shop/page.", _RUN_IT)


def mirrored() -> Verdict:
    """daemon.json names the lesson's registry as a mirror, and the desk has site:v1 of Docker Hub, which came from there."""
    shop = registries.find("05")
    try:
        mirrors = settings.load(f"{_HERE}/desk/daemon.json").registry_mirrors
    except InvalidInput as error:
        return failed(f"daemon.json is refused: {error}", "what does `shop.url` say?")
    if not mirrors:
        return failed("Not yet: daemon.json names no mirror.", _RUN_IT)
    if shop is None or shop.url not in mirrors:
        return failed(f"Nobody answers as a mirror at {', '.join(mirrors)}.", "where does our registry answer? `shop.url` knows.")
    if not any(str(name) == "docker.io/library/site:v1" for image in _all("desk") for name in image.names):
        return failed("The mirror is set up, but the desk has no docker.io/library/site:v1.", "run the starter cell again.")
    return passed("docker.io/library/site:v1 is on the desk, and Docker Hub was never asked: the mirror had it.")


def _digests(name: str) -> set[str]:
    directory = f"{_HERE}/{name}/images/blobs/sha256"
    return set(os.listdir(directory)) if os.path.isdir(directory) else set()


def _is_what_it_is_called(path: str) -> bool:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == os.path.basename(path)


def _all(name: str) -> tuple[Image, ...]:
    return Images(Store(f"{_HERE}/{name}")).list() if os.path.isdir(f"{_HERE}/{name}") else ()


def _get(name: str, image: str) -> Image | None:
    try:
        return Images(Store(f"{_HERE}/{name}")).get(image) if os.path.isdir(f"{_HERE}/{name}") else None
    except LabError:
        return None


CHECKS: dict[str, Callable[[], Verdict]] = {
    "spoilt": spoilt,
    "pushed": pushed,
    "pinned": pinned,
    "mirrored": mirrored,
}
