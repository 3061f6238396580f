"""Images taken apart: manifest, config and layers, each by its digest, and what several of them share.

    >>> ImageTree(images, "site:v1", "clock:v1")
    site:v1
      manifest  sha256:9b1c2d3e4f50    739 B   names the 4 below by digest
      config    sha256:0c5a1f6be2aa    1.4 kB  starts httpd -f -h /www
      layer 3   sha256:51b9c07a12de    201 B   COPY file:… in /www/
      layer 2   sha256:2f0d9d4be0c3    612 B   COPY dir:… in /etc/       ═ also in clock:v1
      layer 1   sha256:77e1c5ad0f4b    1.0 MB  COPY dir:… in /           ═ also in clock:v1
    clock:v1
      …
    named 10 times, kept 8 times

*Recompute* reads each blob and marks it ✔ if its bytes have the digest that it is called by, ✘ if not, – if it is gone. Each
row unfolds to what is in the blob, and ``inside("site:v1", "config")`` is the same in text: a document as it is stored, a layer as its
archive lists it. Sizes are those of the blobs, layers compressed. Evidence: the blobs' files. Notebook 05.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from labkit.errors import LabError, NotFound
from labkit.storage import compression, tar
from labkit.views.view import ASIDE, COLOURS, FAINT, INK, View, button, drawing, escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    import ipywidgets
    from matplotlib.figure import Figure

    from labkit.image.images import Image, Images

INTACT, SPOILT, GONE, SHARED = "✔", "✘", "–", "═"
_WORDS = {INTACT: "its bytes have this digest", SPOILT: "its bytes have another digest", GONE: "it is gone", "": ""}
_COLOUR = {INTACT: COLOURS[2], SPOILT: COLOURS[5], GONE: COLOURS[5], "": INK}
_WIDEST = 44  # characters of what is said of a blob
_LONGEST = 40  # lines of what is in one
_LETTERS = dict(zip(b"0123456", "-hlcbdp", strict=True))  # of the kinds of entries, as `ls -l` has them; h is a hard link
_GRID = "display:inline-grid;grid-template-columns:6em 12.5em 5em minmax(14em,auto) auto;gap:0 .8em;vertical-align:top"
_PRE = "margin:.2em 0 .6em 1.4em;max-height:24em;overflow:auto;line-height:1.35"


@dataclass(frozen=True)
class Part:
    """A blob of an image: ``kind`` is its role, ``says`` what is in it, ``also`` names the other images that have it."""

    kind: str
    digest: str
    size: int
    says: str
    also: tuple[str, ...]

    @property
    def short(self) -> str:
        return self.digest[: len("sha256:") + 12]


class ImageTree(View):
    """Some images of a store, or all of them: a table for each, a row for each blob."""

    def __init__(self, images: Images, *names: str) -> None:
        self.images = images
        self.names = names
        self.found: dict[str, str] = {}
        """The blobs that have been recomputed, and what came of it: a sign."""
        super().__init__()

    def look(self) -> None:
        names = self.names or tuple(name.familiar for image in self.images.list() for name in image.names)
        images: dict[str, Image] = {}
        self.missing: list[str] = []
        for name in names:
            try:
                images[name] = self.images.get(name)
            except NotFound as error:
                self.missing.append(str(error))
        owners: dict[str, list[str]] = {}
        for name, image in images.items():
            for digest in _digests(image):
                owners.setdefault(digest, []).append(name)
        self.parts = {name: _parts(image, name, owners) for name, image in images.items()}
        self.named = sum(map(len, self.parts.values()))
        self.kept = len(owners)
        self.found = {digest: sign for digest, sign in self.found.items() if digest in owners}

    def recompute(self) -> None:
        """Hash every blob anew, and see whether it is what it is called."""
        self.found = {part.digest: self._recomputed(part.digest) for parts in self.parts.values() for part in parts}
        self.redraw()

    def _recomputed(self, digest: str) -> str:
        algorithm, _, encoded = digest.partition(":")
        try:
            with open(self.images.store.blobs.path(digest), "rb") as file:
                return INTACT if hashlib.file_digest(file, algorithm).hexdigest() == encoded else SPOILT
        except FileNotFoundError:
            return GONE

    def inside(self, name: str, kind: str) -> str:
        """What is in a blob of an image ("site:v1", "layer 4"), a line each for its first parts; ``NotFound`` if there is no such."""
        for part in self.parts.get(name, ()):
            if part.kind == kind:
                return "\n".join(self._inside(part))
        raise NotFound(f"{name} has no {kind}")

    def text(self) -> str:
        rows = {name: [self._cells(part) for part in parts] for name, parts in self.parts.items()}
        widths = [max(map(len, column)) for column in zip(*(row for each in rows.values() for row in each), strict=True)]
        lines: list[str] = []
        for name, each in rows.items():
            lines.append(name)
            lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in each]
        return "\n".join([*lines, *self._notes()])

    def _cells(self, part: Part) -> tuple[str, ...]:
        sign = f"{self.found.get(part.digest, ' ')} " if self.found else ""
        return (f"{sign}{part.kind}", part.short, size(part.size), part.says, shared(part))

    def _notes(self) -> tuple[str, ...]:
        return (f"named {self.named} times, kept {self.kept} times", *self.missing)

    def _inside(self, part: Part) -> list[str]:
        lines = self._listing(part.digest) if part.kind.startswith("layer") else self._document(part.digest)
        try:
            shown = list(islice(lines, _LONGEST + 1))  # a layer may be large: no more of it is read than is shown
        except (LabError, ValueError) as error:
            return [str(error)]
        return [*shown[:_LONGEST], "…"] if len(shown) > _LONGEST else shown

    def _document(self, digest: str) -> Iterator[str]:
        yield from json.dumps(json.loads(self.images.store.blobs.read(digest)), indent=2, ensure_ascii=False).splitlines()

    def _listing(self, digest: str) -> Iterator[str]:
        """As ``tar -tv`` lists it, and what the marks mean."""
        with self.images.store.blobs.open(digest) as file:
            for entry in tar.Reader(compression.decompressed(iter(lambda: file.read(1 << 16), b""))):
                path, target = (os.fsdecode(name) for name in (entry.path, entry.link))
                mark = "   ← whiteout: deletes what is below" if os.path.basename(path).startswith(".wh.") else ""
                yield f"{_LETTERS.get(entry.kind, '?')} {entry.mode:04o} {entry.size:>9,} {path}{f' → {target}' if target else ''}{mark}"

    def html(self) -> str:
        images = "".join(
            f"<div style='margin-top:.4em'><b>{escaped(name)}</b>{''.join(map(self._row, parts))}</div>"
            for name, parts in self.parts.items()
        )
        notes = "".join(f"<p style='margin:.4em 0;color:{ASIDE}'>{escaped(line)}</p>" for line in self._notes())
        return f"<div style='line-height:1.5'>{images}{notes}</div>"

    def _row(self, part: Part) -> str:
        """Folded: what the blob is. Unfolded, with a click or the space bar: what is in it. The browser does that, with or without us."""
        sign = self.found.get(part.digest, "")
        cells = (
            f"<b style='color:{_COLOUR[sign]}' title='{_WORDS[sign]}'>{sign}</b> {part.kind}",
            f"<code title='{escaped(part.digest)}'>{escaped(part.short)}</code>",
            size(part.size),
            escaped(part.says),
            f"<span style='color:{COLOURS[0]}'>{escaped(shared(part))}</span>",
        )
        edge = COLOURS[0] if part.also else "transparent"
        grid = f"<span style='{_GRID}'>{''.join(f'<span>{cell}</span>' for cell in cells)}</span>"
        inside = escaped("\n".join(self._inside(part)))
        return (
            f"<details style='border-left:4px solid {edge};padding-left:.4em'><summary style='cursor:pointer'>{grid}</summary>"
            f"<pre style='{_PRE}'>{inside}</pre></details>"
        )

    def controls(self) -> list[ipywidgets.Widget]:
        return [*super().controls(), button("Recompute", "hash every blob anew", self.recompute)]

    def figure(self) -> Figure:
        """A column for each image; a layer that neighbours share is one slab across them."""
        from matplotlib.patches import FancyBboxPatch

        columns = [[part for part in reversed(parts) if part.kind.startswith("layer")] for parts in self.parts.values()]
        top = max(map(len, columns), default=0) + 1
        figure, axes = drawing(1 + 2.6 * len(columns), 0.55 * (top + 1.6))
        axes.set(xlim=(0, len(columns) or 1), ylim=(0, top + 1.6))

        def slab(left: int, right: int, level: int, words: str, colour: str) -> None:
            shape = FancyBboxPatch((left + 0.06, level + 0.1), right - left - 0.12, 0.76, boxstyle="round,pad=0,rounding_size=0.06",
                                   facecolor=colour, edgecolor=FAINT)  # fmt: skip
            axes.add_patch(shape)
            axes.text((left + right) / 2, level + 0.48, words, ha="center", va="center", size=8, color=INK)

        for column, (name, parts) in enumerate(self.parts.items()):
            axes.text(column + 0.5, top + 1.25, name, ha="center", va="center", color=INK, weight="bold")
            slab(column, column + 1, top, f"manifest {parts[0].short}", "#fff8e1")
            slab(column, column + 1, top - 1, f"config: {parts[1].says}", "#fff8e1")
        for level in range(top - 1):
            row = [layers[level] if level < len(layers) else None for layers in columns]
            for left, right, part in _runs(row):
                words = f"{part.says}{f'  ({SHARED} one blob, {len(part.also) + 1} images)' if part.also else ''}"
                slab(left, right, level, words, "#d9e8f5" if part.also else "#eceff1")
        return figure


def size(count: int) -> str:
    """Bytes for people, in the decimal units that Docker prints: 812 B, 1.4 kB, 2.0 MB."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} B"


def shared(part: Part) -> str:
    """Who else has it, in words; empty if nobody has."""
    return f"{SHARED} also in {', '.join(part.also)}" if part.also else ""


def _digests(image: Image) -> list[str]:
    layers = [layer.digest for layer in image.manifest.layers]
    return list(dict.fromkeys([image.descriptor.digest, image.manifest.config.digest, *layers]))


def _parts(image: Image, name: str, owners: dict[str, list[str]]) -> tuple[Part, ...]:
    """Manifest and config, and the layers from the topmost down, as one would find them in a union."""
    manifest, config = image.descriptor, image.manifest.config
    command = " ".join((*image.config.config.Entrypoint, *image.config.config.Cmd))
    layers = image.manifest.layers
    told = [entry.created_by for entry in image.config.history if not entry.empty_layer]
    steps = [*map(_said, told), *[""] * len(layers)][: len(layers)]  # an image need not tell its history
    rows = [
        ("manifest", manifest, f"names the {len(layers) + 1} below by digest"),
        ("config", config, f"starts {command}" if command else "starts nothing by itself"),
        *reversed([(f"layer {at}", layer, step) for at, (layer, step) in enumerate(zip(layers, steps, strict=True), 1)]),
    ]
    return tuple(
        Part(kind, each.digest, each.size, _cut(words), tuple(owner for owner in owners[each.digest] if owner != name))
        for kind, each, words in rows
    )


def _said(created_by: str) -> str:
    """A step of the history without what the builder wraps it in, and without the digests of what was copied."""
    words = created_by.removeprefix("/bin/sh -c ")
    if words.startswith("#(nop)"):
        words = words.removeprefix("#(nop)").strip()
    elif words != created_by:
        words = f"RUN {words}"
    return re.sub(r"\b(file|dir|multi):[0-9a-f]{64}", r"\1:…", words).strip()


def _cut(words: str) -> str:
    return words if len(words) <= _WIDEST else f"{words[: _WIDEST - 1]}…"


def _runs(row: list[Part | None]) -> Iterator[tuple[int, int, Part]]:
    """Neighbours that are the same blob, as one: from which column to which."""
    start = 0
    for column, part in enumerate(row):
        following = row[column + 1] if column + 1 < len(row) else None
        if part is None or following is None or part.digest != following.digest:
            if part is not None:
                yield start, column + 1, part
            start = column + 1
