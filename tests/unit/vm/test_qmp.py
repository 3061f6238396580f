"""The remote control, against a QEMU that is a few lines long."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from labkit.errors import LabError, Unreachable
from labkit.vm.qmp import Control


class FakeQemu:
    """Answers each command with what it is told to; the greeting and an event come by themselves."""

    def __init__(self) -> None:
        self.ours, self.its = socket.socketpair()
        self.asked: list[dict[str, object]] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self.its, self.its.makefile("rwb") as file:

            def say(what: object) -> None:
                file.write(json.dumps(what).encode() + b"\n")
                file.flush()

            say({"QMP": {"version": {}}})
            for line in file:
                request = json.loads(line)
                self.asked.append(request)
                if request["execute"] == "quit":
                    return
                say({"event": "RESUME"})
                id = {"id": request["id"]} if "id" in request else {}
                say({"error": {"desc": "no such thing"}, **id} if request["execute"] == "fail" else {"return": request["execute"], **id})


@pytest.fixture
def qemu() -> Iterator[FakeQemu]:
    made = FakeQemu()
    yield made
    made.ours.close()
    made.thread.join(5)


def test_an_answer_is_told_from_events(qemu: FakeQemu) -> None:
    control = Control(qemu.ours)
    assert control.ask("query-status") == "query-status"
    assert [request["execute"] for request in qemu.asked] == ["qmp_capabilities", "query-status"]
    assert control.ask("stop") == "stop"
    control.close()


def test_a_refusal_is_an_error_in_qemus_words(qemu: FakeQemu) -> None:
    control = Control(qemu.ours)
    with pytest.raises(LabError, match="QEMU, fail: no such thing"):
        control.ask("fail", size=3)
    assert qemu.asked[-1]["arguments"] == {"size": 3}
    assert control.ask("cont") == "cont"
    control.close()


def test_a_qemu_that_ends_is_unreachable(qemu: FakeQemu) -> None:
    control = Control(qemu.ours)
    with pytest.raises(Unreachable):
        control.ask("quit")
    control.close()


def test_a_qemu_that_says_nothing_is_given_up() -> None:
    ours, its = socket.socketpair()
    control = Control(ours)
    with its, pytest.raises(Unreachable, match="does not answer query-status"):
        control.ask("query-status", timeout=0.01)
    control.close()
