"""``labkit runtime …``: labkit as an OCI runtime, with the grammar that runc has.

    labkit runtime spec                       write a config.json to begin with
    labkit runtime run --bundle B box         create, start, wait, delete
    labkit runtime plan --bundle B --shell    the same as a script, for reading or running

``podman --runtime`` and ``dockerd --add-runtime`` call it for every container, so it starts fast: argparse, and imports at the
last moment. Source: ``man 8 runc``; OCI runtime-spec 1.1.
"""

from __future__ import annotations

import os
import sys

from labkit.cli import runtime_grammar
from labkit.errors import KernelError, LabError


def main(arguments: list[str]) -> int:
    """Run one command of the runtime; returns the exit code."""
    options = runtime_grammar.parser(arguments).parse_args(arguments)
    try:
        code: int = options.do(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read our output has left; nothing more to say
        return 1
    except (LabError, OSError) as error:
        from labkit.cli import runtime_log
        from labkit.runtime.conduct import exit_code

        if isinstance(error, OSError) and not error.filename:
            raise  # no mistake of the caller's
        problem = KernelError.of(error, "cannot use", str(error.filename)) if isinstance(error, OSError) else error
        runtime_log.error(options, str(problem))
        return exit_code(problem)
