"""Whether docker has somebody to talk to: the lab's daemon."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from labkit.errors import LabError
from labkit.lab import daemon
from labkit.lab.doctor import Row, State

_NAME = "daemon"


def rows() -> Iterator[Row]:
    if os.geteuid() != 0:  # its record is for root's eyes
        yield Row(_NAME, State.LIMITED, "not looked for: that takes root", "sudo labkit doctor")
        return
    server = daemon.running()
    if server is None:
        yield Row(_NAME, State.LIMITED, "does not run: docker has nobody to talk to", "labkit up")
        return
    try:
        told = json.loads(daemon.version(server))
        yield Row(_NAME, State.FINE, f"answers on {server.host}, API {told['MinAPIVersion']} to {told['ApiVersion']}")
    except (LabError, ValueError, LookupError) as error:
        yield Row(_NAME, State.LIMITED, str(error), f"see {daemon.RUN}/daemon/log, then `labkit down` and `labkit up`")
