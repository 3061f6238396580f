"""HTTP as it goes over a connection: what is asked arrives whole, what is answered does, and what is no HTTP gets a sentence."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from labkit.daemon import statuses
from labkit.daemon.failures import Malformed
from labkit.daemon.hangups import Hangups
from labkit.daemon.http import LARGEST_HEAD, Connection
from labkit.daemon.messages import Answer, Hijacked, Request, Response, Streamed
from labkit.daemon.wire import Wire
from labkit.errors import InvalidInput

SECONDS = 10


class Peer:
    """The other end of a connection: what a client sends and gets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        return await self.reader.read()

    def close(self) -> None:
        self.writer.transport.abort()


async def talk(answer: Callable[[Request], Awaitable[Answer]], client: Callable[[Peer], Awaitable[None]]) -> None:
    """Serve one connection with ``answer`` while ``client`` uses it."""
    ours, theirs = socket.socketpair()
    hangups = Hangups(asyncio.get_running_loop())
    connection = Connection(*await asyncio.open_connection(sock=ours), answer, hangups, (("Api-Version", "1.47"),))
    serving = asyncio.create_task(connection.serve())
    peer = Peer(*await asyncio.open_connection(sock=theirs))
    try:
        async with asyncio.timeout(SECONDS):
            await client(peer)
            peer.close()
            await serving
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        hangups.close()


def served(answer: Callable[[Request], Awaitable[Answer]], client: Callable[[Peer], Awaitable[None]]) -> None:
    asyncio.run(talk(answer, client))


def said(answer: Callable[[Request], Awaitable[Answer]], request: bytes) -> bytes:
    """All that one connection answers to these bytes, after which the client sends no more."""
    found = b""

    async def client(peer: Peer) -> None:
        nonlocal found
        await peer.send(request)
        peer.writer.write_eof()
        found = await peer.rest()

    served(answer, client)
    return found


async def echo(request: Request) -> Answer:
    body = (await request.read()).decode()
    return Response.of({"method": request.method, "path": request.path, "query": request.query.pairs, "body": body})


def bodies(data: bytes) -> list[object]:
    """The JSON bodies of several answers in a row."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        length = next(int(line.partition(b":")[2]) for line in head.splitlines() if line.lower().startswith(b"content-length"))
        found.append(json.loads(data[:length]))
        data = data[length:]
    return found


def test_requests_on_one_connection_are_answered_one_after_the_other() -> None:
    data = said(
        echo,
        b"GET /a%20b?x=1&y=%2F HTTP/1.1\r\nHost: docker\r\n\r\n"
        b"POST /b HTTP/1.1\r\nHost: docker\r\nContent-Length: 5\r\n\r\nhello"
        b"POST /c HTTP/1.1\r\nHost: docker\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n",
    )
    assert bodies(data) == [
        {"method": "GET", "path": "/a b", "query": [["x", "1"], ["y", "/"]], "body": ""},
        {"method": "POST", "path": "/b", "query": [], "body": "hello"},
        {"method": "POST", "path": "/c", "query": [], "body": "abcde"},
    ]
    assert data.count(b"Api-Version: 1.47") == 3


def test_a_body_that_nobody_reads_does_not_disturb_the_next_request() -> None:
    async def ignore(request: Request) -> Answer:
        return Response.error(statuses.NOT_FOUND, request.path)

    data = said(
        ignore,
        b"PUT /big HTTP/1.1\r\nHost: d\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000) + b"GET /next HTTP/1.1\r\nHost: d\r\n\r\n",
    )
    assert bodies(data) == [{"message": "/big"}, {"message": "/next"}]


def test_a_client_that_waits_for_100_continue_gets_it_when_its_body_is_wanted() -> None:
    async def client(peer: Peer) -> None:
        await peer.send(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await peer.head()).startswith(b"HTTP/1.1 100 ")
        await peer.send(b"hi")
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")

    served(echo, client)


def test_head_has_the_headers_and_no_body() -> None:
    async def answer(_request: Request) -> Answer:
        return Response(statuses.OK, b"OK", "text/plain")

    data = said(answer, b"HEAD /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [statuses.NO_CONTENT, statuses.NOT_MODIFIED])
def test_answers_without_a_body_have_no_length(status: int) -> None:
    async def answer(_request: Request) -> Answer:
        return Response(status)

    data = said(answer, b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: d\r\n\r\n")
    assert data.count(b"HTTP/1.1 %d " % status) == 2
    assert b"ontent-" not in data
    assert b"chunked" not in data


def test_the_head_of_a_stream_is_out_before_its_first_chunk() -> None:
    go_on = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        await go_on.wait()
        yield b"at last"

    async def answer(_request: Request) -> Answer:
        return Streamed(chunks(), "application/json")

    async def client(peer: Peer) -> None:
        await peer.send(b"POST /wait HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
        assert b"200 OK" in await peer.head()
        go_on.set()
        assert await peer.reader.readuntil(b"0\r\n\r\n") == b"7\r\nat last\r\n0\r\n\r\n"

    served(answer, client)


def test_a_stream_ends_when_its_client_goes_away() -> None:
    ended = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def answer(_request: Request) -> Answer:
        return Streamed(chunks())

    async def client(peer: Peer) -> None:
        await peer.send(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
        await peer.reader.readuntil(b"first\r\n")
        peer.close()
        await ended.wait()

    served(answer, client)


def test_a_client_that_has_only_ended_its_own_side_hears_the_stream_to_its_end() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(3):
            await asyncio.sleep(0)
            yield b"%d" % number

    async def answer(_request: Request) -> Answer:
        return Streamed(chunks())

    assert said(answer, b"GET / HTTP/1.1\r\nHost: d\r\n\r\n").endswith(b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n")


def test_a_stream_that_fails_halfway_has_no_end() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise InvalidInput("the other half is missing")

    async def answer(_request: Request) -> Answer:
        return Streamed(chunks())

    data = said(answer, b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    assert data.endswith(b"4\r\nhalf\r\n")


def test_a_hijacked_connection_is_raw_both_ways_and_each_way_ends_by_itself() -> None:
    async def shout(wire: Wire) -> None:
        heard = b""
        while data := await wire.read():
            heard += data
        await wire.write(heard.upper())

    async def answer(_request: Request) -> Answer:
        return Hijacked(shout, "application/vnd.docker.raw-stream")

    async def client(peer: Peer) -> None:
        head = b"POST /attach HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        await peer.send(head + b"early ")
        assert (await peer.head()).splitlines() == [
            b"HTTP/1.1 101 UPGRADED",
            b"Content-Type: application/vnd.docker.raw-stream",
            b"Connection: Upgrade",
            b"Upgrade: tcp",
            b"",
        ]
        await peer.send(b"late")
        peer.writer.write_eof()
        assert await peer.rest() == b"EARLY LATE"

    served(answer, client)


def test_an_old_client_is_hijacked_with_200() -> None:
    async def greet(wire: Wire) -> None:
        await wire.write(b"hello")

    async def answer(_request: Request) -> Answer:
        return Hijacked(greet, "raw")

    data = said(answer, b"POST /attach HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
    assert data.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: raw\r\n\r\nhello")


def test_what_a_hijacked_client_still_sends_does_not_break_what_it_hears() -> None:
    async def greet(wire: Wire) -> None:
        await wire.write(b"hello")

    async def answer(_request: Request) -> Answer:
        return Hijacked(greet, "raw")

    async def client(peer: Peer) -> None:
        await peer.send(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n" + bytes(100_000))
        assert (await peer.rest()).endswith(b"hello")

    served(answer, client)


def test_a_hijacker_is_cancelled_when_the_client_goes_away() -> None:
    ended = asyncio.Event()

    async def wait(_wire: Wire) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def answer(_request: Request) -> Answer:
        return Hijacked(wait, "raw")

    async def client(peer: Peer) -> None:
        await peer.send(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
        await peer.head()
        peer.writer.write_eof()  # this alone is no reason
        await asyncio.sleep(0.05)
        assert not ended.is_set()
        peer.close()
        await ended.wait()

    served(answer, client)


@pytest.mark.parametrize(
    "request_",
    [
        b"what is this\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon here\r\nHost: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: d\r\nContent-Length: minus one\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"GET /" + b"a" * 16 * LARGEST_HEAD + b" HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: d\r\nX: " + b"a" * 16 * LARGEST_HEAD + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * LARGEST_HEAD + b"\r\n",
        b"GET /?" + b"&".join(b"a=1" for _ in range(5000)) + b" HTTP/1.1\r\nHost: d\r\n\r\n",
    ],
    ids=["words", "tls", "header", "length", "lengths", "path", "long header", "many headers", "many parameters"],
)
def test_what_is_no_http_is_answered_with_a_sentence(request_: bytes) -> None:
    data = said(echo, request_)
    assert data.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 ")), data[:100]
    assert json.loads(data.partition(b"\r\n\r\n")[2])["message"].startswith("malformed HTTP request: ")
    assert b"Traceback" not in data


@pytest.mark.parametrize("body", [b"zz\r\nhello\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n", b"-1\r\n\r\n", b"f" * 40 + b"\r\n"])
def test_bad_chunks_are_answered_with_a_sentence(body: bytes) -> None:
    async def answer(request: Request) -> Answer:
        try:
            return await echo(request)
        except Malformed as error:
            return Response.error(statuses.BAD_REQUEST, str(error))

    data = said(answer, b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert data.startswith(b"HTTP/1.1 400 ")
    assert b"malformed HTTP request" in data


def test_a_client_that_goes_away_in_the_middle_of_its_body_is_no_error() -> None:
    async def client(peer: Peer) -> None:
        await peer.send(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 1000\r\n\r\nonly this")

    served(echo, client)


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        (b"Content-Type: text/plain\r\n", b"{}", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        (b"", b"{}", "unsupported Content-Type header (): must be 'application/json'"),
        (b"Content-Type: application/json\r\n", b"bad", "invalid JSON: "),
        (b"Content-Type: application/json\r\n", b"\xff\xfe", "invalid JSON: "),
        (b"Content-Type: application/json\r\n", b"[" * 100_000, "invalid JSON: "),
        (b"Content-Type: application/json\r\n", b"1" * 10_000, "invalid JSON: "),
        (b"Content-Type: application/json\r\n", b" " * (9 << 20), "the body of POST / is larger than 8388608 bytes"),
    ],
)
def test_a_body_that_is_not_json_is_refused_in_words(headers: bytes, body: bytes, message: str) -> None:
    async def answer(request: Request) -> Answer:
        try:
            return Response.of(await request.json())
        except InvalidInput as error:
            return Response.error(statuses.BAD_REQUEST, str(error))

    data = said(answer, b"POST / HTTP/1.1\r\nHost: d\r\n%sContent-Length: %d\r\n\r\n%s" % (headers, len(body), body))
    assert json.loads(data.partition(b"\r\n\r\n")[2])["message"].startswith(message)


def test_json_with_a_charset_is_json() -> None:
    async def answer(request: Request) -> Answer:
        return Response.of(await request.json())

    data = said(answer, b'POST / HTTP/1.1\r\nHost: d\r\nContent-Type: Application/JSON; charset=utf-8\r\nContent-Length: 7\r\n\r\n{"a":1}')
    assert data.endswith(b'\r\n\r\n{"a": 1}\n')
