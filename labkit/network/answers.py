"""What is said in the language of DNS: questions read and answers written, by dnslib.

    >>> answers.known(query, lambda name: ("172.18.0.3",) if name == "db" else None)
    b'…'

None for a question that is about nobody we know. A name that is known, but not by such an address (AAAA of a container without IPv6),
gets an answer without addresses and not "no such name", or programs would stop looking. The library is imported at the first question.

Source: RFC 1035; RFC 2308, NODATA.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

_SECONDS = 600  # as in Docker
_LEAST = 512  # bytes that an answer by udp may have, if who asks says nothing else


def known(query: bytes, look_up: Callable[[str], tuple[str, ...] | None]) -> bytes | None:
    """The answer, if the name is somebody's."""
    import dnslib

    try:
        request = dnslib.DNSRecord.parse(query)
        question = request.q
        name = str(question.qname)
    except Exception:  # whatever a parser raises on bytes that are no question
        return failed(query) if len(query) >= 12 else None
    if question.qtype not in (dnslib.QTYPE.A, dnslib.QTYPE.AAAA):
        return None
    addresses = look_up(name)
    if addresses is None:
        return None
    reply = request.reply(aa=0)
    for address in addresses:
        is_old = ip_address(address).version == 4
        if question.qtype == (dnslib.QTYPE.A if is_old else dnslib.QTYPE.AAAA):
            data = dnslib.A(address) if is_old else dnslib.AAAA(address)
            reply.add_answer(dnslib.RR(question.qname, question.qtype, rdata=data, ttl=_SECONDS))
    return bytes(reply.pack())


def failed(query: bytes) -> bytes:
    """ "I cannot tell" (SERVFAIL)."""
    return query[:2] + bytes((query[2] & 0x79 | 0x80, 0x82, 0, 1)) + bytes(6) + _questions(query)


def fits(query: bytes, answer: bytes) -> bool:
    """Whether an answer is one to this question: the same name and type, whatever the case of its letters."""
    return len(answer) >= 12 and _questions(answer).lower() == _questions(query).lower()


def fitting(query: bytes, answer: bytes) -> bytes:
    """An answer that is as long as udp allows, or else its head with the word to ask again by tcp (TC)."""
    import dnslib

    if len(answer) <= _LEAST:
        return answer
    try:
        asked = dnslib.DNSRecord.parse(query)
        most = max([_LEAST, *(record.edns_len for record in asked.ar if record.rtype == dnslib.QTYPE.OPT)])
    except Exception:
        most = _LEAST
    if len(answer) <= most:
        return answer
    return answer[:2] + bytes((answer[2] | 2,)) + answer[3:6] + bytes(6) + _questions(answer)


def _questions(message: bytes) -> bytes:
    """The part of a message that says what is asked for: a name, its labels each with their length before them, and two numbers."""
    end = 12
    while end < len(message) and message[end]:
        end += message[end] + 1
    return message[12 : end + 5]
