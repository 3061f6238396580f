"""``labkit`` as a person types it, with a store of its own.

def test_something(labkit: Labkit) -> None:
    labkit.says("pull", "busybox")
    assert labkit("rmi", "nosuch") == Result(1, "", "labkit: No such image: nosuch:latest\\n")
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.patience import PATIENCE

SECONDS = 60 * PATIENCE


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What was wrong, without who says so."""
        lines = self.err.replace("Error response from daemon: ", "").replace("labkit: ", "").strip().splitlines()
        return "\n".join(line for line in lines if not line.startswith(("DEPRECATED:", " " * 12)) and line)


@dataclasses.dataclass
class Program:
    """A program, and the words and variables that each call of it begins with."""

    words: Sequence[str]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __call__(self, *words: str, stdin: bytes | str = b"", cwd: Path | None = None, **environment: str) -> Result:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        variables = os.environ | dict(self.environment) | environment
        done = subprocess.run([*self.words, *words], input=given, capture_output=True, cwd=cwd, env=variables, timeout=SECONDS, check=False)
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def says(self, *words: str, stdin: bytes | str = b"", cwd: Path | None = None, **environment: str) -> str:
        """What a command prints; it must succeed."""
        result = self(*words, stdin=stdin, cwd=cwd, **environment)
        assert result.code == 0, (words, result)
        return result.out.strip()


class Labkit(Program):
    """labkit with its images below ``place``, and what daemon.json says."""

    def __init__(self, place: Path, **settings: object) -> None:
        self.root = place / "store"
        place.mkdir(parents=True, exist_ok=True)
        (place / "daemon.json").write_text(json.dumps({name.replace("_", "-"): value for name, value in settings.items()}))
        program = os.path.join(os.path.dirname(sys.executable), "labkit")
        words = [program, "--root", str(self.root), "--config", str(place / "daemon.json")]
        super().__init__(words, {"DOCKER_CONFIG": str(place / "client"), "TZ": "UTC"})

    def ids(self) -> dict[str, str]:
        """Each name, and the ID of what is called so."""
        lines = self.says("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if line)
