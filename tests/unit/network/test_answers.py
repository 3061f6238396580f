from __future__ import annotations

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.network import answers


def query(name: str, kind: str = "A") -> bytes:
    return bytes(dnslib.DNSRecord.question(name, kind).pack())


def book(name: str) -> tuple[str, ...] | None:
    return {"db.": ("172.18.0.3", "fd00::3"), "old.": ("172.18.0.4",)}.get(name.lower())


def said(answer: bytes | None) -> list[str]:
    assert answer is not None
    return [str(record.rdata) for record in dnslib.DNSRecord.parse(answer).rr]


def test_a_known_name_is_answered_with_its_addresses() -> None:
    assert said(answers.known(query("db"), book)) == ["172.18.0.3"]
    assert said(answers.known(query("DB", "AAAA"), book)) == ["fd00::3"]


def test_a_known_name_without_such_an_address_exists_all_the_same() -> None:
    answer = answers.known(query("old", "AAAA"), book)
    assert said(answer) == []
    assert answer is not None
    assert dnslib.DNSRecord.parse(answer).header.rcode == dnslib.RCODE.NOERROR


def test_other_names_and_other_kinds_are_for_others() -> None:
    assert answers.known(query("example.org"), book) is None
    assert answers.known(query("db", "MX"), book) is None


def test_a_failure_is_an_answer_to_the_question() -> None:
    asked = query("example.org")
    failure = dnslib.DNSRecord.parse(answers.failed(asked))
    assert failure.header.rcode == dnslib.RCODE.SERVFAIL
    assert failure.header.id == dnslib.DNSRecord.parse(asked).header.id
    assert str(failure.q.qname) == "example.org."


def test_only_an_answer_to_the_same_question_fits() -> None:
    assert answers.fits(query("example.org"), bytes(dnslib.DNSRecord.parse(query("EXAMPLE.org")).reply().pack()))
    assert not answers.fits(query("example.org"), query("example.com"))
    assert not answers.fits(query("example.org"), b"")


def test_an_answer_that_is_too_long_for_udp_says_so() -> None:
    many = answers.known(query("db"), lambda _: tuple(f"10.0.{n // 250}.{n % 250}" for n in range(100)))
    assert many is not None
    cut = dnslib.DNSRecord.parse(answers.fitting(query("db"), many))
    assert cut.header.tc == 1
    assert len(cut.rr) == 0
    with_room = dnslib.DNSRecord.question("db")
    with_room.add_ar(dnslib.EDNS0(udp_len=4096))
    assert answers.fitting(bytes(with_room.pack()), many) == many


@pytest.mark.parametrize("packet", [b"", b"\0", b"\0" * 11])
def test_what_is_too_short_to_be_a_question_is_no_answer_either(packet: bytes) -> None:
    assert answers.known(packet, book) is None
    assert not answers.fits(query("db"), packet)


@given(st.binary(min_size=12, max_size=64))
def test_whatever_comes_nothing_is_raised(packet: bytes) -> None:
    found = answers.known(packet, book)
    assert found is None or found[:2] == packet[:2]
    assert answers.failed(packet)[:2] == packet[:2]
