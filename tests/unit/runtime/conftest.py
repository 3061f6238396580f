"""Plans of made-up bundles on made-up machines: nothing is read from this one."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from labkit.linux import cgroups
from labkit.runtime import defaults, planner, spec
from labkit.runtime.steps.filesystem import MountRoot

if TYPE_CHECKING:
    from labkit.runtime.plans import Plan

CONTROLLERS = ("cpuset", "memory", "cpu", "pids", "blkio", "freezer", "devices")
MACHINES = {
    "v1": cgroups.detect("\n".join(f"31 24 0:27 / /cg/{name} rw - cgroup cgroup rw,{name}" for name in CONTROLLERS)),
    "v2": cgroups.detect("31 24 0:27 / /cg rw shared:9 - cgroup2 cgroup2 rw", "cpuset cpu io memory pids"),
    "hybrid": cgroups.detect(
        "31 24 0:27 / /cg/memory rw - cgroup cgroup rw,memory\n31 24 0:27 / /cg/devices rw - cgroup cgroup rw,devices\n"
        "31 24 0:27 / /cg/unified rw - cgroup2 cgroup2 rw",
        "pids",
    ),
}


def change(config: dict[str, object], path: str, value: object) -> None:
    """Set what is at ``path``, such as ``process.user.uid``; ``mounts[+]`` appends."""
    *way, last = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]
    place: object = config
    for step in way:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]  # type: ignore[index,call-overload]
    if last == "+":
        place.append(value)  # type: ignore[attr-defined]
    else:
        place[last] = value  # type: ignore[index]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``machine("v2")``: from now on this is a machine with those control groups."""
    return lambda name: monkeypatch.setattr(cgroups, "detect", lambda *_: MACHINES[name])


@pytest.fixture
def plan_of(machine: Callable[[str], None]) -> Callable[..., Plan]:
    """``plan_of({"hostname": "x"})``: the plan of the default configuration with changes, on a machine with v1 or another."""

    def make(changes: Mapping[str, object] | None = None, on: str = "v1", rootfs: tuple[MountRoot, ...] = ()) -> Plan:
        machine(on)
        config = json.loads(defaults.text(defaults.spec()))
        config["process"]["terminal"] = False
        for path, value in (changes or {}).items():
            change(config, path, copy.deepcopy(value))
        return planner.create_plan(spec.parse(json.dumps(config)), "box", "/bundle", "/state", rootfs)

    return make
