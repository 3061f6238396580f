"""The doctor on this machine."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from labkit.lab import doctor
from labkit.lab.doctor import State
from labkit.linux import namespaces


@pytest.fixture(scope="module")
def rows() -> dict[str, doctor.Row]:
    return {row.name: row for row in doctor.rows()}


def test_this_machine_lacks_nothing_that_the_lab_cannot_do_without(rows: dict[str, doctor.Row]) -> None:
    assert doctor.lacking(rows.values()) == ()


def test_each_kind_of_namespace_was_made(rows: dict[str, doctor.Row]) -> None:
    for kind in namespaces.KINDS.values():
        assert rows[f"{kind.name} namespace"] == doctor.Row(f"{kind.name} namespace", State.FINE, kind.holds)


def test_every_row_that_is_not_fine_has_a_remedy(rows: dict[str, doctor.Row]) -> None:
    assert [row.name for row in rows.values() if (row.state is State.FINE) == bool(row.remedy)] == []


def test_a_missing_program_is_named_with_the_package_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("ip", "lsns", "nsenter", "ps", "setpriv", "mount", "unshare", "busybox"):
        os.symlink(shutil.which(tool) or "", tmp_path / tool)
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = {row.name: row for row in doctor.rows()}
    assert rows["tools"] == doctor.Row("tools", State.LACKING, "missing: nft", "apt-get install nftables")
    assert rows["nftables"].state is State.LACKING
    assert rows["veth"].state is State.FINE


def test_a_kernel_that_refuses_is_believed() -> None:
    """In a user namespace that may hold no UTS namespace, the doctor finds that there is none to be had."""
    with namespaces.new("user") as box:
        answer = box.run(f"echo 0 > /proc/sys/user/max_uts_namespaces; {sys.executable} -m labkit doctor --json || test $? = 1")
    rows = {row["name"]: row for row in json.loads(answer)}
    assert rows["uts namespace"]["state"] == "lacking"
    assert "ENOSPC" in rows["uts namespace"]["found"]
    assert rows["ipc namespace"]["state"] == "fine"
