"""``labkit runtime …``: an OCI runtime over a bundle."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """Run one command of the runtime; returns the exit code."""
    raise NotImplementedError
