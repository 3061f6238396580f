"""The registry of the tests itself."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable

from tests.registries import Registry, Request


def test_it_answers_and_tells_what_it_was_asked(registry: Registry) -> None:
    with urllib.request.urlopen(f"{registry.url}/v2/", timeout=10) as answer:
        assert answer.read() == b"{}"
    registry.stop()
    assert registry.requests() == [Request("GET", "/v2/", 200, 2)]


def test_several_run_at_once(registries: Callable[..., Registry]) -> None:
    assert len({registries().address for _ in range(2)}) == 2
