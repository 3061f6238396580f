"""Attached: what a container writes is heard from the first byte on, and what is typed reaches it."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.engine.engine import Engine
from labkit.engine.streams import Attachment
from labkit.errors import Conflict, InvalidInput
from tests.containers import SECONDS, Make, create_in, said

Attach = Callable[..., Attachment]


@pytest.fixture
def attach() -> Iterator[Attach]:
    """``attach(container, stdin=True)``: a line that is closed when the test ends."""
    lines: list[Attachment] = []

    def do(container, **how: object) -> Attachment:  # type: ignore[no-untyped-def]
        lines.append(container.attach(**how))
        return lines[-1]

    yield do
    for line in lines:
        line.close()


def heard(line: Attachment) -> dict[int, bytes]:
    """All of it, to its end, by stream."""
    found = {1: b"", 2: b""}
    while packet := line.receive():
        found[packet[0]] += packet[1]
    return found


def hear_until(line: Attachment, text: bytes) -> bytes:
    found = b""
    while text not in found:
        packet = line.receive()
        assert packet, f"{text!r} never came: {found!r}"
        found += packet[1]
    return found


def is_readable(line: Attachment, seconds: float = 0) -> bool:
    return bool(select.select([line], [], [], seconds)[0])


def test_who_attaches_before_the_start_hears_every_byte_and_the_streams_apart(make: Make, attach: Attach) -> None:
    container = make("sh", "-c", "echo out; echo err >&2; head -c 100000 /dev/zero; exit 3")
    line, second = attach(container), attach(container)
    assert not is_readable(line)
    ended = container.wait("next-exit")
    container.start()
    # No more than the kernel keeps for the second while the first reads.
    assert heard(line) == heard(second) == {1: b"out\n" + bytes(100000), 2: b"err\n"}
    assert ended.result(SECONDS).StatusCode == 3


@pytest.mark.parametrize(("stdout", "stderr", "expected"), [(True, False, {1: b"out\n", 2: b""}), (False, True, {1: b"", 2: b"err\n"})])
def test_only_the_streams_that_are_wanted_are_heard(
    make: Make, attach: Attach, stdout: bool, stderr: bool, expected: dict[int, bytes]
) -> None:
    container = make("sh", "-c", "echo out; echo err >&2")
    line = attach(container, stdout=stdout, stderr=stderr)
    container.start()
    assert heard(line) == expected


def test_what_is_said_before_the_start_is_standard_input(make: Make, attach: Attach) -> None:
    container = make("cat", OpenStdin=True, StdinOnce=True)
    line = attach(container, stdin=True)
    line.send(b"early ")
    line.close_input()
    line.send(b"too late")
    container.start()
    assert heard(line)[1] == b"early "


def test_the_end_of_input_leaves_the_output_to_be_heard(make: Make, attach: Attach) -> None:
    container = make("sh", "-c", "cat; sleep 0.1; echo after", OpenStdin=True, StdinOnce=True)
    line = attach(container, stdin=True)
    container.start()
    line.send(b"typed\n")
    hear_until(line, b"typed")
    line.close_input()
    assert heard(line)[1] == b"after\n"


def test_a_client_that_vanishes_ends_the_input_of_a_program_that_has_it_alone(make: Make, attach: Attach) -> None:
    container = make("sh", "-c", "cat; echo end of file", OpenStdin=True, StdinOnce=True)
    line = attach(container, stdin=True)
    ended = container.wait("next-exit")
    container.start()
    line.send(b"word\n" * 100_000)
    line.close()
    assert ended.result(SECONDS).StatusCode == 0
    assert said(container) == "word\n" * 100_000 + "end of file\n"


def test_without_stdin_once_a_client_comes_and_goes_and_the_input_stays_open(make: Make, attach: Attach) -> None:
    container = make("cat", OpenStdin=True)
    container.start()
    first = attach(container, stdin=True)
    first.send(b"one\n")
    hear_until(first, b"one")
    first.close_input()  # as `docker attach` with its input at an end: it is let go
    assert first.receive() is None
    second = attach(container, stdin=True)
    second.send(b"two\n")
    assert hear_until(second, b"two") == b"two\n"
    assert container.state.running


def test_a_client_without_stdin_is_not_heard(make: Make, attach: Attach) -> None:
    container = make("cat", OpenStdin=True)
    container.start()
    mute, other = attach(container), attach(container, stdin=True)
    mute.send(b"not heard\n")
    mute.close_input()
    other.send(b"heard\n")
    assert hear_until(mute, b"heard") == hear_until(other, b"heard") == b"heard\n"


def test_more_input_than_a_program_takes_at_once_waits_for_it(make: Make, attach: Attach) -> None:
    container = make("sh", "-c", "sleep 0.1; exec cat", OpenStdin=True, StdinOnce=True)
    line = attach(container, stdin=True)
    container.start()
    data = bytes(range(33, 83)) * 60_000

    def speak() -> None:
        line.send(data)
        line.close_input()

    speaker = threading.Thread(target=speak)
    speaker.start()
    assert heard(line)[1] == data
    speaker.join()


def test_a_terminal_is_one_stream_and_has_a_size(engine: Engine, make: Make, attach: Attach) -> None:
    container = make("sh", "-c", "trap 'stty size' WINCH; echo err >&2; read word; echo got $word; while :; do sleep 0.05; done",
                     Tty=True, OpenStdin=True, StdinOnce=True)  # fmt: skip
    line = attach(container, stdin=True)
    container.start()
    hear_until(line, b"err\r\n")
    line.send(b"hello\n")
    hear_until(line, b"got hello\r\n")
    container.resize(33, 77)
    hear_until(line, b"33 77\r\n")


def test_the_detach_keys_leave_a_container_running(engine: Engine, make: Make, attach: Attach) -> None:
    container = make("cat", Tty=True, OpenStdin=True, StdinOnce=True)
    container.start()
    with engine.events.subscribe(filters={"type": ("container",), "event": ("detach",)}) as events:
        line = attach(container, stdin=True)
        line.send(b"word\n\x10")
        hear_until(line, b"word")
        assert not line.detached
        line.send(b"\x11more")
        assert line.detached and line.receive() is None
        event = next(events)
        assert (event.Action, event.ID) == ("detach", container.id)
    assert container.state.running
    again = attach(container, stdin=True, detach_keys="x")
    again.send(b"still here\n")
    hear_until(again, b"still here")
    again.send(b"x")
    assert again.detached


def test_the_end_of_a_terminals_client_is_no_ctrl_d(make: Make, attach: Attach) -> None:
    """That is how docker's own client says that the user has typed the detach keys."""
    container = make("cat", Tty=True, OpenStdin=True, StdinOnce=True)
    container.start()
    line = attach(container, stdin=True)
    line.close_input()
    assert line.receive() is None
    other = attach(container, stdin=True)
    other.send(b"still here\n")
    hear_until(other, b"still here")


def test_keys_that_are_none_are_refused(make: Make) -> None:
    with pytest.raises(InvalidInput, match=r"^Invalid detach keys \(ctrl-\?\) provided$"):
        make("cat", Tty=True, OpenStdin=True).attach(detach_keys="ctrl-?")


def test_a_client_that_never_reads_holds_up_the_output_and_nothing_else(make: Make, attach: Attach) -> None:
    script = "trap 'echo bye >&2; exit 5' TERM; yes | head -n 40000; yes & read word; echo $word >&2; wait"
    container = make("sh", "-c", script, OpenStdin=True)
    stuck = attach(container, stdout=True, stderr=False)
    other = attach(container, stdin=True, stdout=False)
    container.start()
    other.send(b"hello\n")
    assert hear_until(other, b"hello") == b"hello\n"
    assert container.stop(timeout=5)
    assert heard(other)[2] == b"bye\n"
    assert container.state.ExitCode == 5
    kept = heard(stuck)[1]
    assert len(kept) > 65536 and not kept.replace(b"y\n", b"")


def test_what_a_slow_client_has_not_read_when_the_program_ends_is_not_lost(make: Make, attach: Attach) -> None:
    container = make("sh", "-c", "head -c 100000 /dev/zero; echo last words")
    line = attach(container)
    ended = container.wait("next-exit")
    container.start()
    assert ended.result(SECONDS).StatusCode == 0
    container.remove()
    assert heard(line)[1] == bytes(100000) + b"last words\n"


def test_a_client_that_hangs_up_while_it_holds_up_the_output_lets_it_go_on(make: Make, attach: Attach) -> None:
    container = make("sh", "-c", "head -c 5000000 /dev/zero")
    line = attach(container)
    ended = container.wait("next-exit")
    container.start()
    assert is_readable(line, SECONDS)
    line.close()
    assert ended.result(SECONDS).StatusCode == 0


def test_the_log_comes_first_where_it_is_asked_for(make: Make, attach: Attach) -> None:
    container = make("sh", "-c", "echo before; read word; echo after", OpenStdin=True)
    first = attach(container)
    container.start()
    hear_until(first, b"before")
    with_log, only_log = attach(container, stdin=True, logs=True), attach(container, logs=True, stream=False)
    with_log.send(b"go\n")
    assert heard(with_log)[1] == b"before\nafter\n"
    assert heard(only_log)[1] == b"before\n"


def test_a_container_that_cannot_be_started_or_is_removed_ends_the_line(make: Make, attach: Attach) -> None:
    broken = make("/nosuch")
    line = attach(broken)
    with pytest.raises(InvalidInput):
        broken.start()
    assert line.receive() is None
    never = make("true")
    line = attach(never)
    never.remove()
    assert line.receive() is None


def test_who_has_gone_before_the_start_is_forgotten(make: Make, attach: Attach) -> None:
    container = make("echo", "hello")
    attach(container).close()
    assert container.pending == []
    other = attach(container)
    container.start()
    assert heard(other)[1] == b"hello\n"


def test_close_lets_go_who_waits(make: Make, attach: Attach) -> None:
    container = make("sleep", "1000")
    container.start()
    line = attach(container)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(line.receive()))
    waiting.start()
    line.close()
    waiting.join(SECONDS)
    assert found == [None]


def test_a_paused_container_is_not_attached_to(make: Make) -> None:
    container = make("sleep", "1000", name="still")
    container.start()
    container.pause()
    with pytest.raises(Conflict, match=r"^container still is paused, unpause the container before attach$"):
        container.attach()
    container.unpause()


def test_whoever_closed_all_its_output_is_still_running_and_at_the_end_for_its_clients(make: Make, attach: Attach) -> None:
    container = make("sh", "-c", "echo last; exec >&- 2>&-; sleep 1000")
    line = attach(container)
    container.start()
    assert heard(line)[1] == b"last\n"
    assert attach(container).receive() is None
    assert container.state.running


def test_an_engine_that_comes_up_again_can_attach_to_what_runs(engine_root: Path, engine_run: str) -> None:
    with Engine(str(engine_root), engine_run) as first:
        create_in(first, "cat", OpenStdin=True, name="goes-on").start()
    with Engine(str(engine_root), engine_run) as second:
        taken_up = second.containers.get("goes-on")
        with taken_up.attach(stdin=True) as line:
            line.send(b"hello\n")
            assert hear_until(line, b"hello") == b"hello\n"
        taken_up.remove(force=True)
