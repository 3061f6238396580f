"""Visitors of a web server: what they see, how long they wait, and what is left of one who is cut off."""

import contextlib
import http.server
import socket
import threading

import pytest

from labkit.errors import Conflict, Unreachable
from labkit.lab import service
from labkit.lessons import web

BIG = 1 << 20


class Handler(http.server.BaseHTTPRequestHandler):
    pages = ("<title>t</title><style>p {}</style><h1>Soup &amp;\n bread</h1><p>Monday</p>",)

    def do_GET(self):
        page = self.server.pages.pop(0) if len(self.server.pages) > 1 else self.server.pages[0]
        self.send_response(404 if self.path == "/nothing" else 200)
        if self.path == "/big":
            self.send_header("Content-Length", str(BIG))
            self.end_headers()
            self.wfile.write(b"x" * (BIG // 2))
            self.wfile.flush()
            self.server.may_go_on.wait(10)
            if self.server.is_patient:
                self.wfile.write(b"x" * (BIG // 2))
            return
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.pages, made.may_go_on, made.is_patient = list(Handler.pages), threading.Event(), True
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def site(server):
    return web.Site(port=server.server_address[1])


@pytest.fixture(autouse=True)
def _nothing_is_promised(monkeypatch):
    monkeypatch.setattr(web, "_promised", {})


def test_a_visitor_sees_words_and_not_how_they_are_set(site):
    answer = site.get()
    assert answer.words == "Soup & bread Monday"
    assert repr(answer) == "200 OK · Soup & bread Monday"
    assert answer.server.startswith("BaseHTTP") and "<h1>" in answer.page


def test_what_is_not_there_is_an_answer_too(site):
    assert site.get("/nothing").told == "404 Not Found"


def test_a_status_that_nobody_knows_is_told_by_its_number():
    assert web.Answer(599).told == repr(web.Answer(599)) == "599"


def test_one_waits_for_the_page_to_change(site, server):
    server.pages = ["Monday", "Monday", "Tuesday"]
    assert site.becomes("/", "Tuesday")
    assert not site.becomes("/", "Wednesday", patience=0)


def test_one_waits_for_a_server_that_is_not_there_yet(server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    late = http.server.HTTPServer(("127.0.0.1", port), Handler, bind_and_activate=False)
    late.pages = list(Handler.pages)
    answers = []
    visitor = threading.Thread(target=lambda: answers.append(web.Site(port=port).get()))
    visitor.start()
    late.server_bind()
    late.server_activate()
    late.handle_request()
    visitor.join()
    late.server_close()
    assert answers[0].status == 200


def test_nobody_is_unreachable():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="Connection refused"):
            web.Site(port=held.getsockname()[1]).get(patience=0)


def test_a_guest_has_begun_and_gets_the_rest_when_he_stays(site, server):
    guest = site.guest("/big")
    assert not guest.has_all
    server.may_go_on.set()
    assert guest.stays().has_all
    assert repr(guest) == "a guest has 1,048,576 of 1,048,576 bytes"


def test_a_guest_who_is_cut_off_keeps_what_he_has(site, server):
    server.is_patient = False
    guest = site.guest("/big")
    server.may_go_on.set()
    assert repr(guest.stays()) == "a guest has 524,288 of 1,048,576 bytes"
    assert not guest.has_all


def test_ports_are_the_first_that_are_free_and_one_for_each_name(monkeypatch):
    busy = {8080, 8082}
    monkeypatch.setattr(service, "is_free", lambda host, port: port not in busy)
    assert [web.Site(name).port for name in ("web", "door", "web")] == [8081, 8083, 8081]


def test_a_port_that_another_program_has_taken_meanwhile_is_given_up(monkeypatch):
    busy = set()
    monkeypatch.setattr(service, "is_free", lambda host, port: port not in busy)
    assert repr(web.Site("web")) == "http://127.0.0.1:8080"
    busy.add(8080)
    assert web.Site("web").port == 8081


def test_a_machine_without_a_free_port_is_a_conflict(monkeypatch):
    monkeypatch.setattr(service, "is_free", lambda host, port: False)
    with pytest.raises(Conflict, match="8080 to 8179"), contextlib.suppress(KeyError):
        web.Site("web")
