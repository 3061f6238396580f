"""The commands for people: ``labkit doctor``, ``up``, ``down``, ``reset``."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def lab() -> None:
    """The lab in which Linux containers are learnt by building them."""


def main(arguments: list[str]) -> int:
    """Run the command that ``arguments`` names; returns the exit code."""
    result: object = lab.main(arguments, prog_name="labkit", standalone_mode=False)
    return result if isinstance(result, int) else 0
