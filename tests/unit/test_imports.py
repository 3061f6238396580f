"""What is loaded when labkit is."""

from __future__ import annotations

import subprocess
import sys


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has after ``statement`` and had not before."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names) - {"labkit"}


def test_labkit_and_what_starts_a_container_need_the_standard_library_alone() -> None:
    subjects = "labkit.linux.namespaces, labkit.linux.mounts, labkit.linux.cgroups, labkit.linux.seccomp"
    assert loaded_by(f"import labkit, labkit.errors, {subjects}, labkit.runtime, labkit.storage.snapshots") == set()


def test_the_runtime_command_line_does_not_load_click() -> None:
    assert "click" not in loaded_by("import labkit.cli, labkit.cli.runtime")
