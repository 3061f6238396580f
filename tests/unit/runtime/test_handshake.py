"""What the two sides of a container's birth say to each other."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from labkit import errors
from labkit.errors import Conflict, InvalidInput, KernelError, LabError, NotFound, Unsupported
from labkit.runtime import handshake
from labkit.runtime.handshake import Channel, await_done, give_word, packed, unpacked


@pytest.fixture
def ends() -> Any:
    left, right = Channel.pair()
    yield left, right
    left.close()
    right.close()


def host(channel: Channel, pid: int = -1) -> Any:
    """The host side, as much of it as the line needs; its container has no control group."""
    container = SimpleNamespace(id="box", cgroup="labkit/no-such-group")
    plan = SimpleNamespace(id="box", container=container)
    return SimpleNamespace(channel=channel, plan=plan, pid=pid, pidfd=pid, terminal=-1, reaped=[], warnings=[])


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    messages: list[dict[str, object]] = [{"go": True}, {"text": "é" * 5000}, {"done": [1, None]}]
    for message in messages:
        left.send(message)
    assert [right.receive() for _ in messages] == [(message, []) for message in messages]


def test_a_descriptor_goes_along(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    reader, writer = os.pipe()
    left.send({"terminal": "/dev/pts/0"}, writer)
    os.close(writer)
    message, (received,) = right.receive()
    os.write(received, b"through")
    assert message == {"terminal": "/dev/pts/0"} and os.read(reader, 16) == b"through"
    os.close(received)
    os.close(reader)


def test_the_end_of_one_side_is_an_empty_message_to_the_other(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    left.send({"done": True})
    left.close()
    assert right.receive() == ({"done": True}, [])
    assert right.receive() == ({}, [])
    with pytest.raises(BrokenPipeError):
        right.send({"go": True})


def test_a_side_that_went_without_reading_is_an_end_too(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    right.send({"go": True})
    left.close()
    assert right.receive() == ({}, [])


def test_the_host_side_waits_until_a_run_is_done_and_keeps_what_it_is_given(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    reader, writer = os.pipe()
    right.send({"terminal": "/dev/pts/0"}, writer)
    right.send({"done": True})
    right.send({"done": "of the next run"})
    context = host(left)
    await_done(context)
    assert os.fstat(context.terminal).st_ino == os.fstat(writer).st_ino
    assert left.receive()[0] == {"done": "of the next run"}
    for fd in (reader, writer, context.terminal):
        os.close(fd)


def test_warnings_of_the_other_side_are_kept(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    for message in ({"warning": "odd"}, {"warning": "odder"}, {"done": True}):
        right.send(dict(message))
    context = host(left)
    await_done(context)
    assert context.warnings == ["odd", "odder"]


def test_the_host_side_learns_who_was_born_and_reaps_the_stage(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    right.send({"born": os.getpid()})
    right.send({"done": True})
    context = host(left)
    context.reap = lambda: context.reaped.append(context.pid)
    await_done(context)
    assert (context.reaped, context.pid) == ([-1], os.getpid())
    os.close(context.pidfd)


def test_what_failed_on_the_other_side_is_raised_here(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    right.send({"failed": packed(KernelError(2, "exec", "nothing", "not found"))})
    with pytest.raises(KernelError, match=r"exec nothing: ENOENT \(not found\)"):
        await_done(host(left))


def test_an_early_end_is_an_error_but_of_the_last_run_it_is_execve(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    right.close()
    await_done(host(left, pid=1), is_last=True)
    with pytest.raises(LabError, match="container box: its first process was killed"):
        await_done(host(left, pid=1))
    with pytest.raises(LabError, match="container box: its first process was killed"):
        await_done(host(left), is_last=True)  # it was never born


def test_no_word_can_be_given_to_who_was_killed(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    give_word(host(left))
    assert right.receive() == ({"go": True}, [])
    right.close()
    with pytest.raises(LabError, match="container box: its first process was killed"):
        give_word(host(left))


def test_want_of_memory_is_told_as_the_cause(ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit.linux import cgroups

    monkeypatch.setattr(cgroups.Cgroup, "events", lambda _: SimpleNamespace(oom_kill=1))
    assert str(handshake.killed(host(ends[0]))).endswith("its memory limit is too small")


@pytest.mark.parametrize("kind", [LabError, NotFound, Conflict, InvalidInput, Unsupported])
def test_an_error_is_the_same_on_the_other_side(kind: type[LabError]) -> None:
    received = unpacked(packed(kind("field: no")))
    assert (type(received), str(received)) == (kind, "field: no")


def test_an_error_of_the_kernel_keeps_all_its_parts() -> None:
    error = KernelError(22, "mount overlay on", "/x", "too many layers")
    received = unpacked(packed(error))
    assert isinstance(received, KernelError) and received.args == error.args and str(received) == str(error)


def test_an_error_of_the_system_becomes_one_of_the_kernel() -> None:
    received = unpacked(packed(FileNotFoundError(2, "No such file or directory", "/missing")))
    assert isinstance(received, KernelError) and (received.errno, received.object) == (2, "/missing")


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("missing")])
def test_an_error_that_is_not_labkits_is_named(error: Exception) -> None:
    received = unpacked(packed(error))
    assert type(received) is LabError and str(received) == f"{type(error).__name__}: {error}"


def test_nothing_but_an_error_is_made_of_a_message() -> None:
    assert hasattr(errors, "os")
    for kind in ("os", "errorcode", "annotations", "NoSuchThing"):
        assert type(unpacked({"kind": kind, "arguments": ["x"]})) is LabError
