"""What ``labkit runtime`` has to say besides its answer: to the person, and to the file where the engine that called us looks for it."""

from __future__ import annotations

import argparse
import sys

from labkit.errors import KernelError


def error(options: argparse.Namespace, message: str) -> None:
    """Say what went wrong, on stderr and in the log."""
    print(f"labkit: {message}", file=sys.stderr)
    if options.log:
        _append(options, "error", message)


def warning(options: argparse.Namespace, message: str) -> None:
    """Say what the caller may want to know: in the log, if there is one, for an engine makes our stderr the container's."""
    if options.log:
        _append(options, "warning", message)
    else:
        print(f"labkit: warning: {message}", file=sys.stderr)


def _append(options: argparse.Namespace, level: str, message: str) -> None:
    import json
    import time

    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    entry = {"level": level, "msg": message, "time": moment}
    line = json.dumps(entry) if options.log_format == "json" else f'time="{moment}" level={level} msg={json.dumps(message)}'
    try:
        with open(options.log, "a") as file:
            file.write(line + "\n")
    except OSError as problem:
        print(f"labkit: {KernelError.of(problem, 'cannot use', options.log)}", file=sys.stderr)
