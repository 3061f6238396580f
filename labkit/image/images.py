"""The images of a store.

    >>> from labkit.image.images import Images
    >>> from labkit.storage import gc
from labkit.storage.store import Store
    >>> images = Images(Store())
    >>> images.get("nginx").id
    'sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1'

    ROOT/images/index.json   name ──▶ manifest                          index.py
    ROOT/images/blobs/       manifests, configs, layers as they travel  contents.py
    ROOT/snapshots/          layers unpacked, for containers to mount   unpacking.py

An image is there from the moment its entry is in the index, and that is written last; what has no entry is rubbish, which ``collect``
takes away. Who writes holds ``store.changing()``, from the first blob to the entry. Source: OCI image-spec 1.1, image-layout.md; Docker
Engine API, Images. Shown in notebook 05.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from labkit.errors import InvalidInput, LabError, NotFound
from labkit.image import index, references, removal, sizes, unpacking
from labkit.image.contents import Contents, Documents
from labkit.image.documents import Descriptor
from labkit.image.image import Image, Step, chain_ids
from labkit.image.index import Entry
from labkit.image.progress import Report, silent
from labkit.image.references import Reference
from labkit.image.removal import Removed
from labkit.storage import gc
from labkit.storage.store import Store

__all__ = ["Image", "Images", "Removed", "Step"]


class Images:
    """Images by name and by ID. Any number of processes may use a store at the same time."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return f"Images({self.store!r})"

    @cached_property
    def contents(self) -> Contents:
        """The documents of the images, by descriptor."""
        return Contents(self.store.blobs)

    # Looking

    def list(self) -> tuple[Image, ...]:
        """All images, the newest first. One whose documents are lost or damaged is left out; ``get`` says what it lacks."""
        entries = self._entries()
        found: dict[str, Documents] = {}
        for entry in entries:
            try:
                documents = self.contents.of(entry.descriptor)
            except LabError:
                continue
            found.setdefault(documents.id, documents)
        listed = [self._image(documents, entries) for documents in found.values()]
        return tuple(sorted(listed, key=lambda image: image.created.timestamp() if image.created else 0.0, reverse=True))

    def get(self, text: str) -> Image:
        """The image called ``text``: a name, a name with a digest, an ID or the beginning of one. ``NotFound`` in Docker's words."""
        entries = self._entries()
        return self._image(self.contents.of(self._find(entries, text).descriptor), entries)

    def of(self, manifest: Descriptor) -> Image:
        """The image of a manifest whose blobs are in the store, whether or not it has an entry yet."""
        return self._image(self.contents.of(manifest), self._entries())

    # Names

    def add(self, manifest: Descriptor, name: Reference | None = None, *, digest_name: Reference | None = None) -> Image:
        """Enter an image whose blobs are in the store. A name moves here from the image that had it, which stays as ``<none>``.

        ``digest_name`` is the name by digest under which a registry gives it out. Without any name the image itself is ``<none>``.
        """
        names = [_canonical(each) for each in (name, digest_name) if each]
        with self.store.changing():
            added = self.contents.of(manifest)
            entries = self._entries()
            others = [entry for entry in entries if entry.name not in names]
            if names:
                others = [entry for entry in others if entry.name or self.contents.id(entry.descriptor) != added.id]
            mine = [Entry(index.nameless(manifest), each) for each in names]
            if not names and all(self.contents.id(entry.descriptor) != added.id for entry in others):
                mine = [Entry(index.nameless(manifest))]
            left = self._with_nameless(entries, [*others, *mine])
            index.write(self.store.blobs.directory, left)
            return self._image(added, left)

    def tag(self, image: Image, name: Reference) -> Image:
        """Give an image one more name; ``:latest`` if the name has no tag."""
        if name.digest:
            raise InvalidInput(f"tag {name.familiar}: refusing to create a tag with a digest reference")
        return self.add(image.descriptor, name)

    def untag(self, name: Reference) -> None:
        """Take a name away. The image stays, as ``<none>`` if that was its last. A name that nobody has is fine."""
        with self.store.changing():
            entries = self._entries()
            others = [entry for entry in entries if entry.name != _canonical(name)]
            index.write(self.store.blobs.directory, self._with_nameless(entries, others))

    # Taking away

    def remove(self, text: str, force: bool = False) -> tuple[Removed, ...]:
        """Remove a name, or an image with all its names, by Docker's rules; ``Conflict`` where that takes ``force``.

        What no image needs any more stays on the disk until ``collect``.
        """
        with self.store.changing():
            entries = self._entries()
            entry = self._find(entries, text)
            try:
                image = self._image(self.contents.of(entry.descriptor), entries)
            except LabError:  # of no use to anybody, but without this nobody could get rid of it
                index.write(self.store.blobs.directory, [each for each in entries if each != entry])
                return (Removed(untagged=entry.name.familiar) if entry.name else Removed(deleted=entry.descriptor.digest),)
            mine = [each for each in entries if self.contents.id(each.descriptor) == image.id]
            left, removed = removal.plan(entries, mine, image, text, force=force)
            index.write(self.store.blobs.directory, left)
            if removed[-1].deleted:
                needed = self.keep()[1]
                removed += [Removed(deleted=chain) for chain in reversed(image.chain_ids) if chain not in needed]
            return tuple(removed)

    def prune(self, all: bool = False) -> tuple[Removed, ...]:
        """Remove the images without a tag; ``all``: every image."""
        with self.store.changing():
            pruned = [image for image in self.list() if all or not image.tags]
            return tuple(line for image in pruned for line in self.remove(image.id, force=True))

    def keep(self) -> tuple[frozenset[str], frozenset[str]]:
        """Blobs and chain IDs that images need."""
        blobs: set[str] = set()
        chains: set[str] = set()
        for entry in self._entries():
            blobs |= self.contents.reachable(entry.descriptor)
            try:
                chains.update(chain_ids(self.contents.of(entry.descriptor).config))
            except LabError:
                continue
        return frozenset(blobs), frozenset(chains)

    def collect(self, keep_blobs: Iterable[str] = (), keep_chains: Iterable[str] = ()) -> gc.Collected:
        """Delete what no image needs, nor whoever asks: a build keeps its cache, a container its layers."""
        with self.store.changing():
            blobs, chains = self.keep()
            return gc.collect(self.store, blobs.union(keep_blobs), chains.union(keep_chains))

    # Layers

    def ensure_unpacked(self, image: Image, report: Report = silent, limit: int | None = None) -> str | None:
        """The name of the snapshot that holds the image's file system; layers that are missing are unpacked: ``unpacking.unpack``."""
        return unpacking.unpack(self.store, image, report, limit)

    # From texts to entries, from entries to images

    def _entries(self) -> tuple[Entry, ...]:
        return index.read(self.store.blobs.directory)

    def _find(self, entries: Sequence[Entry], text: str) -> Entry:
        """A name wins over the beginning of an ID, as in Docker; an ID in full is never a name."""
        identifier = re.fullmatch(r"(?:sha256:)?([0-9a-f]{1,64})", text)
        wanted = None if identifier and len(identifier[1]) == 64 else references.parse(text).tagged
        for entry in entries:
            if wanted and _is_called(entry, wanted):
                return entry
        if identifier:
            ids = {self.contents.id(entry.descriptor): entry for entry in entries}
            found = [image_id for image_id in ids if image_id and removal.is_id(image_id, text)]
            if len(found) > 1:
                raise InvalidInput(f"image ID {text}: is ambiguous, it begins {' and '.join(sorted(found))}")
            if found:
                return ids[found[0]]
            for entry in entries:
                if entry.descriptor.digest == text:
                    return entry
        raise NotFound(f"No such image: {wanted.familiar if wanted else text}")

    def _with_nameless(self, before: Sequence[Entry], after: Sequence[Entry]) -> Sequence[Entry]:
        """``after``, with an entry for each image of ``before`` that would have none any more."""
        left = [*after]
        there = {self.contents.id(entry.descriptor) for entry in after} | {""}
        for entry in before:
            image_id = self.contents.id(entry.descriptor)
            if image_id not in there:
                there.add(image_id)
                left.append(Entry(index.nameless(entry.descriptor)))
        return left

    def _image(self, documents: Documents, entries: Iterable[Entry]) -> Image:
        names = {entry.name for entry in entries if entry.name and self.contents.id(entry.descriptor) == documents.id}
        made = Image(documents.id, documents.descriptor, documents.manifest, documents.config, tuple(sorted(names, key=str)), ())
        return replace(made, layer_sizes=sizes.of_layers(self.store, made))


def _is_called(entry: Entry, wanted: Reference) -> bool:
    """Whether ``wanted`` means this entry; a digest decides, whatever tag stands beside it."""
    name = entry.name
    if name is None:
        return False
    if wanted.digest:
        return name.name == wanted.name and wanted.digest in (name.digest, entry.descriptor.digest)
    return name == wanted


def _canonical(name: Reference) -> Reference:
    """The name of one entry: by tag or by digest."""
    return name.with_digest(name.digest) if name.digest else name.tagged
