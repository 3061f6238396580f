"""A lesson's registry and stores: there when they are needed, gone with the lesson, and with the kernel that made them."""

import json
import os
import signal
import subprocess
import sys

import pytest

from labkit import lessons
from labkit.errors import InvalidInput, LabError, Unreachable, Unsupported
from labkit.lessons import registries, stores
from labkit.linux import processes
from labkit.storage import digests

NOTEBOOK = "98-test"

KERNEL = f"""
import sys
from labkit import lessons
from labkit.lessons import registries
print(registries.serve(lessons.begin({NOTEBOOK!r})).url, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lesson():
    begun = lessons.begin(NOTEBOOK)
    yield begun
    assert begun.end(), begun.remains()


@pytest.fixture
def shop(lesson):
    return registries.serve(lesson)


@pytest.fixture
def filled(lesson):
    return stores.filled(lesson)


# ── The registry ─────────────────────────────────────────────────────────────────────────────────────────────────────


def process_of(registry):
    with open(f"{registry.directory}/server.json") as file:
        return json.load(file)["pid"]


def test_it_answers_on_this_machine_and_is_empty(shop):
    assert repr(shop) == f"a registry at {shop.address}" and shop.address.startswith("127.0.0.1:")
    assert shop.repositories() == shop.tags("me/site") == () and shop.digest("me/site", "v1") == ""


def test_a_cell_that_is_run_again_gets_the_one_that_runs(lesson, shop):
    assert registries.serve(lesson).address == shop.address
    assert process_of(registries.serve(lesson)) == process_of(shop)


def test_two_of_them_have_two_ports(lesson, shop):
    assert registries.serve(lesson, "other").address != shop.address


def test_the_lesson_takes_it_along(lesson, shop):
    pid = process_of(shop)
    assert lesson.end()
    assert not processes.alive(pid) and not os.path.exists(shop.directory)


def test_a_lesson_that_begins_again_ends_the_old_one(lesson, shop):
    pid = process_of(shop)
    lessons.begin(NOTEBOOK)
    assert not processes.alive(pid)
    assert registries.find("98") is None


def test_it_dies_with_the_kernel_that_started_it():
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert kernel.stdout.readline().startswith("http://127.0.0.1:")
    fd = processes.pidfd(process_of(registries.find("98")))
    kernel.send_signal(signal.SIGKILL)
    kernel.wait()
    assert processes.wait(fd, 10)
    os.close(fd)
    kernel.stdin.close()
    kernel.stdout.close()
    lessons.begin(NOTEBOOK).end()


def test_stopped_and_started_again_it_is_at_the_same_place_with_what_it_had(filled, shop):
    filled.tag("site:v1", f"{shop.address}/me/site:v1")
    filled.push(f"{shop.address}/me/site:v1")
    shop.stop()
    shop.stop()
    assert repr(shop).endswith(", stopped") and shop.tags("me/site") == ()
    shop.start()
    assert shop.tags("me/site") == ("v1",)
    assert shop.digest("me/site", "v1") == filled.get("site:v1").descriptor.digest


def test_it_tells_what_it_was_asked_since_the_last_time(shop):
    shop.tags("me/site")
    shop.repositories()
    assert shop.requests() == ("GET /v2/me/site/tags/list", "GET /v2/_catalog")
    assert shop.requests() == ()
    shop.stop()
    assert shop.requests() == ()


def test_digests_in_what_it_was_asked_are_not_shown(shop):
    assert shop.digest("me/site", "sha256:" + "0" * 64) == ""
    assert shop.requests() == ("HEAD /v2/me/site/manifests/…",)


def test_a_blob_is_forged_and_mended_as_often_as_one_likes(filled, shop):
    filled.tag("site:v1", f"{shop.address}/me/site:v1")
    filled.push(f"{shop.address}/me/site:v1")
    config = filled.get("site:v1").id
    for _ in range(2):
        shop.forge(config, b"/www", b"/etc")
        with open(shop.blob(config), "rb") as file:
            assert b"/etc" in (data := file.read()) and digests.of(data) != config
    for _ in range(2):
        shop.mend(config)
        with open(shop.blob(config), "rb") as file:
            assert digests.of(file.read()) == config


def test_without_docker_registry_the_package_is_named(lesson, monkeypatch):
    monkeypatch.setattr(registries, "PROGRAM", "/usr/bin/no-such-registry")
    with pytest.raises(Unsupported, match="apt-get install docker-registry"):
        registries.serve(lesson)


def test_one_that_cannot_start_shows_the_end_of_its_log(lesson, shop):
    shop.stop()
    incomplete = {"http": {"addr": shop.address}}
    with open(f"{shop.directory}/config.yml", "w") as file:
        json.dump(incomplete, file)
    with pytest.raises(LabError, match="docker-registry ended while starting"):
        shop.start()


# ── Stores ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def names(engine):
    return sorted(name.familiar for image in engine.images.list() for name in image.tags)


def test_a_filled_store_has_three_images_and_two_of_them_stand_on_the_third(filled):
    assert names(filled) == ["busybox:latest", "clock:v1", "site:v1"]
    base, site, clock = (filled.get(name).config.rootfs.diff_ids for name in ("busybox", "site:v1", "clock:v1"))
    assert site[:2] == clock[:2] == base and (len(base), len(site), len(clock)) == (2, 4, 3)


def test_it_is_filled_once(lesson, filled):
    before = filled.get("site:v1").id, filled.store.blobs.list()
    again = stores.filled(lesson)
    assert (again.get("site:v1").id, again.store.blobs.list()) == before


def test_its_images_unpack_to_a_root_that_runs(filled):
    top = filled.images.ensure_unpacked(filled.get("site:v1"))
    providers = filled.store.snapshots.providers(top)
    assert {"/bin/sh", "/etc/passwd", "/www/index.html"} <= set(providers) and "/etc/motd" not in providers


def test_an_empty_store_takes_the_place_of_the_former(lesson, filled):
    laptop = stores.empty(lesson, "laptop")
    laptop.store.blobs.put(b"something")
    assert stores.empty(lesson, "laptop").store.blobs.list() == ()


def test_an_empty_store_has_the_mirrors_that_it_was_given(lesson):
    assert stores.empty(lesson, "desk", ["http://127.0.0.1:5005"]).settings.registry_mirrors == ("http://127.0.0.1:5005",)
    with pytest.raises(InvalidInput, match="registry-mirrors"):
        stores.empty(lesson, "desk", ["127.0.0.1:5005"])


def test_of_a_spoilt_copy_one_blob_alone_is_not_what_it_is_called(lesson, filled):
    layout = stores.spoilt(lesson, "attic")
    blobs = f"{layout}/blobs/sha256"
    assert len(os.listdir(blobs)) == len(filled.store.blobs.list())
    wrong = [name for name in os.listdir(blobs) if digests.of(open(f"{blobs}/{name}", "rb").read()) != f"sha256:{name}"]
    assert len(wrong) == 1
    assert filled.store.blobs.read(f"sha256:{wrong[0]}")


def test_unplugged_nothing_leaves_this_machine_and_the_registry_here_is_reached(lesson, filled, shop, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://192.0.2.1:3128")
    desk = stores.empty(lesson, "desk")
    filled.tag("site:v1", f"{shop.address}/me/site:v1")
    with registries.unplugged():
        filled.push(f"{shop.address}/me/site:v1")
        with pytest.raises(Unreachable, match=r"registry-1\.docker\.io"):
            desk.pull("site:v1")
    assert os.environ["https_proxy"] == "http://192.0.2.1:3128" and "HTTPS_PROXY" not in os.environ
