"""What a person sees of a pull: on a terminal, in a file, and with --quiet."""

from __future__ import annotations

import contextlib
import io
import threading

import pytest
from rich.console import Console

from labkit.cli import progress
from labkit.image.progress import Progress

PULL = [
    Progress("latest", "Pulling from library/nginx"),
    Progress("aaaaaaaaaaaa", "Pulling fs layer"),
    Progress("bbbbbbbbbbbb", "Pulling fs layer"),
    Progress("aaaaaaaaaaaa", "Downloading", 14_200_000, 29_100_000),
    Progress("bbbbbbbbbbbb", "Already exists"),
    Progress("", "warning: mirror http://127.0.0.1:5000: connection refused"),
    Progress("aaaaaaaaaaaa", "Extracting", 1, None),
    Progress("aaaaaaaaaaaa", "Pull complete"),
    Progress("", "Digest: sha256:c0ffee"),
]
WARNING = "labkit: warning: mirror http://127.0.0.1:5000: connection refused\n"


def terminal(height: int = 24, width: int = 80) -> Console:
    """A terminal whose output can be read."""
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None, legacy_windows=False)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def drawn(display: progress.Display, console: Console) -> list[str]:
    """What the lines that move look like now."""
    with console.capture() as capture:
        console.print(display)
    return capture.get().splitlines()


def test_in_a_file_there_is_a_line_for_each_step_but_none_for_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown() as report:
        for said in PULL:
            report(said)
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "latest: Pulling from library/nginx",
        "aaaaaaaaaaaa: Pulling fs layer",
        "bbbbbbbbbbbb: Pulling fs layer",
        "bbbbbbbbbbbb: Already exists",
        "aaaaaaaaaaaa: Pull complete",
        "Digest: sha256:c0ffee",
    ]
    assert captured.err == WARNING


def test_lines_of_several_threads_stay_whole() -> None:
    """Python's own print writes a line and its end in two."""

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            count = super().write(text)
            written.wait(0.01)  # gives way to the other thread, as the kernel may
            return count

    written, out = threading.Event(), Slow()
    with contextlib.redirect_stdout(out), progress.shown() as report:
        threads = [threading.Thread(target=report, args=(Progress(name, "Pushed"),)) for name in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(out.getvalue().splitlines()) == ["a: Pushed", "b: Pushed", "c: Pushed"]


def test_quiet_still_warns(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown(quiet=True) as report:
        for said in PULL:
            report(said)
    assert capsys.readouterr() == ("", WARNING)


def test_a_terminal_keeps_a_line_for_each_layer_as_it_was_last(capsys: pytest.CaptureFixture[str]) -> None:
    console = terminal()
    display = progress.Display(console)
    for said in PULL:
        display.report(said)
    display.close()
    last = printed(console).rpartition("latest: Pulling from library/nginx")[2]
    assert last.endswith("Digest: sha256:c0ffee\n")
    assert "aaaaaaaaaaaa: Pull complete" in last and "bbbbbbbbbbbb: Already exists" in last
    assert capsys.readouterr().err == WARNING


def test_what_moves_has_a_bar_and_says_how_far_it_is() -> None:
    display = progress.Display(terminal(width=100))
    display.report(PULL[3])
    (line,) = drawn(display, terminal(width=100))
    display.close()
    assert line.startswith("aaaaaaaaaaaa: Downloading  ━━━") and line.rstrip().endswith("14.2MB/29.1MB")


def test_a_narrow_terminal_has_no_room_for_a_bar() -> None:
    display = progress.Display(terminal(width=50))
    display.report(PULL[3])
    (line,) = drawn(display, terminal(width=50))
    display.close()
    assert line.rstrip() == "aaaaaaaaaaaa: Downloading  14.2MB/29.1MB"


def test_more_layers_than_lines_are_summed_up_until_the_end() -> None:
    console = terminal(height=10)
    display = progress.Display(console)
    for number in range(30):
        display.report(Progress(f"{number:012x}", "Pull complete" if number < 20 else "Downloading", None if number < 20 else 5, 9))
    seen = drawn(display, terminal(height=10))
    display.close()
    assert len(seen) == 8 and "Downloading" in seen[0]
    assert seen[-1] == "… and 23 more; 20 of 30 are done"
    assert all(f"{number:012x}" in printed(console) for number in range(30))


def test_an_error_leaves_the_lines_and_gives_the_terminal_back() -> None:
    console = terminal()
    display = progress.Display(console)
    display.report(PULL[1])
    display.close()
    assert "\x1b[?25h" in printed(console), "the cursor is shown again"
    for thread in threading.enumerate():
        if thread.daemon:
            thread.join(5)
            assert not thread.is_alive(), "nothing is drawn any more"


def test_a_name_is_printed_as_it_is_not_as_markup() -> None:
    console = terminal()
    display = progress.Display(console)
    display.report(Progress("", "The push refers to repository [127.0.0.1:5000/me/[red]web]"))
    display.close()
    assert "[127.0.0.1:5000/me/[red]web]" in printed(console)


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    term: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", term)
    with progress.shown() as report:
        report(PULL[1])
    assert capsys.readouterr().out == "aaaaaaaaaaaa: Pulling fs layer\n"
