"""The lab's registry, really started: it answers to this machine alone, keeps its images, and goes when it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.errors import Conflict, KernelError, LabError, Unsupported
from labkit.lab import listeners, registry, service
from labkit.linux import processes


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., registry.Server]]:
    """``registry.up`` with directories of the test's own; stopped at the end."""
    runs = {str(tmp_path / "run")}

    def start(port: int | None = None, run: str = "run") -> registry.Server:
        runs.add(str(tmp_path / run))
        return registry.up(port or free_port(), str(tmp_path / run), str(tmp_path / "data"))

    yield start
    for run in runs:
        registry.down(run)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answer(server: registry.Server, path: str, data: bytes | None = None, method: str = "GET") -> str:
    request = urllib.request.Request(f"{server.url}{path}", data, {"Content-Type": "application/octet-stream"}, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as page:
        return str(page.read().decode() or page.headers.get("Location", ""))


def test_it_answers_as_a_registry_without_a_password(up: Callable[..., registry.Server]) -> None:
    assert json.loads(answer(up(), "/v2/")) == {}


def test_it_listens_on_this_machine_s_own_address_alone(up: Callable[..., registry.Server]) -> None:
    server = up()
    tables = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    listening = {line.split()[1] for line in tables.splitlines() if line.split()[3] == "0A"}
    assert [each for each in listening if each.endswith(f":{server.port:04X}")] == [f"0100007F:{server.port:04X}"]


def test_a_second_up_finds_the_one_that_runs(up: Callable[..., registry.Server]) -> None:
    server = up()
    assert up(server.port) == server


def test_a_proxy_of_the_environment_is_not_asked(up: Callable[..., registry.Server], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert up().port


def test_variables_of_the_environment_do_not_change_its_configuration(
    up: Callable[..., registry.Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", str(tmp_path / "elsewhere"))
    answer(up(), "/v2/me/web/blobs/uploads/", b"", "POST")
    assert [(tmp_path / name).exists() for name in ("data/docker", "elsewhere")] == [True, False]


def test_its_blobs_are_there_after_down_and_up(up: Callable[..., registry.Server], tmp_path: Path) -> None:
    server = up()
    place = answer(server, "/v2/me/web/blobs/uploads/", b"", "POST").removeprefix(server.url)
    digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"
    answer(server, f"{place}&digest={digest}", b"hello", "PUT")
    assert registry.down(str(tmp_path / "run")) == server
    assert not processes.alive(server.pid, server.start_time)
    assert answer(up(server.port), f"/v2/me/web/blobs/{digest}") == "hello"


def test_down_twice_is_as_good_as_once(up: Callable[..., registry.Server], tmp_path: Path) -> None:
    up()
    registry.down(str(tmp_path / "run"))
    assert registry.down(str(tmp_path / "run")) is None
    assert registry.down(str(tmp_path / "never")) is None


def test_after_a_kill_9_it_is_started_anew(up: Callable[..., registry.Server]) -> None:
    first = up()
    processes.send(first.pid, signal.SIGKILL, first.start_time)
    os.waitpid(first.pid, 0)
    assert up(first.port).pid != first.pid


def test_two_that_start_it_at_once_get_the_same_one(up: Callable[..., registry.Server], tmp_path: Path) -> None:
    program = "import sys; from labkit.lab import registry; print(registry.up(int(sys.argv[1]), *sys.argv[2:]))"
    command = [sys.executable, "-c", program, str(free_port()), str(tmp_path / "run"), str(tmp_path / "data")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (starter.communicate()[0] for starter in both)
    assert first.startswith("Server(pid=")
    assert first == second
    registry.down(str(tmp_path / "run"))


def test_a_port_that_is_taken_is_a_conflict_that_names_who_listens(up: Callable[..., registry.Server]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        name = processes.stat(os.getpid())
        assert name is not None
        with pytest.raises(Conflict, match=rf"port {port}, where {name.command} \(PID {os.getpid()}\) listens: stop that first"):
            up(port)


def test_where_its_data_cannot_be_kept_the_directory_is_named(tmp_path: Path, up: Callable[..., registry.Server]) -> None:
    (tmp_path / "data").write_text("a file where a directory should be")
    with pytest.raises(KernelError, match=f"set up the lab's registry in {tmp_path}/data: EEXIST"):
        up()
    assert registry.running(str(tmp_path / "run")) is None


def test_one_that_does_not_come_up_is_an_error_with_the_end_of_its_log(
    tmp_path: Path, up: Callable[..., registry.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_CONFIG", "version: 0.2")
    with pytest.raises(LabError, match=r"(?s)The registry ended while starting.*0\.2"):
        up()
    assert registry.running(str(tmp_path / "run")) is None


def test_where_the_program_is_missing_the_package_is_named(up: Callable[..., registry.Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unsupported, match="apt-get install docker-registry"):
        up()


def test_nobody_is_found_where_nobody_listens() -> None:
    assert listeners.on(free_port()) == ()


def test_a_service_that_does_not_answer_in_time_is_an_error(tmp_path: Path) -> None:
    run = str(tmp_path)
    process = service.start(["/bin/sleep", "600"], {}, run)
    service.remember(process, run)
    try:
        with pytest.raises(LabError, match=r"The sleeper does not answer on http://127\.0\.0\.1:9/x; the end of its log"):
            service.wait(process, run, "The sleeper", "http://127.0.0.1:9/x?token=secret", 0.02)
    finally:
        service.stop(process, run)
    assert not processes.alive(process.pid)
