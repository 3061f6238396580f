"""Progress of a pull or a push, as lines of JSON for the client.

    {"status": "Downloading", "progressDetail": {"current": 32768, "total": 29600000}, "progress": "[>    ]  32.77kB/29.6MB", "id": "4f4f…"}

Source: moby's ``pkg/jsonmessage``, ``pkg/streamformatter``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.image.progress import Progress

_WIDTH = 50


def told(said: Progress) -> dict[str, object]:
    """One line. What has a bar has ``progress``, ready to be printed."""
    line: dict[str, object] = {"status": said.status}
    if said.current is not None:
        detail = {"current": said.current} | ({"total": said.total} if said.total else {})
        line |= {"progressDetail": detail, "progress": _bar(said.current, said.total or 0)}
    elif said.id and not said.status.startswith("Pulling from"):
        line["progressDetail"] = {}
    return line | ({"id": said.id} if said.id else {})


def _bar(current: int, total: int) -> str:
    if not total:
        return size(current)
    done = min(_WIDTH, current * _WIDTH // total)
    bar = "=" * done + (">" if done < _WIDTH else "")
    return f"[{bar:{_WIDTH}}]  {size(current)}/{size(total)}"


def size(number: float) -> str:
    """A number of bytes with four digits: 29.6MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.4g}{unit}"
