"""Images over the wire: what happens is told while it happens, and who goes away stops what nobody else waits for."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import evil
from tests.daemons import Daemon, labkit_daemon
from tests.evil import Evil
from tests.linux.daemon.conftest import load
from tests.linux.daemon.speaking import SECONDS, Client
from tests.registries import Registry

IMAGE = evil.made([evil.layer({"bin/a": os.urandom(300_000)}), evil.layer({"bin/b": os.urandom(300_000)})])


@pytest.fixture(scope="module")
def daemon(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One in the tests' own network, where their registries are."""
    with labkit_daemon(tmp_path_factory.mktemp("daemon"), at_home=True) as found:
        load(found, archive)
        yield found


def context(**files: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def names(client: Client) -> list[str]:
    return sorted(name for image in client.get("/images/json") for name in image["RepoTags"])


def is_idle(client: Client) -> None:
    """Nobody changes the images: a change of our own is done at once."""
    begun = time.monotonic()
    assert client.ask("POST", "/images/busybox/tag?repo=idle&tag=now").status == 201
    assert client.ask("DELETE", "/images/idle:now").status == 200
    assert time.monotonic() - begun < 5


def test_a_pull_is_told_while_it_goes_on(client: Client) -> None:
    with Evil() as registry:
        registry.add(IMAGE, "me/web", "v1")
        go_on = threading.Event()

        def held(request: evil.Request) -> None:
            go_on.wait(SECONDS)
            registry._behave(request)

        registry.on("/blobs/", held, method="GET")
        with client.streaming("POST", f"/images/create?fromImage={registry.address}%2Fme%2Fweb&tag=v1") as pulling:
            assert json.loads(pulling.readline()) == {"status": "Pulling from me/web", "id": "v1"}
            go_on.set()
            lines = [json.loads(line) for line in pulling.read().splitlines()]
    assert lines[-1] == {"status": f"Status: Downloaded newer image for {registry.address}/me/web:v1"}
    assert sum(line["status"] == "Pull complete" for line in lines) == 2
    downloading = [line for line in lines if line["status"] == "Downloading"]
    assert downloading and all(line["progress"].startswith("[") and line["progressDetail"]["total"] for line in downloading)
    client.ask("DELETE", f"/images/{registry.address}/me/web:v1")


@pytest.mark.parametrize("pattern", ["/manifests/", "/blobs/"])
def test_a_pull_from_a_registry_that_hangs_ends_with_its_client(client: Client, pattern: str) -> None:
    with Evil() as registry:
        registry.add(IMAGE, "me/web", "v1")
        registry.on(pattern, evil.hang)
        with client.connected() as line:
            target = f"/images/create?fromImage={registry.address}%2Fme%2Fweb&tag=v1"
            line.sendall(f"POST {target} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n".encode())
            while not registry.paths("GET", pattern) and not registry.paths("HEAD", pattern):
                time.sleep(0.01)
        is_idle(client)
    assert names(client) == ["busybox:latest"]


def test_what_fails_before_anything_is_told_is_the_answer(client: Client) -> None:
    with Evil() as registry:
        said = client.ask("POST", f"/images/create?fromImage={registry.address}%2Fnosuch&tag=v1")
        assert said.status == 404
        assert said.message.startswith(f"manifest for {registry.address}/nosuch:v1 not found: ")
    assert client.ask("POST", "/images/create?fromImage=127.0.0.1:1%2Fnosuch&tag=v1").status == 500
    assert client.ask("POST", "/images/create?fromImage=BAD^NAME&tag=v1").status == 400
    assert client.ask("POST", "/images/create").status == 400


def test_what_fails_halfway_is_the_last_line(client: Client) -> None:
    with Evil() as registry:
        registry.add(IMAGE, "me/web", "v1")
        registry.on("/blobs/", evil.status(404))
        said = client.ask("POST", f"/images/create?fromImage={registry.address}%2Fme%2Fweb&tag=v1")
    assert said.status == 200
    assert said.lines[0] == {"status": "Pulling from me/web", "id": "v1"}
    assert said.lines[-1]["error"] == said.lines[-1]["errorDetail"]["message"]


def test_push_and_pull_with_a_real_registry(client: Client, registry: Registry) -> None:
    name = f"{registry.address}/me/box"
    assert client.ask("POST", f"/images/busybox/tag?repo={name}&tag=v1").status == 201
    pushed = client.ask("POST", f"/images/{name}/push?tag=v1").lines
    assert pushed[0] == {"status": f"The push refers to repository [{name}]"}
    assert pushed[-1]["aux"]["Tag"] == "v1"
    assert {"status": f"v1: digest: {pushed[-1]['aux']['Digest']} size: {pushed[-1]['aux']['Size']}"} in pushed
    gone = client.ask("DELETE", f"/images/{name}:v1").json
    assert {"Untagged": f"{name}:v1"} in gone
    pulled = client.ask("POST", f"/images/create?fromImage={name}&tag=v1").lines
    assert pulled[-1] == {"status": f"Status: Downloaded newer image for {name}:v1"}
    client.ask("DELETE", f"/images/{name}:v1")


def test_errors_of_a_push_are_in_the_stream(client: Client) -> None:
    said = client.ask("POST", "/images/localhost:1/nosuch/push?tag=v1")
    assert (said.status, said.lines[-1]["error"]) == (200, "An image does not exist locally with the tag: localhost:1/nosuch")


def test_an_image_is_saved_and_loaded_again(client: Client) -> None:
    saved = client.ask("GET", "/images/get?names=busybox")
    assert (saved.status, saved.headers["Content-Type"]) == (200, "application/x-tar")
    assert "manifest.json" in tarfile.open(fileobj=io.BytesIO(saved.data)).getnames()
    assert client.ask("POST", "/images/load?quiet=1", saved.data, "application/x-tar").lines == [
        {"stream": "Loaded image: busybox:latest\n"}
    ]
    assert client.ask("GET", "/images/get?names=nosuch").status == 404
    broken = client.ask("POST", "/images/load", saved.data[:5000], "application/x-tar")
    assert (broken.status, [*broken.lines[-1]]) == (200, ["errorDetail", "error"])


def test_a_load_whose_client_goes_away_leaves_nothing(client: Client) -> None:
    saved = client.ask("GET", "/images/get?names=busybox").data
    with client.connected() as line:
        line.sendall(b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % len(saved) + saved[: len(saved) // 2])
    is_idle(client)
    assert names(client) == ["busybox:latest"]


def test_a_build_is_told_step_by_step(client: Client) -> None:
    said = client.ask("POST", "/build?t=built", context(Dockerfile="FROM busybox\nRUN echo hi\n"), "application/x-tar")
    text = "".join(line.get("stream", "") for line in said.lines)
    assert "Step 2/2 : RUN echo hi\n" in text and "\nhi\n" in text and "Successfully tagged built:latest\n" in text
    (id,) = (line["aux"]["ID"] for line in said.lines if "aux" in line)
    assert client.get("/images/built/json")["Id"] == id
    quiet = client.ask("POST", "/build?q=1", context(Dockerfile="FROM busybox\nRUN echo hi\n"), "application/x-tar")
    assert quiet.lines == [{"stream": f"{id}\n"}]
    client.ask("DELETE", "/images/built")


def test_a_build_that_fails_says_how(client: Client) -> None:
    failed = client.ask("POST", "/build", context(Dockerfile="FROM busybox\nRUN exit 3\n"), "application/x-tar").lines[-1]
    assert failed["errorDetail"] == {"code": 3, "message": "The command '/bin/sh -c exit 3' returned a non-zero code: 3"}
    wrong = client.ask("POST", "/build", context(Dockerfile="FROM busybox\nFOO\n"), "application/x-tar")
    assert (wrong.status, wrong.message) == (400, "dockerfile parse error line 2: unknown instruction: FOO")


def test_a_build_ends_with_its_client_and_so_does_what_it_runs(client: Client) -> None:
    data = context(Dockerfile="FROM busybox\nRUN sleep 98765\n")
    with client.streaming("POST", "/build?nocache=1", data, "application/x-tar") as building:
        while b"Running in" not in building.readline():
            pass
    is_idle(client)
    assert not [name for name in os.listdir("/proc") if name.isdecimal() and b"98765" in command_line(name)]


def command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_an_image_that_a_container_uses_is_kept(client: Client) -> None:
    client.create("true")
    said = client.ask("DELETE", "/images/busybox")
    assert said.status == 409
    assert said.message.startswith('conflict: unable to remove repository reference "busybox" (must force) - container ')


def test_what_happens_to_images_is_told_as_events(client: Client) -> None:
    with client.streaming("GET", '/events?filters={"type":["image"]}') as events:
        client.ask("POST", "/images/busybox/tag?repo=other&tag=v1")
        client.ask("DELETE", "/images/other:v1")
        told = [json.loads(events.readline()) for _ in range(2)]
    assert [(event["Action"], event["status"]) for event in told] == [("tag", "tag"), ("untag", "untag")]
    assert told[0]["Actor"]["Attributes"] == {"name": "other:v1"}


def test_files_go_in_and_out(client: Client) -> None:
    id = client.create("true")
    assert client.ask("PUT", f"/containers/{id}/archive?path=/root", context(note="hello"), "application/x-tar").status == 200
    found = client.ask("GET", f"/containers/{id}/archive?path=/root/note")
    assert tarfile.open(fileobj=io.BytesIO(found.data)).getnames() == ["note"]
    head = client.ask("HEAD", f"/containers/{id}/archive?path=/root/note")
    assert (head.status, head.headers["X-Docker-Container-Path-Stat"]) == (200, found.headers["X-Docker-Container-Path-Stat"])
    assert {"Path": "/root/note", "Kind": 1} in client.get(f"/containers/{id}/changes")
    assert client.ask("HEAD", f"/containers/{id}/archive?path=/nosuch").status == 404
    committed = client.ask("POST", f"/commit?container={id}&repo=committed&tag=v1")
    assert committed.status == 201
    assert client.get("/images/committed:v1/json")["Id"] == committed.json["Id"]
    client.ask("DELETE", "/images/committed:v1")


def test_a_copy_whose_client_goes_away_is_no_end_of_the_daemon(client: Client) -> None:
    id = client.create("true")
    packed = context(big="x" * (20 << 20))
    for _ in range(3):
        with client.connected() as line:
            line.sendall(f"PUT /containers/{id}/archive?path=/ HTTP/1.1\r\nHost: d\r\nContent-Length: {len(packed)}\r\n\r\n".encode())
            line.sendall(packed[: len(packed) // 2])
        with client.streaming("GET", f"/containers/{id}/export") as exporting:
            exporting.read(1000)
    assert client.ask("GET", f"/containers/{id}/json").status == 200


def test_usage_of_the_disk_is_told_in_one_go(client: Client) -> None:
    client.create("true")
    found = client.get("/system/df")
    assert found["LayersSize"] > 0
    assert [image["Containers"] for image in found["Images"]] == [1]
    assert found["Containers"][0]["SizeRootFs"] > 0
