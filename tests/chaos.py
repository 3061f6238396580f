"""Whether the tests of daemons that are killed and clients that misbehave go on for as long as one has patience.

    .venv/bin/pytest tests/linux/daemon --long        200 kills, two minutes of 32 clients, 10 million lines
    .venv/bin/pytest tests/linux/daemon               some of each, in seconds
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="kill, crowd and flood the daemon for minutes, not seconds")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether there is time for all of it."""
    return bool(request.config.getoption("--long"))
