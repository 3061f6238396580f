"""``labkit daemon``: becomes the daemon, which has a command line of its own.

    labkit daemon --host unix:///run/labkit/labkit.sock --root /var/lib/labkit --config /etc/labkit/daemon.json

A daemon stays for long, so this program makes way for one that never imported what only people need.
"""

from __future__ import annotations

import os
import sys

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def daemon(words: tuple[str, ...]) -> None:
    """Serve Docker's Engine API on a unix socket, in the foreground; `labkit up` does so in the background."""
    os.execv(sys.executable, [sys.executable, "-m", "labkit.daemon", *words])
