"""HTTP as it goes over a wire is cut into messages, in whatever pieces it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import InvalidInput
from labkit.lessons.messages import CHUNKS, NOTHING, THE_REST, Head, Parser


class Reading:
    """Feeds a parser, and keeps what it tells: first lines, and the bodies behind them."""

    def __init__(self, otherwise=NOTHING):
        self.otherwise = otherwise
        self.heads, self.bodies = [], []
        self.parser = Parser(self.begin, self.body)

    def begin(self, head):
        self.heads.append(head)
        self.bodies.append(b"")
        return head.framing(self.otherwise)

    def body(self, data):
        self.bodies[-1] += data

    def feed(self, *pieces):
        for piece in pieces:
            self.parser.feed(piece)
        return [head.first for head in self.heads], self.bodies


CONVERSATION = (
    b"HEAD /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"
    b'POST /containers/create HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"Image":"b"}'
    b"POST /build HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n4\r\nabcd\r\n3;note=x\r\nefg\r\n0\r\nTrailer: t\r\n\r\n"
    b"GET /version HTTP/1.1\r\n\r\n"
)
FIRSTS = ["HEAD /_ping HTTP/1.1", "POST /containers/create HTTP/1.1", "POST /build HTTP/1.1", "GET /version HTTP/1.1"]
BODIES = [b"", b'{"Image":"b"}', b"abcdefg", b""]


def test_messages_follow_each_other_on_one_connection():
    assert Reading().feed(CONVERSATION) == (FIRSTS, BODIES)


@given(st.lists(st.integers(1, 60), max_size=40))
def test_it_does_not_matter_how_the_bytes_are_cut(lengths):
    pieces, at = [], 0
    for length in lengths:
        pieces.append(CONVERSATION[at : at + length])
        at += length
    assert Reading().feed(*pieces, CONVERSATION[at:]) == (FIRSTS, BODIES)


def test_names_of_fields_are_in_lower_case_and_their_values_as_they_came():
    reading = Reading()
    reading.feed(b"GET / HTTP/1.1\r\nX-Registry-Auth:  e30=  \r\n\r\n")
    assert reading.heads[0].fields == {"x-registry-auth": "e30="}


def test_a_body_without_a_length_goes_on_for_ever_if_that_is_how_it_is_read():
    firsts, bodies = Reading(THE_REST).feed(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n", b"\x01\0\0\0", b"GET / HTTP/1.1\r\n\r\n")
    assert firsts == ["HTTP/1.1 101 UPGRADED"] and bodies == [b"\x01\0\0\0GET / HTTP/1.1\r\n\r\n"]


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        ({}, 7),
        ({"content-length": "5"}, 5),
        ({"content-length": "x"}, 7),
        ({"transfer-encoding": "chunked", "content-length": "5"}, CHUNKS),
    ],
)
def test_how_long_a_body_is(fields, framing):
    assert Head("GET / HTTP/1.1", fields).framing(7) == framing


def test_who_wants_another_protocol_says_so_in_the_connection_field():
    assert Head("POST / HTTP/1.1", {"connection": "Upgrade"}).wants_upgrade
    assert not Head("POST / HTTP/1.1", {"upgrade": "tcp"}).wants_upgrade


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x16\x03\x01\r\n\r\n", "begins with what it is"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "begins with its size"),
        (b"x" * (256 * 1024 + 1), "no end of a head"),
    ],
)
def test_what_is_no_http_is_refused(data, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        Reading().feed(data)
