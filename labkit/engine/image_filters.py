"""Filters: which images, and by which of their names, a list is about.

    >>> from labkit.engine import image_filters
    >>> image_filters.apply(images, ["reference=127.0.0.1:5000/*/*", "label=course=containers"])
    (Listed(image=Image(…), names=(Reference(…),)),)

    reference=PATTERN         a name is like it; * and ? stand for anything but a slash
    dangling=true|false       it has no tag, or has one
    label=KEY[=VALUE]         it has this label                     label!=…       it has not
    before=IMAGE              it was made before that image         since=IMAGE    after it
    until=MOMENT              before 24h (ago), 2026-11-24, 2026-11-24T08:00:00Z, or seconds since 1970

Of the references, one must fit; else all. Source: Docker Engine API, ``GET /images/json``, ``POST /images/prune``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from labkit.errors import InvalidInput
from labkit.image import references
from labkit.image.images import Image, Images
from labkit.image.references import Reference

LISTING = ("before", "dangling", "label", "reference", "since", "until")
PRUNING = ("dangling", "label", "label!", "until")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Listed:
    """An image, and the names by which it is listed: all, unless a filter asks for some. None: it is ``<none>``."""

    image: Image
    names: tuple[Reference, ...]


def apply(images: Images, filters: Iterable[str]) -> tuple[Listed, ...]:
    """The images that the filters let through, newest first."""
    wanted = parse(filters, LISTING)
    tests = _tests(images, wanted)
    patterns = [_pattern(text) for text in wanted.get("reference", ())]
    found = []
    for image in images.list():
        names = tuple(name for name in image.names if not patterns or any(_is_like(pattern, name) for pattern in patterns))
        if all(test(image) for test in tests) and (names or not patterns):
            found.append(Listed(image, names))
    return tuple(found)


def prunable(images: Images, filters: Iterable[str], *, every: bool) -> tuple[Image, ...]:
    """The images that a prune takes away: without a tag, unless it is ``every`` one."""
    wanted = parse(filters, PRUNING)
    every = every or any(_truth("dangling", text) is False for text in wanted.pop("dangling", ()))
    tests = _tests(images, wanted)
    return tuple(image for image in images.list() if (every or not image.tags) and all(test(image) for test in tests))


def parse(filters: Iterable[str], known: Iterable[str]) -> dict[str, list[str]]:
    """``name=value`` and ``name!=value`` by name. ``InvalidInput`` for what is no filter, or not one that is ``known``."""
    wanted: dict[str, list[str]] = {}
    for text in filters:
        name, equals, value = text.partition("=")
        name = name.strip().lower()
        if not equals:
            raise InvalidInput(f"filter {text!r}: bad format of filter (expected name=value)")
        if name not in known:
            raise InvalidInput(f"invalid filter '{name}': there are {', '.join(known)}")
        wanted.setdefault(name, []).append(value.strip())
    return wanted


def _tests(images: Images, wanted: Mapping[str, list[str]]) -> list[Callable[[Image], bool]]:
    """What an image must be like, but for its names."""
    tests = [_beside(_moment(text), False) for text in wanted.get("until", ())]
    tests += [_beside(_seconds(images.get(text)), False) for text in wanted.get("before", ())]
    tests += [_beside(_seconds(images.get(text)), True) for text in wanted.get("since", ())]
    tests += [_labelled(text, True) for text in wanted.get("label", ())]
    tests += [_labelled(text, False) for text in wanted.get("label!", ())]
    tests += [_dangling(_truth("dangling", text)) for text in wanted.get("dangling", ())]
    return tests


def _beside(moment: float, is_later: bool) -> Callable[[Image], bool]:
    return lambda image: _seconds(image) > moment if is_later else _seconds(image) < moment


def _seconds(image: Image) -> float:
    return image.created.timestamp() if image.created else 0.0


def _dangling(dangling: bool) -> Callable[[Image], bool]:
    return lambda image: (not image.tags) is dangling


def _labelled(text: str, wanted: bool) -> Callable[[Image], bool]:
    key, equals, value = text.partition("=")

    def has(image: Image) -> bool:
        labels = image.config.config.Labels
        return (key in labels and (not equals or labels[key] == value)) is wanted

    return has


def _is_like(pattern: re.Pattern[str], name: Reference) -> bool:
    """As Docker shows it, with and without tag; who writes ``docker.io/…`` gets what he means, too."""
    texts = [name.familiar, name.familiar_name]
    if pattern.pattern.startswith(re.escape(f"{references.DEFAULT_DOMAIN}/")):
        texts += [str(name), name.name]
    return any(pattern.fullmatch(text) for text in texts)


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of Go's ``path.Match``."""
    pieces = re.findall(r"\[\^?[^\]]+\]|\\.|.", text, re.DOTALL)
    try:
        if text and "[" not in pieces:
            return re.compile("".join(_piece(piece) for piece in pieces))
    except re.error:
        pass  # a range that ends before it begins
    raise InvalidInput(f"invalid filter 'reference={text}': syntax error in pattern")


def _piece(piece: str) -> str:
    if piece in ("*", "?"):
        return f"[^/]{piece.replace('?', '')}"
    if piece.startswith("[") and len(piece) > 1:
        negated = "^" if piece[1] == "^" else ""
        ranges = re.findall(r"(\\.|.)(?:-(\\.|.))?", piece[1 + len(negated) : -1], re.DOTALL)
        return f"[{negated}{''.join('-'.join(re.escape(end[-1]) for end in ends if end) for ends in ranges)}]"
    return re.escape(piece[-1])


def _truth(name: str, text: str) -> bool:
    if text.lower() not in ("1", "true", "0", "false"):
        raise InvalidInput(f"invalid filter '{name}={text}': must be true or false")
    return text.lower() in ("1", "true")


def _moment(text: str) -> float:
    """A point in time as ``until`` has it, in seconds since 1970."""
    spans = re.fullmatch(r"(?:\d+(?:\.\d+)?(?:ms|[smh]))+", text)
    if spans:
        return time.time() - sum(float(count) * _UNITS[unit] for count, unit in re.findall(r"([\d.]+)(ms|[smh])", text))
    try:
        if re.fullmatch(r"\d{5,}(?:\.\d+)?", text):
            return float(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"invalid filter 'until={text}': is no time span (24h, 10m) and no date (2026-11-24, 2026-11-24T08:00:00Z)"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
