"""What is no request that makes sense is answered with a 4xx and a sentence, never with a traceback, and the daemon goes on.

Raw bytes are sent to the socket: no client would let these through.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, unquote

import pytest

from tests.daemons import DOCKER, Daemon, ask
from tests.linux.daemon.sentences import is_a_sentence, send

pytestmark = pytest.mark.skipif(not DOCKER, reason="no docker client is installed")

LONG = "x" * 10_000
HOST = b"Host: docker\r\n"


@pytest.fixture(scope="module", autouse=True)
def _box(daemon: Daemon) -> Iterator[None]:
    daemon.docker.says("run", "-d", "--name=box", "--network=none", "busybox", "sleep", "100000")
    yield
    daemon.docker.says("rm", "--force", "box")


@pytest.fixture(autouse=True)
def _daemon_goes_on_and_logs_no_traceback(daemon: Daemon) -> Iterator[None]:
    before = daemon.log.read_text()
    yield
    assert ask(daemon.socket, "GET", "/_ping") == (200, b"OK")
    assert "Traceback" not in daemon.log.read_text().removeprefix(before)


MALFORMED = {
    "no HTTP at all": b"hello\r\n\r\n",
    "zeros": bytes(100),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "an unknown protocol": b"GET /_ping SPDY/3\r\n" + HOST + b"\r\n",
    "a version to come": b"GET /_ping HTTP/9.9\r\n" + HOST + b"\r\n",
    "no host": b"GET /_ping HTTP/1.1\r\n\r\n",
    "a space in the path": b"GET /containers/a b/json HTTP/1.1\r\n" + HOST + b"\r\n",
    "a control character in the path": b"GET /containers/\x01/json HTTP/1.1\r\n" + HOST + b"\r\n",
    "a header without a colon": b"GET /_ping HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n",
    "a header with a zero": b"GET /_ping HTTP/1.1\r\n" + HOST + b"A: \0\r\n\r\n",
    "a huge header": b"GET /_ping HTTP/1.1\r\n" + HOST + b"A: " + b"x" * (1 << 20) + b"\r\n\r\n",
    "very many headers": b"GET /_ping HTTP/1.1\r\n" + HOST + b"A: x\r\n" * 100_000 + b"\r\n",
    "a huge line": b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a length that is none": b"POST /containers/create HTTP/1.1\r\n" + HOST + b"Content-Length: many\r\n\r\n",
    "a negative length": b"POST /containers/create HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "two lengths": b"POST /containers/create HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "an unknown encoding": b"POST /containers/create HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: nonsense\r\n\r\n",
    "a chunk without a size": b"POST /images/load HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    "a chunk of huge size": b"POST /images/load HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\n",
    "a chunk that goes on": b"POST /images/load HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxxxx\r\n0\r\n\r\n",
    "a method that is none": b"BREW /containers/json HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method for something else": b"PATCH /containers/json HTTP/1.1\r\n" + HOST + b"\r\n",
    "a version that is none": b"GET /v99.99/containers/json HTTP/1.1\r\n" + HOST + b"\r\n",
    "a version that is too old": b"GET /v1.2/containers/json HTTP/1.1\r\n" + HOST + b"\r\n",
    "filters that are no JSON": b"GET /containers/json?filters={ HTTP/1.1\r\n" + HOST + b"\r\n",
    "filters of another type": b"GET /containers/json?filters=[1] HTTP/1.1\r\n" + HOST + b"\r\n",
    "a number that is none": b"POST /containers/box/stop?t=x HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
    "a size that is none": b"POST /containers/box/resize?h=x&w=-5 HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
    "a huge number": b"POST /containers/box/resize?h=99999999999&w=1 HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
    "very many parameters": b"GET /containers/json?" + b"a=b&" * 10_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused_with_a_sentence(name: str, daemon: Daemon) -> None:
    status, text = send(daemon, MALFORMED[name])
    assert 400 <= status < 500 and is_a_sentence(text), (status, text)


BODIES = r"""
{
[]
1
"x"
null
nul
{}{}
{"Image": 1}
{"Image": null}
{"Image": ["x"]}
{BOX, "Cmd": 1}
{BOX, "Cmd": [1]}
{BOX, "Cmd": {"a": 1}}
{BOX, "Env": [null]}
{BOX, "Env": "A=b"}
{BOX, "HostConfig": 1}
{BOX, "HostConfig": {"Memory": "64m"}}
{BOX, "HostConfig": {"Memory": 1e30}}
{BOX, "HostConfig": {"Memory": -5}}
{BOX, "HostConfig": {"NanoCpus": true}}
{BOX, "HostConfig": {"Binds": [1]}}
{BOX, "HostConfig": {"Binds": ["::::"]}}
{BOX, "HostConfig": {"Binds": ["/a:/b:nonsense"]}}
{BOX, "HostConfig": {"NetworkMode": 7}}
{BOX, "HostConfig": {"RestartPolicy": "always"}}
{BOX, "HostConfig": {"LogConfig": {"Config": {"a": 1}}}}
{BOX, "HostConfig": {"Ulimits": [{"Name": 1}]}}
{BOX, "HostConfig": {"Mounts": [{"Type": "bind"}]}}
{BOX, "HostConfig": {"PortBindings": {"80": 1}}}
{BOX, "HostConfig": {"PortBindings": {"x/y": [{}]}}}
{BOX, "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}}
{BOX, "ExposedPorts": ["80"]}
{BOX, "Healthcheck": {"Interval": "1s"}}
{BOX, "StopTimeout": "x"}
{BOX, "Labels": {"a": 1}}
{BOX, "WorkingDir": "no/slash"}
{BOX, "Hostname": "LONG"}
{BOX, "Hostname": "a\u0000b"}
{BOX, "Cmd": ["a\u0000b"]}
{BOX, "Env": ["A=\u0000"]}
{"Image": "LONG"}
{BOX, "HostConfig": {"Sysctls": {"a": "b"}}}
{BOX, "HostConfig": {"Devices": [{"PathOnHost": 1}]}}
{BOX, "NetworkingConfig": {"EndpointsConfig": []}}
{BOX, "HostConfig": {"Tmpfs": {"rel": ""}}}
{BOX, "HostConfig": {"CapAdd": ["LONG"]}}
"""
WRONG = [line.replace("BOX", '"Image": "busybox"').replace("LONG", LONG) for line in BODIES.split("\n")[1:]]
WRONG += ["\xff", '{"a":' * 100_000, "1" * 100_000, '{"Image": "busybox", "HostConfig": {"Memory": ' + "9" * 400 + "}}"]
TARGETS = ["/containers/create", "/containers/box/update", "/containers/box/exec", "/exec/nosuch/start"]
TARGETS += ["/volumes/create", "/networks/create", "/auth"]


@pytest.mark.parametrize("body", WRONG, ids=lambda text: text[:70].replace("/", "-").replace("\\", "-"))
def test_a_container_of_wrong_json_is_refused_with_a_sentence(body: str, daemon: Daemon) -> None:
    data = body.encode("latin-1")
    head = b"POST /containers/create HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data)
    status, text = send(daemon, head + data)
    assert 400 <= status < 500 and is_a_sentence(text), (status, text)
    assert daemon.docker.says("ps", "--all", "--format", "{{.Names}}") == "box"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("body", ["{", "[]", "7", '{"Cmd": 1, "Name": 1, "Memory": "x", "Detach": "y", "username": 7}', "[" * 100_000])
def test_wrong_json_is_refused_everywhere(target: str, body: str, daemon: Daemon) -> None:
    head = f"POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    status, text = send(daemon, (head + body).encode())
    assert 400 <= status < 500 and is_a_sentence(text), (status, text)


NAMED = """
GET /containers/{}/json
GET /containers/{}/logs?stdout=1
POST /containers/{}/start
POST /containers/{}/stop
POST /containers/{}/kill
POST /containers/{}/wait
POST /containers/{}/attach?stream=1&stdout=1
POST /containers/{}/pause
POST /containers/{}/rename?name=a
POST /containers/box/rename?name={}
POST /containers/box/kill?signal={}
DELETE /containers/{}
GET /containers/{}/archive?path=/
GET /containers/box/archive?path={}
HEAD /containers/box/archive?path={}
GET /containers/{}/top
GET /containers/box/top?ps_args=-{}
GET /containers/{}/stats?stream=0
GET /containers/{}/changes
GET /containers/{}/export
GET /images/{}/json
DELETE /images/{}
POST /images/{}/tag?repo=a
POST /images/busybox/tag?repo={}
POST /images/busybox/tag?repo=a&tag={}
GET /images/{}/history
GET /images/{}/get
POST /commit?container={}
POST /commit?container=box&repo={}
GET /volumes/{}
DELETE /volumes/{}
GET /networks/{}
DELETE /networks/{}
GET /exec/{}/json
POST /containers/create?name={}
GET /{}
POST /images/create?fromImage={}
GET /containers/box/logs?stdout=1&since={}
GET /events?since={}&until=1
POST /containers/box/attach?stream=1&stdout=1&detachKeys={}
"""
NAMES = [LONG, "../../etc/passwd", "%00", "a%0Ab", "ü" * 300, "%ff%fe", "a/../b", "{{.}}", "' or 1=1"]


POSSIBLE = [(LONG, "GET /containers/box/top?ps_args=-{}")]  # `ps -xxx` is `ps -x`
POSSIBLE += [("../../etc/passwd", f"{method} /containers/box/archive?path={{}}") for method in ("GET", "HEAD")]  # its own /etc/passwd
IMPOSSIBLE = [(name, line) for line in NAMED.split("\n")[1:-1] for name in NAMES if (name, line) not in POSSIBLE]


@pytest.mark.parametrize(("name", "line"), IMPOSSIBLE, ids=lambda text: text[:40])
def test_impossible_names_are_refused_with_a_sentence(name: str, line: str, daemon: Daemon) -> None:
    method, target = line.format(name if "%" in name else quote(name)).split(" ", 1)
    body = b'{"Image": "busybox"}' if "create?name" in line else b""
    head = f"{method} {target} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    status, text = send(daemon, head + body)
    assert 400 <= status < 500, (status, text[:300])
    for echo in (unquote(name), name):
        text = text.replace(echo, "NAME").replace(echo[:60], "NAME")
    assert method == "HEAD" or is_a_sentence(text), (status, text)
