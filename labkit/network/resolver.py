"""Answers containers' questions for names: the nameserver 127.0.0.11 in each network namespace of a user's network.

    container: getaddrinfo("db")                        this process, one thread for all containers
      │ 127.0.0.11:53, udp or tcp                         │
      └─ a socket in the container's namespace ─────────▶ "db": is it a container's?  ── yes ─▶ 172.18.0.3
                                                          no: ask the nameservers of the machine, hand on what they say

A socket belongs to the network namespace in which it was made, whoever holds it: so this process, which is in the machine's, hears in
all of them at once. Only what is bound to 127.0.0.11 in there is taken, as in Docker; when this process dies, names are not answered
until the next one has made new sockets.

    >>> resolver = Resolver(lambda asker, name: ("172.18.0.3",) if name == "db" else None)
    >>> resolver.attend("web", pid)

Source: RFC 1035, ``man 5 resolv.conf``, ``man 7 network_namespaces``; moby's ``libnetwork/resolver.go``. Shown in notebook 07.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from labkit.errors import KernelError
from labkit.linux import namespaces
from labkit.network import answers

ADDRESS = "127.0.0.11"
LookUp = Callable[[str, str], tuple[str, ...] | None]
"""The addresses that an asker may know by a name; None if it is nobody's."""

_PATIENCE = 4.0  # seconds for another nameserver; programs ask again after five
_MOST_WAITING = 1024
_log = logging.getLogger(__name__)


@dataclass
class _Door:
    """Where one container asks: its sockets, and whom to ask in turn."""

    asker: str
    udp: socket.socket
    tcp: socket.socket
    others: tuple[str, ...]
    is_internal: bool


@dataclass
class _Question:
    """A question that was handed on, until the answer comes."""

    reply: Callable[[bytes], None]
    query: bytes
    others: list[str]
    asked: str = ""
    until: float = 0


class Resolver:
    """One thread that answers for all containers, until it is closed."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._doors: dict[str, _Door] = {}
        self._waiting: dict[int, _Question] = {}
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        self._outside = {family: _outside(family) for family in (socket.AF_INET, socket.AF_INET6)}
        for each in self._outside.values():
            if each:
                self._selector.register(each, selectors.EVENT_READ, lambda each=each: self._answered(each))
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="labkit-names", daemon=True)
        self._thread.start()

    def attend(self, asker: str, pid: int, others: Sequence[str] = (), is_internal: bool = False) -> None:
        """Hear in the network namespace of a process. ``others``: nameservers for other names, in place of the machine's own."""
        with self._lock:
            if asker in self._doors:
                return
            with namespaces.entered(pid, "net"):
                udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                for each in (udp, tcp):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    each.setblocking(False)
                    each.bind((ADDRESS, 53))
                tcp.listen(16)
            except OSError as error:
                udp.close()
                tcp.close()
                raise KernelError.of(error, "listen at", f"{ADDRESS}:53 in the network namespace of process {pid}") from None
            door = self._doors[asker] = _Door(asker, udp, tcp, tuple(others), is_internal)
            self._selector.register(udp, selectors.EVENT_READ, lambda: self._asked(door))
            self._selector.register(tcp, selectors.EVENT_READ, lambda: self._called(door))
        os.eventfd_write(self._wake, 1)

    def forget(self, asker: str) -> None:
        """Hear there no more: while a socket is open, its namespace does not end."""
        with self._lock:
            door = self._doors.pop(asker, None)
            if door:
                for each in (door.udp, door.tcp):
                    self._selector.unregister(each)
                    each.close()

    def close(self) -> None:
        """Answer nobody any more."""
        self._is_closed = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        for asker in [*self._doors]:
            self.forget(asker)
        self._selector.close()
        for each in self._outside.values():
            if each:
                each.close()
        os.close(self._wake)

    def _run(self) -> None:
        while not self._is_closed:
            ready = self._selector.select(1.0 if self._waiting else None)
            for key, _ in ready:
                try:
                    key.data()
                except (OSError, ValueError):
                    continue  # it was closed meanwhile
                except Exception:
                    _log.exception("a question for a name")
            self._give_up()

    def _woken(self) -> None:
        os.eventfd_read(self._wake)

    def _asked(self, door: _Door) -> None:
        """A question came by udp."""
        query, sender = door.udp.recvfrom(4096)

        def reply(answer: bytes) -> None:
            door.udp.sendto(answers.fitting(query, answer), sender)

        self._answer(door, query, reply)

    def _called(self, door: _Door) -> None:
        """Somebody has connected by tcp: a thread for the moment, for the question may come in pieces."""
        connection, _ = door.tcp.accept()
        threading.Thread(target=self._converse, args=(door, connection), name="labkit-names-tcp", daemon=True).start()

    def _converse(self, door: _Door, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(_PATIENCE)
            try:
                while query := _received(connection):
                    done = threading.Event()

                    def reply(answer: bytes, done: threading.Event = done) -> None:
                        connection.sendall(len(answer).to_bytes(2, "big") + answer)
                        done.set()

                    self._answer(door, query, reply, by_tcp=True)
                    if not done.wait(_PATIENCE):
                        return
            except OSError:
                return

    def _answer(self, door: _Door, query: bytes, reply: Callable[[bytes], None], by_tcp: bool = False) -> None:
        if len(query) < 12:
            return  # shorter than the head of a message
        known = answers.known(query, lambda name: self._look_up(door.asker, name))
        if known is not None:
            reply(known)
            return
        others = [] if door.is_internal else [*(door.others or upstream())]
        if not others:
            reply(answers.failed(query))
        elif by_tcp:
            reply(_by_tcp(query, others) or answers.failed(query))
        else:
            self._hand_on(_Question(reply, query, others))

    def _hand_on(self, question: _Question) -> None:
        """Ask the next of the others; under a number of our own, for two containers may have chosen the same."""
        with self._lock:
            while question.others:
                other = question.others.pop(0)
                number = int.from_bytes(os.urandom(2), "big")  # one that nobody guesses
                outside = self._outside[socket.AF_INET6 if ":" in other else socket.AF_INET]
                if number in self._waiting or len(self._waiting) >= _MOST_WAITING or outside is None:
                    continue
                try:
                    outside.sendto(number.to_bytes(2, "big") + question.query[2:], (other, 53))
                except OSError:
                    continue
                question.asked = other
                question.until = time.monotonic() + _PATIENCE
                self._waiting[number] = question
                return
        question.reply(answers.failed(question.query))

    def _answered(self, outside: socket.socket) -> None:
        """Another nameserver has answered."""
        try:
            answer, (sender, *_) = outside.recvfrom(4096)
        except ConnectionRefusedError:  # one that is not there, and the kernel says so; which one, it does not say
            return
        with self._lock:
            question = self._waiting.get(int.from_bytes(answer[:2], "big"))
            if question is None or sender != question.asked or not answers.fits(question.query, answer):
                return
            del self._waiting[int.from_bytes(answer[:2], "big")]
        question.reply(question.query[:2] + answer[2:])

    def _give_up(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [number for number, question in self._waiting.items() if question.until < now]
            questions = [self._waiting.pop(number) for number in late]
        for question in questions:
            try:
                self._hand_on(question)
            except OSError:
                continue  # who asked has gone


def upstream(path: str = "/etc/resolv.conf") -> tuple[str, ...]:
    """The machine's own nameservers."""
    try:
        with open(path, errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return ()
    return tuple(line[1] for line in words if len(line) > 1 and line[0] == "nameserver" and _is_address(line[1]))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _outside(family: socket.AddressFamily) -> socket.socket | None:
    """A socket to ask others with."""
    try:
        made = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:
        return None  # a kernel without IPv6
    made.setblocking(False)
    return made


def _received(connection: socket.socket) -> bytes:
    """A message of DNS over TCP: two bytes of length, and as many bytes; b"" at the end."""
    with connection.makefile("rb", buffering=0) as file:
        length = file.read(2)
        if not length or len(length) < 2:
            return b""
        wanted, found = int.from_bytes(length, "big"), b""
        while len(found) < wanted and (more := file.read(wanted - len(found))):
            found += more
        return found


def _by_tcp(query: bytes, others: Sequence[str]) -> bytes:
    """The answer of the first of the others that has one."""
    for other in others:
        try:
            with socket.create_connection((other, 53), timeout=_PATIENCE) as connection:
                connection.sendall(len(query).to_bytes(2, "big") + query)
                if answer := _received(connection):
                    return answer
        except OSError:
            continue
    return b""
