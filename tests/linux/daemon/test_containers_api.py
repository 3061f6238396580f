"""Containers over the wire: what clients wait for comes when they wait for it, and in Docker's form."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.linux.daemon.speaking import SECONDS, Client, frames, output, rest

STREAMS = "stream=1&stdout=1&stderr=1"


def test_docker_run_request_by_request(client: Client) -> None:
    id = client.create("sh", "-c", "echo out; echo err >&2; exit 7", AttachStdout=True, AttachStderr=True)
    with client.hijacked("POST", f"/v1.47/containers/{id}/attach?{STREAMS}") as attached:
        attached.shutdown(socket.SHUT_WR)
        with client.streaming("POST", f"/v1.47/containers/{id}/wait?condition=next-exit") as waiting:
            assert waiting.status == 200  # the head is here, and the container does not run yet
            assert client.ask("POST", f"/v1.47/containers/{id}/start").status == 204
            said = rest(attached)
            assert waiting.read() == b'{"Error": null, "StatusCode": 7}\n'
    assert sorted(frames(said)) == [(1, b"out\n"), (2, b"err\n")]


def test_with_rm_the_status_comes_when_the_container_is_gone(client: Client) -> None:
    id = client.create("sh", "-c", "exit 5", host={"AutoRemove": True})
    with client.streaming("POST", f"/containers/{id}/wait?condition=removed") as waiting:
        client.ask("POST", f"/containers/{id}/start")
        assert b'"StatusCode": 5' in waiting.read()
    assert client.ask("GET", f"/containers/{id}/json").status == 404


def test_input_goes_in_and_its_end_too(client: Client) -> None:
    id = client.create("cat", OpenStdin=True, StdinOnce=True, AttachStdin=True)
    with client.hijacked("POST", f"/containers/{id}/attach?{STREAMS}&stdin=1") as attached:
        client.ask("POST", f"/containers/{id}/start")
        attached.sendall(b"hello ")
        attached.sendall(b"world")
        attached.shutdown(socket.SHUT_WR)
        assert output(rest(attached)) == b"hello world"
    assert client.ended(id) == 0


def test_what_a_client_sends_right_behind_the_head_of_its_request_is_input(client: Client) -> None:
    id = client.create("cat", OpenStdin=True, StdinOnce=True)
    head = f"POST /containers/{id}/attach?stdin=1&{STREAMS} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    with client.connected() as line:
        line.sendall(head.encode() + b"early")
        line.shutdown(socket.SHUT_WR)
        assert line.recv(12) == b"HTTP/1.1 101"
        client.ask("POST", f"/containers/{id}/start")
        assert rest(line).endswith(b"\x01\0\0\0\0\0\0\x05early")


def test_a_terminal_is_raw_has_a_size_and_is_left_with_ctrl_p_ctrl_q(client: Client) -> None:
    id = client.create("sh", "-c", "while read line; do stty size; done", Tty=True, OpenStdin=True, StdinOnce=True)
    with client.hijacked("POST", f"/containers/{id}/attach?{STREAMS}&stdin=1") as attached:
        client.ask("POST", f"/containers/{id}/start")
        assert client.ask("POST", f"/containers/{id}/resize?h=40&w=100").status == 200
        attached.sendall(b"\r")
        heard = b""
        while b"40 100\r\n" not in heard:
            heard += attached.recv(1000)
        attached.sendall(b"\x10")
        attached.sendall(b"\x11")
        assert rest(attached) == b""
    assert client.get(f"/containers/{id}/json")["State"]["Running"]
    with client.hijacked("POST", f"/containers/{id}/attach?{STREAMS}&stdin=1&detachKeys=x") as again:
        again.sendall(b"x")
        assert rest(again) == b""


def test_attached_with_logs_the_past_comes_first(client: Client) -> None:
    id = client.started("sh", "-c", "echo past; read line; echo $line", OpenStdin=True)
    while not client.ask("GET", f"/containers/{id}/logs?stdout=1").data:
        pass
    with client.hijacked("POST", f"/containers/{id}/attach?{STREAMS}&stdin=1&logs=1") as attached:
        attached.sendall(b"present\n")
        assert output(rest(attached)) == b"past\npresent\n"
    assert output(client.ask("POST", f"/containers/{id}/attach?logs=1&stdout=1").data) == b"past\npresent\n"


def test_a_container_goes_on_when_who_is_attached_goes_away(client: Client) -> None:
    id = client.started("sh", "-c", "while :; do echo tick; sleep 0.02; done")
    with client.hijacked("POST", f"/containers/{id}/attach?{STREAMS}") as attached:
        assert attached.recv(8)
    before = len(client.ask("GET", f"/containers/{id}/logs?stdout=1").data)
    while len(client.ask("GET", f"/containers/{id}/logs?stdout=1").data) <= before + 100:
        pass
    assert client.get(f"/containers/{id}/json")["State"]["Running"]


def test_the_last_word_of_a_client_that_goes_away_is_heard(client: Client) -> None:
    noise = "(while :; do echo tick; done) & while read word; do echo $word >> /heard; done"
    id = client.started("sh", "-c", noise, OpenStdin=True)
    for number in range(20):
        with client.hijacked("POST", f"/containers/{id}/attach?{STREAMS}&stdin=1") as attached:
            assert attached.recv(8)
            attached.sendall(b"%d\n" % number)
    with client.hijacked("POST", f"/containers/{id}/attach?stream=1&stdin=1") as attached:
        attached.sendall(b"bye\n")
    wanted = "".join(f"{number}\n" for number in range(20)) + "bye\n"
    script = f"until test $(wc -c < /heard) -ge {len(wanted)}; do :; done; cat /heard"
    made = client.ask("POST", f"/containers/{id}/exec", {"Cmd": ["sh", "-c", script], "AttachStdout": True})
    with client.hijacked("POST", f"/exec/{made.json['Id']}/start", {"Detach": False, "Tty": False}) as line:
        assert output(rest(line)) == wanted.encode()


def test_a_program_that_reads_hears_the_end_when_its_only_client_is_killed(client: Client) -> None:
    id = client.create("cat", OpenStdin=True, StdinOnce=True)
    with client.hijacked("POST", f"/containers/{id}/attach?{STREAMS}&stdin=1"):
        client.ask("POST", f"/containers/{id}/start")
    assert client.ended(id) == 0


def test_a_client_that_never_reads_holds_up_its_own_container_alone(client: Client) -> None:
    loud = client.create("sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; done")
    with client.hijacked("POST", f"/containers/{loud}/attach?{STREAMS}"):
        client.ask("POST", f"/containers/{loud}/start")
        for _ in range(5):
            assert client.ended(client.started("true")) == 0
        assert client.ask("POST", f"/containers/{loud}/kill").status == 204
        assert client.ended(loud) == 137


def test_many_wait_and_nobody_else_has_to(client: Client) -> None:
    id = client.started("sleep", "1000")
    lines = []
    try:
        for _ in range(100):
            line = socket.socket(socket.AF_UNIX)
            line.connect(client.path)
            line.sendall(f"POST /containers/{id}/wait HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n".encode())
            lines.append(line)
        begun = time.monotonic()
        assert client.get("/containers/json")[0]["Id"] == id
        assert time.monotonic() - begun < 5
        client.ask("POST", f"/containers/{id}/kill")
        for line in lines:
            line.settimeout(SECONDS)
            said = b""
            while b'"StatusCode": 137' not in said:
                said += line.recv(1000)
    finally:
        for line in lines:
            line.close()


def test_many_stop_at_once_and_the_daemon_answers_meanwhile(client: Client) -> None:
    ids = [client.started("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done") for _ in range(24)]
    stopping = [threading.Thread(target=client.ask, args=("POST", f"/containers/{id}/stop?t=2")) for id in ids]
    for thread in stopping:
        thread.start()
    begun = time.monotonic()
    for _ in range(10):
        client.get("/version")
        client.get(f"/containers/{ids[0]}/json")
    assert time.monotonic() - begun < 2
    for thread in stopping:
        thread.join()
    assert client.get("/containers/json") == []


# exec


def test_exec_says_what_it_says_and_then_its_exit_code_is_known(client: Client) -> None:
    id = client.started("sleep", "1000")
    for _ in range(10):
        made = client.ask("POST", f"/containers/{id}/exec", {"Cmd": ["sh", "-c", "echo hi; exit 3"], "AttachStdout": True})
        assert made.status == 201
        with client.hijacked("POST", f"/exec/{made.json['Id']}/start", {"Detach": False, "Tty": False}) as line:
            line.shutdown(socket.SHUT_WR)
            assert output(rest(line)) == b"hi\n"
        found = client.get(f"/exec/{made.json['Id']}/json")
        assert (found["Running"], found["ExitCode"]) == (False, 3)


def test_an_exec_that_is_none_is_told_so(client: Client) -> None:
    id = client.started("sleep", "1000")
    assert client.ask("POST", "/exec/nosuch/start", {}).status == 404
    exec_id = client.ask("POST", f"/containers/{id}/exec", {"Cmd": ["true"]}).json["Id"]
    assert client.ask("POST", f"/exec/{exec_id}/start", {"Detach": True}).status == 200
    assert client.ask("POST", f"/exec/{exec_id}/start", {"Detach": True}).status == 409
    with client.hijacked("POST", f"/exec/{exec_id}/start", {}) as line:
        assert output(rest(line)).startswith(b"Error: Exec command ")


def test_exec_passes_input_on(client: Client) -> None:
    id = client.started("sleep", "1000")
    wanted = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
    exec_id = client.ask("POST", f"/containers/{id}/exec", wanted).json["Id"]
    with client.hijacked("POST", f"/exec/{exec_id}/start", {"Detach": False}) as line:
        line.sendall(b"typed")
        line.shutdown(socket.SHUT_WR)
        assert output(rest(line)) == b"typed"


def test_exec_detached_answers_at_once(client: Client) -> None:
    id = client.started("sleep", "1000")
    exec_id = client.ask("POST", f"/containers/{id}/exec", {"Cmd": ["sh", "-c", "sleep 0.2; exit 4"]}).json["Id"]
    assert client.ask("POST", f"/exec/{exec_id}/start", {"Detach": True}).status == 200
    while client.get(f"/exec/{exec_id}/json")["Running"]:
        pass
    assert client.get(f"/exec/{exec_id}/json")["ExitCode"] == 4


def test_what_cannot_be_executed_is_said_where_its_output_would_be(client: Client) -> None:
    id = client.started("sleep", "1000")
    exec_id = client.ask("POST", f"/containers/{id}/exec", {"Cmd": ["nosuch"], "AttachStdout": True}).json["Id"]
    with client.hijacked("POST", f"/exec/{exec_id}/start", {}) as line:
        assert b'exec: "nosuch": executable file not found in $PATH' in output(rest(line))
    assert client.get(f"/exec/{exec_id}/json")["ExitCode"] == 126


# logs and events


def test_logs_are_frames_of_a_line_each_and_follow_to_the_end(client: Client) -> None:
    id = client.started("sh", "-c", "echo one; echo two >&2; read line; echo three", OpenStdin=True)
    with client.streaming("GET", f"/containers/{id}/logs?stdout=1&stderr=1&follow=1") as following:
        assert following.status == 200
        for _ in range(1000):  # two pipes tell of them: "two" is to be in the log before "three" is asked for
            if len(frames(client.ask("GET", f"/containers/{id}/logs?stdout=1&stderr=1").data)) == 2:
                break
        with client.hijacked("POST", f"/containers/{id}/attach?stream=1&stdin=1&stdout=1") as typing:
            typing.sendall(b"\n")
            rest(typing)
        assert sorted(frames(following.read())) == [(1, b"one\n"), (1, b"three\n"), (2, b"two\n")]
    assert frames(client.ask("GET", f"/containers/{id}/logs?stdout=1&tail=1").data) == [(1, b"three\n")]
    assert client.ask("GET", f"/containers/{id}/logs").message == "Bad parameters: you must choose at least one stream"


def test_who_follows_a_quiet_log_costs_no_thread(client: Client, daemon_threads: Callable[[], int]) -> None:
    id = client.started("sleep", "1000")
    lines = []
    try:
        for target in (f"/containers/{id}/logs?stdout=1&follow=1", "/events", f"/containers/{id}/wait") * 20:
            line = socket.socket(socket.AF_UNIX)
            line.connect(client.path)
            method = "POST" if "wait" in target else "GET"
            line.sendall(f"{method} {target} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n".encode())
            assert line.recv(12) == b"HTTP/1.1 200"
            lines.append(line)
        assert daemon_threads() < 30
    finally:
        for line in lines:
            line.close()


def test_events_come_as_they_happen_and_end_at_their_end(client: Client) -> None:
    begun = int(time.time())
    with client.streaming("GET", '/events?filters={"type":["container"]}') as events:
        id = client.started("true")
        client.ended(id)
        actions = []
        while "die" not in actions:
            line = events.readline()
            assert line.endswith(b"}\n")
            actions.append(line.partition(b'"Action": "')[2].partition(b'"')[0].decode())
    assert actions == ["create", "start", "die"]
    kept = client.ask("GET", f"/events?since={begun}&until={int(time.time()) + 1}").lines
    assert [event["Action"] for event in kept if event.get("id") == id] == actions
    assert client.ask("GET", "/events?since=10&until=5").status == 400


def test_who_listens_is_forgotten_when_it_goes(client: Client) -> None:
    assert client.get("/info")["NEventsListener"] == 0
    with client.streaming("GET", "/events"):
        assert client.get("/info")["NEventsListener"] == 1
    while client.get("/info")["NEventsListener"]:
        pass


def test_statistics_come_each_second_until_nobody_wants_them(client: Client) -> None:
    id = client.started("sleep", "1000")
    with client.streaming("GET", f"/containers/{id}/stats") as stats:
        assert b'"pids_stats"' in stats.readline()
        assert b'"pids_stats"' in stats.readline()
    assert client.ask("GET", f"/containers/{id}/stats?stream=False&one-shot=1").json["pids_stats"]["current"] == 1


@pytest.mark.parametrize("method", ["stop", "start", "wait", "restart"])
def test_two_names_for_one_container_are_one(client: Client, method: str) -> None:
    id = client.create("true", name="box")
    for name in ("box", "/box", "%2Fbox", id, id[:12]):
        assert client.ask("GET", f"/containers/{name}/json").json["Id"] == id
        assert client.ask("POST", f"/containers/{name}/{method}?t=1").status in (200, 204, 304)
