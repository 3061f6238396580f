"""What the doctor says of the registry, its images, and the mirrors in daemon.json."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from labkit.errors import Denied, InvalidInput, LabError, Unreachable
from labkit.image.registry import settings
from labkit.image.registry.settings import Settings
from labkit.lab import mirrors, registry
from labkit.lab.doctor import Row, State, images
from labkit.lab.mirrors import Holdings
from labkit.lab.seed import recipes

SERVER = registry.Server(4712, 1, 5000, "/var/lib/labkit/registry")
OWN, OTHER = "http://127.0.0.1:5000", "https://mirror.example"


class Lab:
    """A lab as the doctor finds it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(registry, "running", lambda: SERVER)
        monkeypatch.setattr(recipes, "missing", lambda url: ())
        monkeypatch.setattr(settings, "load", lambda: Settings((OWN,)))
        self.mirror(Holdings(4, 13, 35_600_000, ()))

    def mirror(self, has: Holdings | LabError) -> None:
        def inspect(url: str, trusted: Settings) -> Holdings:
            if isinstance(has, LabError):
                raise has
            return has

        self.monkeypatch.setattr(mirrors, "inspect", inspect)

    def rows(self) -> dict[str, Row]:
        return {row.name: row for row in images.rows()}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


def test_when_all_is_well_no_row_has_a_remedy(lab: Lab) -> None:
    assert [(row.name, row.state, row.found) for row in lab.rows().values()] == [
        ("docker-registry", State.FINE, "answers on http://127.0.0.1:5000"),
        ("images", State.FINE, "busybox debian nginx are seeded"),
        ("mirror 127.0.0.1:5000", State.FINE, "serves what it claims: 4 tags, 13 blobs, 35.6 MB checked"),
    ]


@pytest.mark.parametrize(("program", "remedy"), [("/usr/bin/docker-registry", "labkit up"), (None, "apt-get install docker-registry")])
def test_without_a_registry_the_lab_is_limited_not_lacking(lab: Lab, program: str | None, remedy: str) -> None:
    lab.monkeypatch.setattr(registry, "running", lambda: None)
    lab.monkeypatch.setattr(shutil, "which", lambda name: program)
    rows = lab.rows()
    assert (rows["docker-registry"].state, rows["docker-registry"].remedy) == (State.LIMITED, remedy)
    assert "images" not in rows


def test_images_that_are_missing_are_named(lab: Lab) -> None:
    lab.monkeypatch.setattr(recipes, "missing", lambda url: recipes.RECIPES[1:])
    assert lab.rows()["images"] == Row(
        "images", State.LIMITED, "missing or outdated: debian nginx", "labkit images seed, once with a network"
    )


@pytest.mark.parametrize(("url", "remedy"), [(OWN, "labkit images seed --again"), (OTHER, "take it out of registry-mirrors in")])
def test_a_mirror_that_does_not_serve_what_it_claims_is_told_with_what_it_was(lab: Lab, url: str, remedy: str) -> None:
    lab.monkeypatch.setattr(settings, "load", lambda: Settings((url,)))
    lab.mirror(Holdings(1, 1, 1, ("library/web:latest: blob sha256:12 has another digest", "more")))
    row = lab.rows()[f"mirror {url.partition('://')[2]}"]
    assert (row.state, row.found) == (
        State.LIMITED,
        "does not serve what it claims: library/web:latest: blob sha256:12 has another digest",
    )
    assert row.remedy.startswith(remedy)


def test_a_mirror_that_does_not_answer_is_told(lab: Lab) -> None:
    lab.monkeypatch.setattr(settings, "load", lambda: Settings((OTHER,)))
    lab.mirror(Unreachable("mirror.example: connection refused"))
    row = lab.rows()["mirror mirror.example"]
    assert (row.state, row.found) == (State.LIMITED, "mirror.example: connection refused")


def test_a_mirror_that_keeps_its_catalogue_to_itself_is_fine(lab: Lab) -> None:
    lab.mirror(Denied("no"))
    assert lab.rows()["mirror 127.0.0.1:5000"].state is State.FINE


def test_a_mistake_in_daemon_json_is_told(lab: Lab) -> None:
    def load() -> Settings:
        raise InvalidInput("/etc/labkit/daemon.json: is not JSON")

    lab.monkeypatch.setattr(settings, "load", load)
    row = lab.rows()["mirrors"]
    assert (row.state, row.found) == (State.LIMITED, "/etc/labkit/daemon.json: is not JSON")


@pytest.mark.parametrize(("exists", "remedy"), [(False, "labkit up"), (True, 'add "registry-mirrors": ["http://127.0.0.1:5000"] to it')])
def test_without_a_mirror_the_remedy_is_named(lab: Lab, tmp_path: Path, exists: bool, remedy: str) -> None:
    path = tmp_path / "daemon.json"
    if exists:
        path.write_text("{}")
    lab.monkeypatch.setattr(settings, "PATH", str(path))
    lab.monkeypatch.setattr(settings, "load", Settings)
    assert lab.rows()["mirrors"].remedy == remedy


def test_nothing_is_said_of_addresses_outside(lab: Lab) -> None:
    assert [row for row in lab.rows().values() if "docker.io" in f"{row}"] == []


def test_without_root_what_is_root_s_is_not_looked_for(lab: Lab) -> None:
    lab.monkeypatch.setattr(os, "geteuid", lambda: 1000)
    rows = lab.rows()
    assert rows["docker-registry"].remedy == "sudo labkit doctor"
    assert rows["mirror 127.0.0.1:5000"].state is State.FINE
