"""A person at a terminal: what they see, and that a program on the other side takes it for a terminal."""

import pytest

from labkit.errors import LabError
from labkit.lessons.terminals import Picture, terminal


def shown(*pieces):
    picture = Picture()
    for piece in pieces:
        picture.show(piece)
    return str(picture)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        (b"one\r\ntwo\r\n", "one\ntwo"),
        (b"/ # \x1b[6n\r/ # \x1b[Jls\r\n", "/ # ls"),
        (b"abc\b\bX", "aXc"),
        (b"abcdef\r\x1b[3C\x1b[K!", "abc!"),
        (b"abcdef\x1b[2DX", "abcdXf"),
        (b"\x1b[1;32mgreen\x1b[0m \x1b[?2004hplain", "green plain"),
        ("说 ✔".encode(), "说 ✔"),
    ],
)
def test_the_picture_is_what_would_be_on_the_screen(written, seen):
    assert shown(written) == seen
    assert shown(*(written[at : at + 1] for at in range(len(written)))) == seen


def test_the_line_with_the_cursor_is_the_last_one():
    picture = Picture()
    picture.show(b"motd\r\n/ # ")
    assert picture.line == "/ # "
    picture.note("⟨ctrl-d⟩\r\n")
    assert str(picture) == "motd\n/ # ⟨ctrl-d⟩"


SHELL = "env -i PS1='# ' PATH=/usr/bin:/bin TERM=dumb sh"


def test_lines_are_typed_one_after_the_other_and_the_screen_is_shown():
    screen = terminal(SHELL, "x=remembered", "echo $x", "exit 3")
    assert screen.text.splitlines() == ["# x=remembered", "# echo $x", "remembered", "# exit 3"]
    assert repr(screen) == f"$ {SHELL}\n{screen.text}\nit ended with 3"


def test_the_program_has_a_terminal_of_a_size_and_of_its_own():
    lines = terminal(SHELL, "test -t 0 && stty size", "ps -o tty= -p $$ | grep -c pts", "exit").text.splitlines()
    assert lines[1] == "24 80" and lines[3] == "1"


def test_keys_are_typed_without_enter_and_noted():
    screen = terminal(SHELL, "echo on its way", "ctrl-d")
    assert screen.text.endswith("on its way\n# ⟨ctrl-d⟩") and screen.code == 0


def test_what_stays_in_the_background_keeps_nobody_waiting():
    screen = terminal(SHELL, "sleep 1.5 & echo on its way", "exit", seconds=1)
    assert screen.text.endswith("# exit") and screen.code == 0


def test_ctrl_c_reaches_who_is_in_front():
    assert terminal(f"{SHELL} -c 'printf \"# \"; exec sleep 100'", "ctrl-c").code == 130


def test_a_command_that_asks_for_nothing_is_run_to_its_end():
    assert repr(terminal("echo hello; exit 4")) == "$ echo hello; exit 4\nhello\nit ended with 4"


def test_a_command_that_ends_before_the_last_line_is_no_mistake():
    screen = terminal("echo you cannot; exit 1", "exit")
    assert (screen.text, screen.code) == ("you cannot", 1)


def test_a_screen_is_shown_as_text_and_never_as_html():
    assert "&lt;b&gt;bold&lt;/b&gt;" in terminal("echo '<b>bold</b>'")._repr_html_()


@pytest.mark.parametrize(
    ("command", "typed", "complaint"),
    [
        ("sleep 100", ["exit"], "nothing happens for 1 seconds"),
        (SHELL, ["echo one"], "asks for more; on the screen is\n# echo one\none"),
    ],
)
def test_a_command_that_does_not_do_as_it_was_thought_to_is_shown(command, typed, complaint):
    with pytest.raises(LabError, match=complaint):
        terminal(command, *typed, seconds=1)
