"""What notebook 09 stands on: a hub that has nginx and takes no push, and a film that takes its time."""

import subprocess

import pytest

from labkit import lessons
from labkit.errors import LabError
from labkit.image.progress import Progress
from labkit.lab import registry, seed
from labkit.lessons import daemons, hub, registries, stores, web

NOTEBOOK = "96-test"


@pytest.fixture
def lesson():
    begun = lessons.begin(NOTEBOOK)
    yield begun
    assert begun.end(), begun.remains()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The lab's registry has its data in another place, where there is nothing yet."""
    monkeypatch.setattr(registry, "DATA", str(tmp_path / "data"))
    monkeypatch.setattr(registry, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(registry, "running", lambda: None)
    return tmp_path / "data"


def test_the_hub_has_nginx_and_what_it_stands_on(lesson):
    library = hub.stocked(lesson)
    assert set(library.repositories()) >= {"library/busybox", "library/debian", "library/nginx"}
    assert "latest" in library.tags("library/nginx")


def test_nobody_may_push_to_it(lesson):
    library, mine = hub.stocked(lesson), stores.filled(lesson)
    mine.tag("busybox", f"{library.address}/library/nginx:mine")
    with pytest.raises(LabError, match="405 Method Not Allowed"):
        mine.push(f"{library.address}/library/nginx:mine")
    assert "mine" not in library.tags("library/nginx")


def test_a_cell_that_is_run_again_asks_the_one_that_runs(lesson):
    assert hub.stocked(lesson).address == hub.stocked(lesson).address
    assert hub.stocked(lesson).requests() == ()


def test_what_is_missing_is_made_and_whoever_took_it_is_gone_afterwards(lesson, elsewhere, monkeypatch):
    seen = []

    def make(report, server):
        seen.append((server.url, server.data, lesson.remains() != ()))
        report(Progress("nginx", "Pushed"))

    monkeypatch.setattr(seed, "seed", make)
    said = []
    hub.stocked(lesson, lambda progress: said.append(str(progress)))
    ((url, data, _),) = seen
    writer = registries.find(NOTEBOOK[:2], "workshop")
    assert (url, data, said) == (writer.url, str(elsewhere), ["nginx: Pushed"])
    assert not writer.running


def test_a_failure_to_make_it_is_the_lesson_s_and_nothing_goes_on_running(lesson, elsewhere, monkeypatch):
    def fail(report, server):
        raise LabError("a Debian mirror must answer once")

    monkeypatch.setattr(seed, "seed", fail)
    with pytest.raises(LabError, match="must answer once"):
        hub.stocked(lesson)
    assert not registries.find(NOTEBOOK[:2], "workshop").running


def test_where_the_lab_s_own_registry_runs_that_one_takes_it(lesson, elsewhere, monkeypatch):
    theirs = registry.Server(1, 1, 5000, str(elsewhere))
    monkeypatch.setattr(registry, "running", lambda: theirs)
    seen = []
    monkeypatch.setattr(seed, "seed", lambda report, server: seen.append(server))
    hub.stocked(lesson)
    assert seen == [theirs]


def test_the_film_runs_slowly_and_docker_stop_lets_a_guest_see_its_end(lesson):
    daemon = daemons.start(lesson, mirrors=(hub.stocked(lesson).url,))
    site = web.Site("web")
    docker = ["docker", "-H", f"unix://{daemon.socket}"]
    options = f"-d -p {site.port}:80 {web.slow_film(lesson)} --name web nginx".split()
    subprocess.run([*docker, "run", *options], check=True, capture_output=True)
    guest = site.guest("/film")
    assert not guest.has_all
    subprocess.run([*docker, "stop", "web"], check=True, capture_output=True)
    assert guest.stays().has_all and guest.expected == web.FILM
    assert daemon.ask("GET", "/containers/web/json").json["State"]["ExitCode"] == 0
