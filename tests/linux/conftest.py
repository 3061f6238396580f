"""What the tests of labkit.linux share: a child to do things in that a process cannot take back."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


@pytest.fixture
def in_child() -> Callable[[Callable[[], T]], T]:
    """Call a function in a forked child: ``in_child(f)`` returns what it returned, or raises what it raised."""

    def call(function: Callable[[], T]) -> T:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                with open(writer, "wb") as pipe:
                    try:
                        pickle.dump((function(), None), pipe)
                    except BaseException as error:
                        pickle.dump((None, error), pipe)
            finally:
                os._exit(0)  # come what may: a child that returned from here would go on with the tests
        os.close(writer)
        with open(reader, "rb") as pipe:
            data = pipe.read()
        _, status = os.waitpid(pid, 0)
        assert data, f"the child ended without an answer, wait status {status}"
        result, failure = pickle.loads(data)
        if failure is not None:
            raise failure
        return result  # type: ignore[no-any-return]

    return call
