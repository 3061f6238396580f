"""Bytes between the event loop and threads: whole, in order, not too many at once; and who goes away is told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from labkit.daemon import bodies
from labkit.daemon.bodies import Inlet, Outlet
from labkit.daemon.failures import ClientGone
from labkit.errors import InvalidInput

SECONDS = 10


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def test_a_thread_reads_the_body_as_a_file() -> None:
    async def go() -> tuple[bytes, bytes, bytes]:
        inlet = Inlet(asyncio.get_running_loop())
        feeding = asyncio.create_task(inlet.feed(pieces(b"abc", b"defg", b"h")))
        found = await asyncio.to_thread(lambda: (inlet.read(2), inlet.read(3), inlet.readall()))
        await feeding
        return found

    first, second, rest = asyncio.run(go())
    assert first + second + rest == b"abcdefgh"
    assert len(first) <= 2
    assert len(second) <= 3


def test_a_large_body_waits_for_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_FULL", 1000)
    given = 0

    async def many() -> AsyncIterator[bytes]:
        nonlocal given
        for number in range(200):
            given += 100
            yield bytes([number]) * 100

    async def go() -> bytes:
        inlet = Inlet(asyncio.get_running_loop())
        feeding = asyncio.create_task(inlet.feed(many()))
        await asyncio.sleep(0.05)
        assert given <= 1200
        found = await asyncio.to_thread(inlet.readall)
        await feeding
        return found

    assert asyncio.run(go()) == b"".join(bytes([number]) * 100 for number in range(200))


def test_a_body_that_breaks_off_is_an_error_for_the_reader() -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise ClientGone("the client went away before it had sent everything")

    async def go() -> None:
        inlet = Inlet(asyncio.get_running_loop())
        await inlet.feed(half())
        with pytest.raises(ClientGone):
            await asyncio.to_thread(inlet.readall)

    asyncio.run(go())


def test_a_reader_that_has_enough_lets_the_rest_pass() -> None:
    async def go() -> None:
        inlet = Inlet(asyncio.get_running_loop())
        feeding = asyncio.create_task(inlet.feed(pieces(*[bytes(1 << 20)] * 20)))
        await asyncio.to_thread(inlet.read, 10)
        inlet.close()
        await feeding

    asyncio.run(asyncio.wait_for(go(), SECONDS))


def test_what_a_thread_writes_arrives_in_order_and_then_it_is_over() -> None:
    async def go() -> bytes:
        outlet = Outlet(asyncio.get_running_loop())

        def write() -> None:
            for number in range(1000):
                outlet.write(b"%d " % number)
            outlet.end()

        writing = asyncio.create_task(asyncio.to_thread(write))
        found = b"".join([chunk async for chunk in outlet.chunks()])
        await writing
        return found

    assert asyncio.run(go()) == b"".join(b"%d " % number for number in range(1000))


def test_writing_nothing_is_not_the_end() -> None:
    async def go() -> list[bytes]:
        outlet = Outlet(asyncio.get_running_loop())
        taking = asyncio.create_task(outlet.take())
        outlet.write(b"")
        await asyncio.sleep(0)
        outlet.write(b"something")
        outlet.end()
        return [await taking, await outlet.take()]

    assert asyncio.run(go()) == [b"something", b""]


def test_a_failure_comes_after_what_was_written() -> None:
    async def go() -> None:
        outlet = Outlet(asyncio.get_running_loop())
        outlet.write(b"before")
        outlet.end(InvalidInput("no more"))
        assert await outlet.take() == b"before"
        with pytest.raises(InvalidInput, match="no more"):
            await outlet.take()

    asyncio.run(go())


def test_a_thread_that_writes_waits_for_a_slow_client_and_hears_of_one_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_FULL", 1000)
    written = 0

    async def go() -> None:
        outlet = Outlet(asyncio.get_running_loop())

        def write() -> None:
            nonlocal written
            while True:
                written += outlet.write(bytes(100))

        writing = asyncio.create_task(asyncio.to_thread(write))
        chunks = outlet.chunks()
        await anext(chunks)
        await asyncio.sleep(0.05)
        assert written < 10_000
        await chunks.aclose()
        with pytest.raises(ClientGone):
            await writing

    asyncio.run(asyncio.wait_for(go(), SECONDS))
