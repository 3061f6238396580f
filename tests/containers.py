"""Containers of an engine, for tests: the shortest ways to make one, to run it to its end, and to read what it wrote.

``tests/linux/engine/conftest.py`` has the fixtures; these are the functions behind them, for tests that need several engines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from labkit.engine.config import Config, HostConfig
from labkit.engine.container import Container
from labkit.engine.engine import Engine
from tests.patience import PATIENCE

SECONDS = 20 * PATIENCE
SLEEP = ("sleep", "1000")
UNTIL_TERM = ("sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done")

Make = Callable[..., Container]


def create_in(engine: Engine, *command: str, name: str = "", **fields: object) -> Container:
    config = Config(Image="busybox", Cmd=command or None)
    host = HostConfig(NetworkMode="none")
    config = replace(config, **{key: value for key, value in fields.items() if key in vars(config)})
    host = replace(host, **{key: value for key, value in fields.items() if key in vars(host)})
    assert not set(fields) - set(vars(config)) - set(vars(host))
    return engine.containers.get(engine.containers.create(name, config, host).Id)


def ran(container: Container) -> int:
    """Start it and wait for its end: the exit code."""
    ended = container.wait("next-exit")
    container.start()
    return ended.result(SECONDS).StatusCode


def said(container: Container) -> str:
    """What it has written to its log, both streams in order."""
    with open(container.log_path) as log:
        return "".join(json.loads(line)["log"] for line in log)
