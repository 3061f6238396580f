"""A list that has changed while the kernel told it is asked for again."""

import socket

import pytest

from labkit.linux import netlink

DONE, INTERRUPTED = 3, 0x10


class Kernel:
    """Answers each request with the next of its lists, in one packet."""

    def __init__(self, *lists):
        self.lists, self.asked = list(lists), 0

    def __call__(self, *_):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def setsockopt(self, *_):
        pass

    def send(self, message):
        self.asked += 1

    def recv(self, size):
        return b"".join(self.lists.pop(0))


def message(body=b"", kind=16, flags=2):
    return netlink._HEADER.pack(16 + len(body), kind, flags, 1, 0) + body


END = message(kind=DONE)


@pytest.fixture
def kernel(monkeypatch):
    def answers(*lists):
        made = Kernel(*lists)
        monkeypatch.setattr(socket, "socket", made)
        return made

    return answers


def listed():
    return netlink.ask(netlink.RTM_GETLINK, netlink.DUMP, b"", "list links")


def test_a_list_is_asked_for_once(kernel):
    told = kernel([message(b"one."), message(b"two."), END])
    assert (listed(), told.asked) == ([b"one.", b"two."], 1)


def test_one_that_has_changed_meanwhile_is_asked_for_again(kernel):
    told = kernel([message(b"one.", flags=2 | INTERRUPTED), END], [message(b"one."), message(b"two."), END])
    assert (listed(), told.asked) == ([b"one.", b"two."], 2)


def test_one_that_changes_all_the_time_is_taken_as_it_is_in_the_end(kernel):
    told = kernel(*([message(b"one.", flags=INTERRUPTED), END] for _ in range(20)))
    assert (listed(), told.asked) == ([b"one."], netlink._TRIES)
