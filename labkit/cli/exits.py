"""The exit codes of ``labkit``, all in this file.

    0    done                                1    could not be done; one line on stderr says why
    2    asked for something that cannot be  130  interrupted (128 + SIGINT)
    125  an option that is not there, of a command that docker has, too: docker's own code

docker's commands say 1 where the lab's own say 2; a build ends with the code of the RUN that failed.
"""

from __future__ import annotations

import sys

from labkit.errors import InvalidInput, LabError

DONE = 0
FAILED = 1
USAGE = 2
OPTION = 125
INTERRUPTED = 130


def of(error: LabError) -> int:
    """The exit code that stands for an error."""
    return USAGE if isinstance(error, InvalidInput) else FAILED


def report(error: LabError, *, by_daemon: bool = False) -> int:
    """Say on stderr what went wrong; returns the exit code that stands for it. Of a daemon docker does not say who says so."""
    said = str(error)
    print(said if by_daemon or said.startswith("Error response from daemon: ") else f"labkit: {said}", file=sys.stderr)
    return of(error)
