"""nginx from pull to an own image, typed at the unmodified docker client, on labkit and on dockerd: the same pages, logs and ends.

Each daemon is in a network namespace of its own, and the visitors are in there with it. The image is the lab's own; it comes from a
registry in that namespace which the daemon has for a mirror, as in a class.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import lessons
from labkit.lab import registry as lab_registry
from labkit.lessons import hub
from tests.daemons import DOCKER, HAS_DOCKERD, Daemon, dockerd, labkit_daemon, registry
from tests.registries import require
from tests.visitors import PORT, Visitor, get, get_status, until

pytestmark = [pytest.mark.skipif(not DOCKER, reason="docker is not installed"), pytest.mark.timeout(300)]

Run = Callable[..., None]
PAGES = "/usr/share/nginx/html"
FILM = 300_000
SLOW = "server { listen 80; root /srv; limit_rate 100k; }\n"


@pytest.fixture(scope="module")
def images() -> Iterator[str]:
    """The directory of a registry that has nginx."""
    require()
    lesson = lessons.begin("93-test")
    hub.stocked(lesson)
    lesson.end()
    return lab_registry.DATA


@pytest.fixture(scope="module", params=[labkit_daemon, *([dockerd] if HAS_DOCKERD else [])], ids=lambda start: start.__name__)
def daemon(request: pytest.FixtureRequest, images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a mirror that has nginx; its containers publish ports in a network of its own."""
    place = tmp_path_factory.mktemp("nginx") / "daemon"
    with request.param(place, registry_mirrors=["http://localhost:5000"]) as running:
        shutil.copytree(images, place / "registry")
        with registry(running):
            running.docker.says("pull", "nginx")
            running.docker.says("run", "--rm", "nginx", "true")  # what is made for a first container stays
            yield running


@pytest.fixture(autouse=True)
def _empty(daemon: Daemon) -> Iterator[None]:
    """No container, volume or network is left of a test, and no image but the one."""
    yield
    docker = daemon.docker
    if left := docker("ps", "--all", "--quiet").out.split():
        docker.says("rm", "--force", "--volumes", *left)
    for volume in docker.says("volume", "ls", "--quiet").split():
        docker.says("volume", "rm", volume)
    docker.says("network", "prune", "--force")
    for name in docker.says("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        if name not in ("nginx:latest", "<none>:<none>"):
            docker.says("rmi", "--force", name)


@pytest.fixture
def run(daemon: Daemon) -> Run:
    """``run("-v", …)``: nginx in the container ``web``, published, and answering."""

    def start(*options: str, image: str = "nginx") -> None:
        daemon.docker.says("run", "-d", "-p", f"{PORT}:80", "--name", "web", *options, image)
        Visitor(daemon, f"http://127.0.0.1:{PORT}/").stays()

    return start


def logs(daemon: Daemon, words: str) -> tuple[str, str]:
    """What the container has written to either stream, when these words are in it."""
    until(lambda: words in "".join((said := daemon.docker("logs", "web")).out + said.err))
    said = daemon.docker("logs", "web")
    return said.out, said.err


def slow(place: Path) -> list[str]:
    """The options for a film that takes three seconds."""
    (place / "films").mkdir()
    place.chmod(0o755)
    (place / "films/film").write_bytes(b"x" * FILM)
    (place / "slow.conf").write_text(SLOW)
    return ["-v", f"{place}/films:/srv:ro", "-v", f"{place}/slow.conf:/etc/nginx/conf.d/default.conf:ro"]


# ── Run ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_pulled_through_the_mirror_under_its_own_name(daemon: Daemon) -> None:
    daemon.docker.says("rmi", "nginx")
    lines = daemon.docker.says("pull", "nginx").splitlines()
    assert lines[0] == "Using default tag: latest"
    assert lines[1] == "latest: Pulling from library/nginx"
    assert lines[-2:] == ["Status: Downloaded newer image for nginx:latest", "docker.io/library/nginx:latest"]


def test_its_page_is_served_at_the_published_port(daemon: Daemon, run: Run) -> None:
    run()
    status, page = get(daemon)
    assert status == 200 and "<h1>nginx answers from a container.</h1>" in page
    assert daemon.docker.says("port", "web", "80/tcp").splitlines()[0] == f"0.0.0.0:{PORT}"
    assert f"0.0.0.0:{PORT}->80/tcp" in daemon.docker.says("ps", "--format", "{{.Ports}}")


def test_capital_p_publishes_what_the_image_exposes(daemon: Daemon) -> None:
    daemon.docker.says("run", "-d", "-P", "--name", "web", "nginx")
    port = int(daemon.docker.says("port", "web", "80").splitlines()[0].rpartition(":")[2])
    assert get(daemon, port=port)[0] == 200


def test_who_was_there_is_in_the_log_and_complaints_are_in_the_other_stream(daemon: Daemon, run: Run) -> None:
    run()
    assert get(daemon, "/nothing")[0] == 404
    out, err = logs(daemon, "GET /nothing HTTP/1.1\" 404")
    assert [line.split('"')[1] for line in out.splitlines()] == ["GET / HTTP/1.1", "GET /nothing HTTP/1.1"]
    assert f'open() "{PAGES}/nothing" failed (2: No such file or directory)' in err


def test_its_processes_are_a_master_and_workers(daemon: Daemon, run: Run) -> None:
    run()
    rows = [row.split(maxsplit=2) for row in daemon.docker.says("top", "web", "-o", "pid,user,args").splitlines()[1:]]
    assert rows[0][1:] == ["root", "nginx: master process nginx -g daemon off;"]
    assert {args for _, _, args in rows[1:]} == {"nginx: worker process"}


# ── Stop ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_stop_sends_sigquit_and_a_slow_visitor_gets_all(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    run(*slow(tmp_path))
    visitor = Visitor(daemon, f"http://127.0.0.1:{PORT}/film")
    daemon.docker.says("stop", "web")
    assert visitor.stays()[0] == FILM
    assert daemon.docker.says("inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", "web") == "0 false"
    assert f'"GET /film HTTP/1.1" 200 {FILM}' in logs(daemon, "/film")[0]


def test_sigterm_cuts_him_off_and_is_an_end_in_order_too(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    run(*slow(tmp_path))
    visitor = Visitor(daemon, f"http://127.0.0.1:{PORT}/film")
    daemon.docker.says("kill", "-s", "TERM", "web")
    assert visitor.stays()[0] < FILM
    assert daemon.docker.says("wait", "web") == "0"


def test_a_stop_signal_of_the_container_s_own_goes_before_the_image_s(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    run(*slow(tmp_path), "--stop-signal", "SIGTERM")
    visitor = Visitor(daemon, f"http://127.0.0.1:{PORT}/film")
    daemon.docker.says("stop", "web")
    assert visitor.stays()[0] < FILM
    assert daemon.docker.says("wait", "web") == "0"


def test_one_that_is_not_given_the_time_is_killed(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    run(*slow(tmp_path))
    visitor = Visitor(daemon, f"http://127.0.0.1:{PORT}/film")
    daemon.docker.says("stop", "-t", "0", "web")
    assert visitor.stays()[0] < FILM
    assert daemon.docker.says("wait", "web") == "137"


def test_started_again_it_serves_again(daemon: Daemon, run: Run) -> None:
    run()
    daemon.docker.says("stop", "web")
    daemon.docker.says("start", "web")
    assert get(daemon)[0] == 200


# ── Pages and configuration ──────────────────────────────────────────────────────────────────────────────────────────


def test_pages_of_a_volume_are_seen_as_they_are_changed_and_not_by_the_container(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "index.html").write_text("Monday")
    run("-v", f"{tmp_path}:{PAGES}:ro")
    assert get(daemon) == (200, "Monday")
    (tmp_path / "index.html").write_text("Tuesday")
    assert get(daemon) == (200, "Tuesday")
    refused = daemon.docker("exec", "web", "sh", "-c", f"echo no > {PAGES}/index.html")
    assert refused.code == 2 and "Read-only file system" in refused.err
    assert get(daemon) == (200, "Tuesday")


def test_a_named_volume_begins_with_the_image_s_pages_and_outlives_the_container(daemon: Daemon, run: Run) -> None:
    run("-v", f"pages:{PAGES}")
    assert "nginx answers" in get(daemon)[1]
    daemon.docker.says("exec", "web", "sh", "-c", f"echo Monday > {PAGES}/index.html")
    daemon.docker.says("rm", "-f", "web")
    run("-v", f"pages:{PAGES}")
    assert get(daemon) == (200, "Monday\n")


def test_a_configuration_comes_by_cp_and_is_read_at_a_reload_while_visitors_stay(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    run(*slow(tmp_path)[:2])
    (tmp_path / "slow.conf").chmod(0o644)
    daemon.docker.says("cp", f"{tmp_path}/slow.conf", "web:/etc/nginx/conf.d/default.conf")
    assert get(daemon, "/film")[0] == 404
    pid = daemon.docker.says("inspect", "-f", "{{.State.Pid}}", "web")
    assert "test is successful" in daemon.docker("exec", "web", "nginx", "-t").err
    daemon.docker.says("exec", "web", "nginx", "-s", "reload")
    until(lambda: get_status(daemon, "/film") == 200)
    visitor = Visitor(daemon, f"http://127.0.0.1:{PORT}/film")
    (tmp_path / "new.conf").write_text("server { listen 80; location / { return 200 new; } }\n")
    daemon.docker.says("cp", f"{tmp_path}/new.conf", "web:/etc/nginx/conf.d/default.conf")
    daemon.docker.says("kill", "-s", "HUP", "web")
    until(lambda: get(daemon) == (200, "new"))
    assert visitor.stays()[0] == FILM
    assert daemon.docker.says("inspect", "-f", "{{.State.Pid}}", "web") == pid


def test_a_configuration_with_a_slip_is_refused_and_the_old_one_serves_on(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    run()
    (tmp_path / "slip.conf").write_text("server { lisen 80; }\n")
    daemon.docker.says("cp", f"{tmp_path}/slip.conf", "web:/etc/nginx/conf.d/slip.conf")
    for words in (["-t"], ["-s", "reload"]):
        refused = daemon.docker("exec", "web", "nginx", *words)
        assert refused.code == 1 and 'unknown directive "lisen"' in refused.err
    assert get(daemon)[0] == 200


def test_cp_brings_the_page_out_again(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    run()
    daemon.docker.says("cp", f"web:{PAGES}/index.html", str(tmp_path))
    assert (tmp_path / "index.html").read_text() == get(daemon)[1]


# ── An image of one's own ────────────────────────────────────────────────────────────────────────────────────────────


def image(daemon: Daemon, name: str) -> dict[str, object]:
    (found,) = json.loads(daemon.docker.says("image", "inspect", name))
    config = found["Config"]
    kept = {key: config[key] for key in ("Cmd", "ExposedPorts", "StopSignal")}
    return {**kept, "Layers": found["RootFS"]["Layers"]}


def test_commit_takes_what_the_container_has_written_and_not_what_is_in_a_volume(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "outside").write_text("x")
    run("-v", f"{tmp_path}:/srv:ro")
    daemon.docker.says("exec", "web", "sh", "-c", f"echo by hand > {PAGES}/index.html")
    daemon.docker.says("commit", "web", "own:v1")
    daemon.docker.says("rm", "-f", "web")
    run(image="own:v1")
    assert get(daemon) == (200, "by hand\n")
    assert daemon.docker.says("exec", "web", "ls", "/srv") == ""
    made, base = image(daemon, "own:v1"), image(daemon, "nginx")
    assert made.pop("Layers")[:-1] == base.pop("Layers")  # type: ignore[index]
    assert made == base


def test_build_inherits_program_port_and_signal(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("by recipe")
    (tmp_path / "index.html").chmod(0o644)
    (tmp_path / "Dockerfile").write_text(f"FROM nginx\nCOPY index.html {PAGES}/\nRUN nginx -t\n")
    daemon.docker.says("build", "-t", "own:v2", str(tmp_path))
    run(image="own:v2")
    assert get(daemon) == (200, "by recipe")
    made, base = image(daemon, "own:v2"), image(daemon, "nginx")
    layers, below = made.pop("Layers"), base.pop("Layers")
    assert layers[: len(below)] == below and len(layers) == len(below) + 2  # type: ignore[arg-type,index]
    assert made == base == {"Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT"}


def test_it_goes_to_a_private_registry_and_comes_back(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("from afar")
    (tmp_path / "index.html").chmod(0o644)
    (tmp_path / "Dockerfile").write_text(f"FROM nginx\nCOPY index.html {PAGES}/\n")
    name = "localhost:5000/me/own:v1"
    daemon.docker.says("build", "-t", name, str(tmp_path))
    pushed = daemon.docker.says("push", name).splitlines()
    assert pushed[0] == "The push refers to repository [localhost:5000/me/own]"
    assert sum("Pushed" in line for line in pushed) >= 1 and pushed[-1].startswith("v1: digest: sha256:")
    daemon.docker.says("rmi", name)
    run(image=name)
    assert get(daemon) == (200, "from afar")


# ── One service, one container ───────────────────────────────────────────────────────────────────────────────────────


def test_a_proxy_finds_the_site_by_name_and_only_the_proxy_is_published(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    (tmp_path / "door.conf").write_text("server { listen 80; location / { proxy_pass http://site; } }\n")
    (tmp_path / "door.conf").chmod(0o644)
    daemon.docker.says("network", "create", "town")
    daemon.docker.says("run", "-d", "--network", "town", "--name", "site", "nginx")
    daemon.docker.says("exec", "site", "sh", "-c", f"echo behind the door > {PAGES}/index.html")
    run("--network", "town", "-v", f"{tmp_path}/door.conf:/etc/nginx/conf.d/default.conf:ro")
    until(lambda: get(daemon) == (200, "behind the door\n"))
    assert daemon.docker.says("port", "site") == ""
