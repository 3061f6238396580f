"""A lesson's own daemon, and the tap before it: there when it is needed, gone with the lesson, and found after an accident."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from labkit import lessons
from labkit.engine import networks
from labkit.errors import LabError
from labkit.lessons import daemons, traffic
from labkit.lessons.terminals import terminal
from labkit.linux import links, processes
from labkit.views.lifecycle import RUNNING, STOPPED, Life

NOTEBOOK = "97-test"

KERNEL = f"""
import sys
from labkit import lessons
from labkit.lessons import daemons
daemon = daemons.start(lessons.begin({NOTEBOOK!r}))
daemon.ask("POST", "/containers/create?name=box", {{"Image": "busybox", "Cmd": ["sleep", "600"]}})
daemon.ask("POST", "/containers/box/start")
print(daemon.pid, daemon.ask("GET", "/containers/box/json").json["State"]["Pid"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lesson():
    begun = lessons.begin(NOTEBOOK)
    yield begun
    assert begun.end(), begun.remains()


@pytest.fixture
def daemon(lesson):
    return daemons.start(lesson)


def run(daemon, name, *command):
    """A container that runs; the PID of its process."""
    assert daemon.ask("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": list(command)}).status == 201
    assert daemon.ask("POST", f"/containers/{name}/start").status == 204
    return daemon.ask("GET", f"/containers/{name}/json").json["State"]["Pid"]


# ── The daemon ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_answers_and_has_one_image_and_no_container(daemon):
    assert daemon.ask("GET", "/_ping").body == b"OK"
    assert [image["RepoTags"] for image in daemon.ask("GET", "/images/json").json] == [["busybox:latest"]]
    assert daemon.ask("GET", "/containers/json?all=1").json == []


def test_a_cell_that_is_run_again_gets_the_one_that_runs(lesson, daemon):
    pid = run(daemon, "box", "sleep", "600")
    again = daemons.start(lesson)
    assert again.pid == daemon.pid and processes.alive(pid)


def test_what_a_container_prints_is_heard(daemon):
    run(daemon, "box", "sh", "-c", "echo out; echo err >&2; sleep 600")
    assert daemon.heard("box", "err") and sorted(daemon.logs("box").split()) == ["err", "out"]
    assert daemon.logs("nosuch") == ""


def test_what_is_never_said_is_not_waited_for_for_ever(daemon, monkeypatch):
    monkeypatch.setattr(daemons, "_PATIENCE", 0.1)
    run(daemon, "box", "true")
    assert not daemon.heard("box", "anything")


def test_what_is_removed_is_gone_in_whatever_state_it_was(daemon):
    run(daemon, "box", "sleep", "600")
    daemon.ask("POST", "/containers/create?name=new", {"Image": "busybox"})
    daemon.remove("box", "new", "nosuch")
    assert daemon.ask("GET", "/containers/json?all=1").json == []


def test_it_tells_what_happens_until_it_ends(daemon):
    seen, listening = [], threading.Event()

    def listen():
        for event in daemon.events():
            seen.append(event["Action"])
            listening.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    while not listening.wait(0.05):  # until the listener is there: what was before that, it does not hear
        daemon.ask("POST", "/containers/create", {"Image": "busybox"})
    daemon.stop()
    listener.join(10)
    assert not listener.is_alive() and set(seen) == {"create"}


def test_containers_outlive_a_daemon_that_is_killed_and_the_next_one_knows_them(daemon):
    pid = run(daemon, "box", "sleep", "600")
    first = daemon.pid
    daemon.kill()
    assert not daemon.running and processes.alive(pid)
    daemon.start()
    assert daemon.pid != first and daemon.ask("GET", "/containers/box/json").json["State"]["Pid"] == pid


def test_the_lesson_takes_containers_and_daemon_along(lesson, daemon):
    pids = daemon.pid, run(daemon, "box", "sleep", "600"), run(daemon, "web", "httpd", "-f")
    assert lesson.end()
    assert not any(map(processes.alive, pids)) and not os.path.exists(daemon.data) and not os.path.exists(daemon.run)


def test_it_takes_containers_along_whose_daemon_was_killed(lesson, daemon):
    pid = run(daemon, "box", "sleep", "600")
    daemon.kill()
    assert lesson.end()
    assert not processes.alive(pid) and not links.exists(networks.called(daemon.run)[0])


def test_the_next_one_takes_the_bridges_of_users_networks_along_that_one_which_was_killed_has_left(lesson, daemon):
    daemon.ask("POST", "/networks/create", {"Name": "blue"})
    bridge = f"lk-{daemon.ask('GET', '/networks/blue').json['Id'][:12]}"
    daemon.ask("POST", "/containers/create?name=box", {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "blue"}})
    daemon.ask("POST", "/containers/box/start")
    assert links.exists(bridge)
    daemon.kill()
    daemons.start(lessons.begin(NOTEBOOK))
    assert not links.exists(bridge)


def test_a_lesson_that_begins_again_begins_without_containers(daemon):
    pid, former = run(daemon, "box", "sleep", "600"), daemon.pid
    again = daemons.start(lessons.begin(NOTEBOOK))
    assert not processes.alive(pid) and not processes.alive(former)
    assert again.ask("GET", "/containers/json?all=1").json == []


def test_a_notebook_that_was_killed_takes_its_daemon_along_and_the_next_one_finds_an_empty_stage():
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    daemon, container = map(int, kernel.stdout.readline().split())
    with kernel.stdin, kernel.stdout:
        ended = processes.pidfd(daemon)
        kernel.send_signal(signal.SIGKILL)
        kernel.wait(10)
        assert processes.wait(ended, 10)
        os.close(ended)
    assert processes.alive(container)
    lesson = lessons.begin(NOTEBOOK)
    assert not processes.alive(container)
    assert processes.alive(run(daemons.start(lesson), "box", "sleep", "600"))
    assert lesson.end(), lesson.remains()


def test_one_that_cannot_start_shows_the_end_of_its_log(daemon):
    daemon.stop()
    with open(daemon.config, "w") as file:
        json.dump({"registry-mirors": []}, file)
    with pytest.raises(LabError, match="registry-mirors"):
        daemon.start()


# ── The tap, and who sits before it ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def wire(lesson, daemon):
    return traffic.tap(lesson, daemon.socket)


def test_docker_finds_the_daemon_through_the_tap_and_what_it_asks_is_written_down(wire):
    assert terminal("docker run --name=box busybox echo hello").text == "hello"
    assert [str(each) for each in wire.news()] == [
        "POST /containers/create?name=box → 201",
        "POST /containers/box/attach?stderr=1&stdout=1&stream=1 → 101",
        "POST /containers/box/wait?condition=next-exit → 200",
        "POST /containers/box/start → 204",
    ]
    assert wire.last("/attach").answer == b"\x01\0\0\0\0\0\0\x06hello\n"
    assert json.loads(wire.last("/wait").answer)["StatusCode"] == 0


def test_a_terminal_is_left_and_come_back_to(daemon, wire):
    first = terminal("docker run -i -t --name=desk busybox", "x=remembered", "ctrl-p ctrl-q")
    assert first.code == 0 and daemon.ask("GET", "/containers/desk/json").json["State"]["Running"]
    assert "remembered" in terminal("docker attach desk", "echo $x", "exit").text.splitlines()
    assert not daemon.ask("GET", "/containers/desk/json").json["State"]["Running"]


def test_input_and_its_end_go_through_and_output_comes_back_whole(wire):
    command = "head -c 3000000 /dev/zero | docker run -i --rm busybox sh -c 'wc -c; head -c 2000000 /dev/zero' | wc -c"
    assert int(terminal(command).text) == 2_000_000 + len("3000000\n")


def test_with_the_lesson_the_tap_and_its_variable_are_gone(lesson, daemon, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///somewhere/else.sock")
    wire = traffic.tap(lesson, daemon.socket)
    assert os.environ["DOCKER_HOST"] == wire.host
    assert lesson.end()
    assert os.environ["DOCKER_HOST"] == "unix:///somewhere/else.sock" and not os.path.exists(wire.path)


def test_the_view_of_a_life_follows_the_real_daemon(daemon, wire):
    moved = threading.Event()
    life = Life(daemon, "box")
    life.send("docker run -d --name box busybox sleep 600")
    assert life.place == RUNNING and "✔ " in str(life)
    life.send("docker rm box")
    assert life.place == RUNNING and "✘ Error response from daemon: You cannot remove a running container" in str(life)
    life.widget().children[1].observe(lambda change: moved.set() if "docker says: exited" in change["new"] else None, "value")
    while not moved.wait(0.05):  # the follower may not be listening yet
        daemon.ask("POST", "/containers/box/start")
        daemon.ask("POST", "/containers/box/kill")
    assert life.place == STOPPED
