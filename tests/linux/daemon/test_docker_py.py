"""docker-py, unmodified, against the daemon: what a Python program does with containers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

docker = pytest.importorskip("docker")

from tests.daemons import Daemon  # noqa: E402
from tests.linux.daemon.speaking import Client  # noqa: E402


@pytest.fixture
def py(daemon: Daemon, client: Client) -> Iterator[Any]:
    made = docker.DockerClient(base_url=f"unix://{daemon.socket}", timeout=30)
    yield made
    made.close()


def test_versions_are_agreed_upon(py: Any) -> None:
    assert py.ping()
    assert py.version()["ApiVersion"] == "1.47"
    assert py.api._version in ("1.44", "1.47")
    assert py.info()["OSType"] == "linux"


def test_run_gives_back_what_was_said(py: Any) -> None:
    assert py.containers.run("busybox", ["echo", "hello"], network_mode="none", remove=True) == b"hello\n"
    with pytest.raises(docker.errors.ContainerError, match="non-zero exit status 3"):
        py.containers.run("busybox", ["sh", "-c", "exit 3"], network_mode="none", remove=True)
    with pytest.raises(docker.errors.ImageNotFound):
        py.api.create_container("nosuch", "true")
    assert py.containers.list(all=True) == []


def test_a_container_is_started_asked_and_stopped(py: Any) -> None:
    box = py.containers.run("busybox", ["sleep", "1000"], name="box", detach=True, network_mode="none", labels={"of": "us"})
    assert [each.name for each in py.containers.list(filters={"label": "of=us"})] == ["box"]
    assert py.containers.list(filters={"label": "of=them"}) == []
    box.reload()
    assert box.status == "running"
    assert box.exec_run(["sh", "-c", "echo out; exit 3"]) == (3, b"out\n")
    assert [row[-1] for row in box.top()["Processes"]] == ["sleep 1000"]
    assert box.stats(stream=False)["pids_stats"]["current"] >= 1  # the kernel counts what has just ended for a moment more
    box.rename("other")
    box.update(mem_limit="64m", memswap_limit="64m")
    box.reload()
    assert (box.name, box.attrs["HostConfig"]["Memory"]) == ("other", 64 << 20)
    box.pause()
    box.unpause()
    box.stop(timeout=0)
    assert box.wait()["StatusCode"] == 137
    box.remove(v=False, link=False, force=True)
    with pytest.raises(docker.errors.NotFound):
        box.reload()


def test_logs_are_a_line_at_a_time(py: Any) -> None:
    box = py.containers.run("busybox", ["sh", "-c", "echo one; echo two; echo three"], detach=True, network_mode="none")
    box.wait()
    assert list(box.logs(stream=True)) == [b"one\n", b"two\n", b"three\n"]
    assert list(box.logs(stream=True, follow=True)) == [b"one\n", b"two\n", b"three\n"]
    assert box.logs(tail=1) == b"three\n"
    assert box.logs(stdout=False) == b""


def test_streams_come_apart(py: Any) -> None:
    box = py.containers.create("busybox", ["sh", "-c", "echo out; echo err >&2"], network_mode="none")
    line = box.attach(stdout=True, stderr=True, stream=True, demux=True, logs=False)
    box.start()
    found = list(line)
    assert (b"out\n", None) in found
    assert (None, b"err\n") in found


def test_a_socket_is_for_both_ways(py: Any) -> None:
    box = py.containers.create("busybox", ["cat"], stdin_open=True, tty=False, network_mode="none")
    line = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    line._sock.sendall(b"hello\n")
    assert line._sock.recv(100) == b"\x01\0\0\0\0\0\0\x06hello\n"
    line._sock.close()
    line.close()


def test_exec_with_a_socket_and_a_terminal(py: Any) -> None:
    box = py.containers.run("busybox", ["sleep", "1000"], detach=True, network_mode="none")
    _, line = box.exec_run(["sh"], stdin=True, socket=True, tty=True)
    line._sock.sendall(b"echo $((6*7)); exit\r")
    heard = b""
    while b"42" not in heard:
        heard += line._sock.recv(1000)
    line._sock.close()
    line.close()


def test_events_are_heard_and_no_longer(py: Any) -> None:
    events = py.events(decode=True, filters={"type": "container"})
    box = py.containers.create("busybox", "true", network_mode="none")
    told = next(events)
    assert (told["Action"], told["id"], told["from"]) == ("create", box.id, "busybox")
    events.close()


def test_files_are_copied_both_ways(py: Any) -> None:
    box = py.containers.create("busybox", "true", network_mode="none")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("note")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    assert box.put_archive("/root", packed.getvalue())
    chunks, stat = box.get_archive("/root/note")
    assert (stat["name"], stat["size"]) == ("note", 5)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        assert tar.extractfile("note").read() == b"hello"  # type: ignore[union-attr]
    assert {"Path": "/root/note", "Kind": 1} in box.diff()
    image = box.commit("committed", "v1")
    assert py.images.get("committed:v1").id == image.id
    py.images.remove("committed:v1")


def test_images_are_built_saved_loaded_tagged_and_removed(py: Any) -> None:
    image, lines = py.images.build(fileobj=io.BytesIO(b"FROM busybox\nENV A=b\n"), tag="built:v1")
    assert image.tags == ["built:v1"]
    assert any("Successfully built" in line.get("stream", "") for line in lines)
    assert image.tag("other", "v2")
    saved = b"".join(image.save(named=True))
    py.images.remove("built:v1")
    py.images.remove("other:v2")
    assert [loaded.tags for loaded in py.images.load(saved)] == [["built:v1"]]
    assert py.images.get("built:v1").history()[0]["CreatedBy"].endswith("ENV A=b")
    py.images.remove("built:v1")
    with pytest.raises(docker.errors.BuildError, match="returned a non-zero code: 4"):
        py.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 4\n"))
    assert py.images.prune()["SpaceReclaimed"] >= 0


def test_volumes_are_made_used_and_removed(py: Any) -> None:
    volume = py.volumes.create("data", labels={"of": "us"})
    assert [each.name for each in py.volumes.list(filters={"label": "of=us"})] == ["data"]
    py.containers.run("busybox", ["sh", "-c", "echo kept > /data/file"], volumes=["data:/data"], network_mode="none", remove=True)
    mounts = {"data": {"bind": "/d", "mode": "ro"}}
    assert py.containers.run("busybox", ["cat", "/d/file"], volumes=mounts, network_mode="none", remove=True) == b"kept\n"
    volume.remove()
    with pytest.raises(docker.errors.NotFound, match="get data: no such volume"):
        py.volumes.get("data")


def test_networks_are_made_joined_left_and_removed(py: Any) -> None:
    assert {"bridge", "host", "none"} <= {network.name for network in py.networks.list()}
    network = py.networks.create("blue", labels={"of": "us"})
    box = py.containers.run("busybox", ["sleep", "1000"], name="box", network="blue", detach=True)
    assert py.containers.run("busybox", ["nslookup", "box"], network="blue", remove=True)
    network.reload()
    assert [each.name for each in network.containers] == ["box"]
    network.disconnect(box)
    network.connect(box, aliases=["alias"])
    box.remove(force=True)
    network.remove()
    with pytest.raises(docker.errors.NotFound):
        py.networks.get("blue")


def test_what_is_pruned_is_told(py: Any) -> None:
    box = py.containers.create("busybox", "true", network_mode="none")
    assert py.containers.prune()["ContainersDeleted"] == [box.id]
    assert py.networks.prune() == {"NetworksDeleted": None}
    assert py.df()["LayersSize"] > 0
