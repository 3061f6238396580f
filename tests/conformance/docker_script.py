"""Every command of docker's that a class needs, as one script: what is typed, letter for letter, in scenes/*.txt.

    $ docker run -d --name box busybox sleep 1000        the shell runs each line; code, output and complaints are its result
    > docker ps                                          the order of lines does not matter: they are sorted before they are compared
    ! docker info                                        exit codes are compared, the words are not
    ? NAME docker …                                      the words differ for the reason that docs/differences.md gives under NAME
    ~ NAME docker …                                      they may, and so may the code: it depends on the machine or on the client

A scene begins on an empty daemon with the one image ``busybox``, in an empty directory. ``test_docker_client.py`` plays each on labkit
and on dockerd. What must differ is replaced first: IDs by the order in which they appear, times, ages, names that were made up, sizes
of what a daemon writes itself.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Line:
    """A command line, and how its results are compared."""

    text: str
    is_sorted: bool = False
    words_matter: bool = True
    difference: str = ""
    """The name of what is known to differ; empty if nothing is."""
    always_differs: bool = False


def lines(scene: str) -> tuple[Line, ...]:
    """The lines of a scene."""
    return tuple(_line(*text.split(" ", 1)) for text in scene.strip().splitlines())


def _line(kind: str, text: str) -> Line:
    if kind in ("?", "~"):
        name, _, text = text.partition(" ")
        is_sorted = text.startswith("> ")
        return Line(text.removeprefix("> "), is_sorted, difference=name, always_differs=kind == "?")
    assert kind in ("$", ">", "!"), f"{kind} {text}"
    return Line(text, is_sorted=kind == ">", words_matter=kind != "!")


class Plain:
    """Replaces what must differ. One for each scene and daemon: an ID is the same word throughout."""

    def __init__(self, places: dict[str, str]) -> None:
        self._places = places
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        for path, name in self._places.items():
            text = text.replace(path, name)
        text = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", lambda found: self._id(found[0]), text)
        for pattern, word in _UNSTABLE:
            text = re.sub(pattern, word, text)
        return "\n".join(line.rstrip() for line in text.splitlines())

    def _id(self, id: str) -> str:
        name = self._known.setdefault(id[:12], f"ID{len(self._known) + 1}")
        return f"{name}({len(id)})"


_UNSTABLE = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} UTC", "TIME"),
    (r"(Less than a second|About a minute|\d+ (seconds?|minutes?))( ago)?", "AGE"),
    (r"COPY file:[0-9a-f]+", "COPY file:HASH"),  # of what an old client sends along, names of users are a part
    (r"\b172\.(1[89]|2\d|3[01])\.", "172.N."),  # which of the networks is free: dockerd begins with the one after the last
    (r'(?m)^time="TIME" level=error msg="error waiting for container: context canceled"\n?', ""),  # 20.10's client, when it is slow
    (r"  +", "  "),
)

SCENES = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "scenes").glob("*.txt"))}
