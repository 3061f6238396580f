"""Being told of changes in a directory, and of limits to that."""

from __future__ import annotations

import select
from errno import EMFILE, ENOENT
from pathlib import Path

import pytest

from labkit.errors import KernelError
from labkit.linux import inotify, syscalls


def is_told(watch: inotify.Watch, seconds: float = 0) -> bool:
    return bool(select.select([watch], [], [], seconds)[0])


def test_a_watch_tells_of_what_it_was_asked_about(tmp_path: Path) -> None:
    with inotify.Watch(str(tmp_path), inotify.CREATE | inotify.MODIFY) as watch:
        assert not is_told(watch)
        with open(tmp_path / "file", "w") as file:
            assert is_told(watch, 5)
            watch.clear()
            assert not is_told(watch)
            file.write("word")
            file.flush()
            assert is_told(watch, 5)
        watch.clear()
        (tmp_path / "file").unlink()
        assert not is_told(watch), "nobody asked for that"
    watch.close()


def test_what_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(KernelError) as raised:
        inotify.Watch(str(tmp_path / "gone"), inotify.MODIFY)
    assert raised.value.errno == ENOENT and str(tmp_path / "gone") in str(raised.value)


def test_too_many_watches_are_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int) -> int:
        raise KernelError(EMFILE, "inotify_init1")

    monkeypatch.setattr(syscalls, "inotify_init1", refuse)
    with pytest.raises(KernelError, match=r"fs\.inotify\.max_user_instances"):
        inotify.Watch(str(tmp_path), inotify.MODIFY)
