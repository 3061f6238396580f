"""The tap between client and daemon: what goes by is written down, and arrives as it was sent."""

import http.client
import json
import os
import re
import socket
import threading
from contextlib import suppress

import pytest

from labkit.errors import KernelError, NotFound
from labkit.lessons import traffic
from labkit.lessons.traffic import Exchange, Wire

ID = "0123456789abcdef" * 4
MADE = json.dumps({"Id": ID, "Warnings": []}).encode()


def ok(body=b"OK", status="200 OK", extra=""):
    return f"HTTP/1.1 {status}\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Daemon:
    """Answers on a socket with what is in ``answers``, one after the other; ``talk`` takes over a connection after that."""

    def __init__(self, path):
        self.answers, self.heard = [], b""
        self.gone = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def end(self):
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        request = b""
        while data := client.recv(65536):
            self.heard += data
            request += data
            head, end, body = request.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            if end and len(body) >= int(length[1] if length else 0):
                request = b""
                client.sendall(self.answers.pop(0) if self.answers else ok())
        self.gone.set()
        try:
            client.sendall(b"after the half-close")
        except OSError:
            self.heard += b"<nobody is there>"
        client.close()


@pytest.fixture
def daemon(tmp_path):
    made = Daemon(str(tmp_path / "daemon.sock"))
    yield made
    made.end()


@pytest.fixture
def wire(daemon, tmp_path):
    made = Wire(str(tmp_path / "docker.sock"), str(tmp_path / "daemon.sock"))
    yield made
    made.close()


@pytest.fixture
def client(wire):
    connection = http.client.HTTPConnection("docker")
    connection.sock = connect(wire)
    yield connection
    connection.close()


def connect(wire):
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(10)
    line.connect(wire.path)
    return line


def ask(client, method, path, body=None):
    client.request(method, path, body)
    answer = client.getresponse()
    return answer.status, answer.read()


def exchange(method, target, path=None, **more):
    return Exchange(1, method, target, path or target.partition("?")[0], **more)


# ── What is passed on ────────────────────────────────────────────────────────────────────────────────────────────────


def test_requests_and_answers_arrive_as_they_were_sent(daemon, client):
    daemon.answers = [ok(MADE, "201 Created"), b"HTTP/1.1 204 No Content\r\n\r\n"]
    assert ask(client, "POST", "/v1.47/containers/create", '{"Image":"busybox"}') == (201, MADE)
    assert ask(client, "POST", f"/v1.47/containers/{ID}/start") == (204, b"")
    assert daemon.heard.startswith(b"POST /v1.47/containers/create HTTP/1.1\r\n") and b'{"Image":"busybox"}' in daemon.heard


def test_who_closes_one_half_still_hears_the_rest(daemon, wire):
    daemon.answers = [b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"]
    with connect(wire) as line:
        line.sendall(b"POST /containers/box/attach?stdin=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        assert b"101" in line.recv(4096)
        line.shutdown(socket.SHUT_WR)
        assert line.recv(4096) == b"after the half-close"
        assert line.recv(4096) == b""


def test_a_client_that_goes_away_is_gone_for_the_daemon_too(daemon, wire):
    line = connect(wire)
    line.sendall(b"GET /_ping HTTP/1.1\r\n\r\n")
    assert b"200" in line.recv(4096)
    line.close()
    assert daemon.gone.wait(10)


def test_a_client_without_a_daemon_is_hung_up_on(daemon, wire):
    daemon.end()
    os.unlink(wire.daemon)
    with connect(wire) as line:
        assert line.recv(1) == b""


def test_what_is_no_http_passes_and_is_not_written_down(daemon, wire):
    daemon.answers = [b"\x15\x03\x01"]
    with connect(wire) as line:
        line.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert line.recv(4096) == b"\x15\x03\x01"
    assert wire.exchanges == ()


def test_nobody_gets_in_after_the_end(wire):
    wire.close()
    assert not os.path.exists(wire.path)
    with pytest.raises(OSError):
        connect(wire)


def test_a_place_where_nobody_can_listen_is_named(tmp_path):
    with pytest.raises(KernelError, match="nowhere"):
        Wire(str(tmp_path / "nowhere" / "docker.sock"), "/d.sock")


# ── What is written down ─────────────────────────────────────────────────────────────────────────────────────────────


def test_each_request_is_written_down_with_its_answer(daemon, wire, client):
    daemon.answers = [ok(MADE, "201 Created"), ok(b'{"message":"no"}', "409 Conflict")]
    ask(client, "POST", "/v1.47/containers/create", '{"Image":"busybox"}')
    ask(client, "DELETE", "/v1.47/containers/box?force=0&v=1")
    first, second = wire.news()
    assert str(first) == "POST /containers/create → 201" and first.sent == b'{"Image":"busybox"}' and first.answer == MADE
    assert str(second) == "DELETE /containers/box?v=1 → 409" and second.answer == b'{"message":"no"}'
    assert wire.news() == () and wire.latest == wire.exchanges == (first, second)
    assert repr(wire) == f"a tap at {wire.host}: 2 requests"


def test_an_answer_to_head_has_no_body_whatever_it_says_of_its_length(daemon, wire, client):
    daemon.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", ok(b"[]")]
    ask(client, "HEAD", "/_ping")
    assert ask(client, "GET", "/containers/json") == (200, b"[]")
    assert [each.status for each in wire.exchanges] == [200, 200]


def test_an_answer_that_says_to_go_on_is_none_yet(daemon, wire):
    daemon.answers = [b"HTTP/1.1 100 Continue\r\n\r\n" + ok()]
    with connect(wire) as line:
        line.sendall(b"POST /build HTTP/1.1\r\nExpect: 100-continue\r\n\r\n")
        while b"OK" not in line.recv(4096).splitlines()[-1]:
            pass
    assert [each.status for each in wire.exchanges] == [200]


def test_of_a_stream_the_beginning_is_kept(daemon, wire):
    daemon.answers = [b"HTTP/1.1 101 UPGRADED\r\n\r\n" + b"x" * 100_000]
    with connect(wire) as line:
        line.sendall(b"POST /containers/box/attach HTTP/1.1\r\nConnection: Upgrade\r\n\r\n")
        got = 0
        while got < 100_000:
            got += len(line.recv(65536))
    assert wire.last("attach").answer == b"x" * 65536


def test_a_container_is_shown_by_the_name_that_it_was_given(daemon, wire, client):
    daemon.answers = [ok(MADE, "201 Created")]
    ask(client, "POST", "/v1.47/containers/create?name=box", "{}")
    ask(client, "POST", f"/v1.47/containers/{ID}/start")
    ask(client, "POST", f"/v1.47/containers/{'f' * 64}/start")
    assert [each.path for each in wire.exchanges[1:]] == ["/containers/box/start", "/containers/ID/start"]


def test_what_is_aside_is_told_only_to_who_wants_everything(daemon, wire, client):
    daemon.answers = [ok(), ok(), ok(b"[]"), ok(b"{}")]
    for path in "/_ping", "/version", "/containers/json", "/containers/box/json":
        ask(client, "GET", path)
    assert [each.path for each in wire.news()] == ["/containers/json"]
    assert len(wire.latest) == 4
    ask(client, "GET", "/_ping")
    assert len(wire.news(everything=True)) == 1


def test_a_command_that_only_looks_shows_its_look():
    looks = (exchange("HEAD", "/_ping"), exchange("GET", "/containers/box/json"))
    assert traffic.essential(looks) == looks[1:]
    assert traffic.essential(()) == ()


@pytest.mark.parametrize(
    ("one", "aside"),
    [
        (exchange("HEAD", "/_ping"), True),
        (exchange("GET", "/containers/json"), False),
        (exchange("GET", "/images/json"), False),
        (exchange("GET", "/images/me/web/json"), True),
        (exchange("GET", "/exec/ID/json"), True),
        (exchange("POST", "/containers/box/resize?h=24&w=80"), True),
        (exchange("POST", "/containers/box/wait?condition=next-exit", answer=b"{}"), False),
        (exchange("POST", "/containers/box/wait?condition=next-exit"), True),
        (exchange("POST", "/containers/box/wait", answer=b"{}"), True),
        (exchange("POST", "/containers/box/start"), False),
    ],
)
def test_greetings_looks_sizes_and_ends_that_nobody_stays_for_are_aside(one, aside):
    assert one.is_aside is aside


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("stdout=1&stderr=True&stdin=0&logs=false", {"stderr": "1", "stdout": "1"}),
        ("t=10&signal=KILL&limit=-1&tail=all", {}),
        ("t=2&signal=HUP&limit=1&tail=5", {"limit": "1", "signal": "HUP", "t": "2", "tail": "5"}),
        ("filters=%7B%22name%22%3A%20%7B%22box%22%3A%20true%7D%7D", {"filters": '{"name":{"box":true}}'}),
    ],
)
def test_options_that_go_without_saying_are_not_shown(query, options):
    assert exchange("POST", f"/x?{query}").options == options


def test_of_what_was_sent_the_fields_that_say_something_are_shown():
    sent = {"Image": "b", "Tty": False, "Cmd": None, "Env": [], "HostConfig": {"Memory": 0, "Init": True, "RestartPolicy": {"Name": ""}}}
    assert exchange("POST", "/x", sent=json.dumps(sent).encode()).fields == {"Image": "b", "HostConfig": {"Init": True}}
    assert exchange("POST", "/x", sent=b"a tar").fields == exchange("POST", "/x", sent=b"[1]").fields == {}


def test_the_last_request_for_something_is_found(wire, client):
    ask(client, "GET", "/containers/json?limit=1")
    ask(client, "GET", "/containers/json?all=1")
    assert wire.last("/containers").options == {"all": "1"}
    with pytest.raises(NotFound, match="images"):
        wire.last("/images")
