"""``labkit …``: the command line.

    labkit doctor                        what this machine has and lacks for the lab
    labkit up | down | reset             registry and JupyterLab on, off; the machine put back
    labkit pull nginx; labkit images     images, with docker's own grammar
    labkit runtime run --bundle B ID     a container from an OCI bundle, as ``runc`` would

Two command lines share the name. ``runtime`` is what other engines call for every container, so it starts as fast as an
interpreter can: argparse alone. All else is for people, and takes click's help and completion for 40 ms more.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command that ``sys.argv`` names; returns the exit code."""
    if sys.argv[1:2] == ["runtime"]:
        if {"create", "run", "exec"} & set(sys.argv[2:]) and not {"-h", "--help"} & set(sys.argv[2:]):
            # These make processes in containers. First of all, for it begins the whole program anew.
            from labkit.runtime import seal

            seal.seal()
        import gc

        gc.disable()  # we are gone before there is garbage
        from labkit.cli import runtime

        return runtime.main(sys.argv[2:])
    from labkit.cli import commands

    return commands.main(sys.argv[1:])
