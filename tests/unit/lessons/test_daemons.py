"""What a daemon answers, as a notebook shows it."""

import pytest

from labkit.errors import LabError, NotFound
from labkit.lessons import daemons
from labkit.lessons.daemons import Answer, Daemon


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Answer(204), "204 No Content"),
        (Answer(200, b"[]\n"), "200 OK · []"),
        (Answer(404, b'{"message":"No such container: box"}'), "404 Not Found · No such container: box"),
        (Answer(500, b"oh \xff"), "500 Internal Server Error · oh \ufffd"),
    ],
)
def test_an_answer_shows_its_status_and_what_came_with_it(answer, shown):
    assert repr(answer) == shown


def test_what_is_no_json_is_none():
    assert Answer(200, b"OK").json is None and Answer(200, b'{"a":1}').json == {"a": 1}
    assert Answer(200, b'{"message":"not an error"}').message == ""


def test_frames_are_taken_apart():
    stream = b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\x04two\n"
    assert list(daemons._payloads(stream)) == ["one", "two\n"]


def test_a_daemon_that_was_never_started_has_no_process_and_does_not_answer():
    nobody = Daemon("97")
    assert repr(nobody) == "a daemon at /run/labkit/lessons/97/daemon/labkit.sock, not running"
    assert daemons.find("97") is None and list(nobody.events()) == []
    with pytest.raises(NotFound, match="no process"):
        _ = nobody.pid
    with pytest.raises(LabError, match=r"labkit\.sock for /_ping"):
        nobody.ask("GET", "/_ping")
    nobody.stop()
    nobody.kill()
