"""Which system calls are made, seen from the one door that they go through."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, KernelError, Unsupported
from labkit.linux import mounts, syscalls
from labkit.linux.syscalls import MS_BIND, MS_NODEV, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SLAVE

Call = tuple[str | None, str, str | None, int, str | None]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls of mount(2); none reaches the kernel."""
    made: list[Call] = []
    monkeypatch.setattr(syscalls, "mount", lambda *call: made.append(call))
    return made


def failing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(*_: object) -> None:
        raise KernelError(code, "mount on", "/somewhere")

    monkeypatch.setattr(syscalls, "mount", fail)


def test_a_new_file_system_takes_one_call(calls: list[Call]) -> None:
    mounts.mount("tmpfs", "/t", "tmpfs", ["ro", "nosuid", "mode=755"])
    assert calls == [("tmpfs", "/t", "tmpfs", MS_RDONLY | MS_NOSUID, "mode=755")]


def test_a_bind_without_options_takes_one_call(calls: list[Call]) -> None:
    mounts.bind("/etc", "/t")
    assert calls == [("/etc", "/t", None, MS_BIND | MS_REC, None)]


def test_the_options_of_a_bind_take_a_second_call(calls: list[Call]) -> None:
    mounts.mount("/etc", "/t", "bind", ["ro", "nodev"])
    assert [call[3] for call in calls] == [MS_BIND | MS_RDONLY | MS_NODEV, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NODEV]


def test_taking_back_an_option_of_a_bind_takes_a_second_call(calls: list[Call]) -> None:
    mounts.mount("/etc", "/t", None, ["rbind", "rw"])
    assert [call[3] for call in calls] == [MS_BIND | MS_REC, MS_BIND | MS_REMOUNT]


def test_a_remount_of_a_bind_is_one_call(calls: list[Call]) -> None:
    mounts.mount(None, "/t", None, ["remount", "bind", "ro"])
    assert [call[3] for call in calls] == [MS_BIND | MS_REMOUNT | MS_RDONLY]


def test_propagation_comes_last_with_a_call_each(calls: list[Call]) -> None:
    mounts.mount("tmpfs", "/t", "tmpfs", ["rslave", "private", "noexec"])
    assert [call[3] for call in calls[1:]] == [MS_SLAVE | MS_REC, MS_PRIVATE]


def test_a_remount_that_the_kernel_forbids_is_tried_again_with_the_locked_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def locked(source: str | None, target: str, fstype: str | None, flags: int, data: str | None) -> None:
        tried.append(flags)
        if flags & MS_REMOUNT and not flags & MS_NOSUID:
            raise KernelError(errno.EPERM, "mount on", target)

    kept = os.ST_NOSUID | os.ST_RELATIME
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((0,) * 8 + (kept, 255, 0)))
    monkeypatch.setattr(syscalls, "mount", locked)
    mounts.bind("/etc", "/t", readonly=True)
    assert tried[-1] == MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | syscalls.MS_RELATIME
    with pytest.raises(KernelError, match="EPERM"):
        mounts.mount("/etc", "/t", "bind", ["suid"])


def test_set_propagation_knows_its_words(calls: list[Call]) -> None:
    mounts.set_propagation("/t", "rslave")
    mounts.make_private("/t", recursive=False)
    mounts.make_private()
    assert [call[1::2] for call in calls] == [("/t", MS_SLAVE | MS_REC), ("/t", MS_PRIVATE), ("/", MS_PRIVATE | MS_REC)]
    with pytest.raises(InvalidInput, match="'secret' is none of private, rprivate"):
        mounts.set_propagation("/t", "secret")


def test_options_longer_than_a_page_are_refused_since_the_kernel_would_cut_them(calls: list[Call]) -> None:
    with pytest.raises(InvalidInput, match="less than a memory page"):
        mounts.mount("tmpfs", "/t", "tmpfs", ["x" * os.sysconf("SC_PAGE_SIZE")])
    assert not calls


def test_an_overlay_of_many_layers_is_asked_for_by_descriptors_but_for_the_topmost(calls: list[Call], tmp_path: Path) -> None:
    layers = [tmp_path / f"{index:0100}" for index in range(50)]
    for layer in layers:
        layer.mkdir()
    mounts.overlay([str(layer) for layer in layers], "/u", "/w", "/t")
    ((_, target, fstype, _, data),) = calls
    assert (target, fstype) == ("/t", "overlay")
    assert data is not None and data.startswith(f"lowerdir={layers[0]}:/proc/self/fd/") and data.endswith(",upperdir=/u,workdir=/w")


def test_a_file_system_that_the_kernel_lacks_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errno.ENODEV)
    with pytest.raises(Unsupported, match="no file system nofs"):
        mounts.mount("x", "/proc", "nofs")


@pytest.mark.parametrize(
    ("code", "target", "hint"),
    [
        (errno.ENOENT, "/no/such/place", "the mount point does not exist"),
        (errno.ENOTDIR, "/etc", "a directory goes on a directory, a file on a file"),
        (errno.EINVAL, "/etc", "is one of speed=9 unknown to tmpfs"),
    ],
)
def test_an_error_tells_the_cause(monkeypatch: pytest.MonkeyPatch, code: int, target: str, hint: str) -> None:
    failing(monkeypatch, code)
    with pytest.raises(KernelError, match=hint) as caught:
        mounts.mount("x", target, "tmpfs", ["speed=9"])
    assert (caught.value.errno, caught.value.object) == (code, target)


def test_a_bind_of_nothing_names_the_source() -> None:
    with pytest.raises(KernelError, match=r"bind /no/such on /t: ENOENT \(source /no/such"):
        mounts.bind("/no/such", "/t")


def test_a_missing_path_needs_no_mask(calls: list[Call]) -> None:
    mounts.mask("/proc/no-such-file")
    assert not calls
