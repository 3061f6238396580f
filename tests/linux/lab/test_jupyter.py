"""JupyterLab, really started: it answers, to this machine and the token alone, and goes when it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from labkit.errors import LabError
from labkit.lab import jupyter
from labkit.linux import processes


class Place:
    """Directories of one server's own, as ``jupyter.up`` takes them."""

    def __init__(self, directory: Path) -> None:
        self.run, self.settings, self.notebooks = (str(directory / name) for name in ("run", "settings", "notebooks"))
        os.mkdir(self.notebooks)
        output = {"output_type": "display_data", "data": {"text/html": "<b>stored</b>"}, "metadata": {}}
        cell = {"cell_type": "code", "id": "c1", "source": "1", "execution_count": 1, "metadata": {}, "outputs": [output]}
        notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        Path(self.notebooks, jupyter.FIRST_NOTEBOOK).write_text(json.dumps(notebook))

    def up(self, port: int = 18899) -> jupyter.Server:
        return jupyter.up("127.0.0.1", port, self.notebooks, self.run, self.settings)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("jupyter"))
    yield place
    jupyter.down(place.run)


@pytest.fixture(scope="module")
def server(place: Place) -> jupyter.Server:
    return place.up()


def get(server: jupyter.Server, path: str, token: str, method: str = "GET") -> Any:
    request = urllib.request.Request(f"http://{server.address}{path}", method=method, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, data=b"{}" if method == "POST" else None, timeout=30) as answer:
        return json.loads(answer.read() or "null")


def test_its_page_answers(server: jupyter.Server) -> None:
    with urllib.request.urlopen(server.url, timeout=30) as page:
        assert "JupyterLab" in page.read().decode()


def test_it_listens_on_this_machine_s_own_address_alone(server: jupyter.Server) -> None:
    listening = {line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"}
    port = f"{server.port:04X}"
    assert [address for address in listening if address.endswith(f":{port}")] == [f"0100007F:{port}"]


def test_it_asks_for_the_token(server: jupyter.Server) -> None:
    assert get(server, "/api/contents", server.token)["type"] == "directory"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(server, "/api/contents", "a guess")


def test_the_token_is_not_among_the_arguments_that_everyone_may_read(server: jupyter.Server) -> None:
    assert server.token not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_the_records_are_for_root_s_eyes(server: jupyter.Server, place: Place) -> None:
    assert {oct(os.stat(f"{place.run}/{name}").st_mode & 0o777) for name in ("server.json", "log")} == {"0o600"}


def test_its_root_directory_is_that_of_the_notebooks(server: jupyter.Server) -> None:
    assert [entry["name"] for entry in get(server, "/api/contents", server.token)["content"]] == [jupyter.FIRST_NOTEBOOK]


def test_the_stored_notebooks_are_trusted_so_that_their_views_show(server: jupyter.Server) -> None:
    notebook = get(server, f"/api/contents/{jupyter.FIRST_NOTEBOOK}", server.token)["content"]
    assert [cell["metadata"]["trusted"] for cell in notebook["cells"]] == [True]


def test_it_fetches_no_news_and_looks_for_no_updates(server: jupyter.Server) -> None:
    settings = get(server, "/lab/api/settings/@jupyterlab/apputils-extension:notification", server.token)["schema"]["properties"]
    assert (settings["fetchNews"]["default"], settings["checkForUpdates"]["default"]) == ("false", False)


def test_in_its_terminals_labkit_is_the_one_that_started_it(server: jupyter.Server) -> None:
    terminal = get(server, "/api/terminals", server.token, "POST")["name"]
    line = websocket.create_connection(f"ws://{server.address}/terminals/websocket/{terminal}?token={server.token}", timeout=30)
    line.send(json.dumps(["stdin", "echo is: $(command -v labkit)\r"]))
    seen = ""
    while f"is: {sys.prefix}/bin/labkit" not in seen:  # or the time-out of the connection
        kind, *rest = json.loads(line.recv())
        seen += rest[0] if kind == "stdout" else ""
    line.close()
    get(server, f"/api/terminals/{terminal}", server.token, "DELETE")


def test_a_second_up_finds_the_one_that_runs(server: jupyter.Server, place: Place) -> None:
    assert place.up() == server


def test_two_that_start_it_at_once_get_the_same_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    program = "import sys; from labkit.lab import jupyter; print(jupyter.up('127.0.0.1', 18970, *sys.argv[1:]).url)"
    command = [sys.executable, "-c", program, place.notebooks, place.run, place.settings]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        first, second = (starter.communicate()[0] for starter in both)
        assert first.startswith("http://127.0.0.1:18970/")
        assert first == second
    finally:
        jupyter.down(place.run)


def test_where_the_port_is_taken_it_uses_the_next_free_one(server: jupyter.Server, tmp_path: Path) -> None:
    other = Place(tmp_path)
    try:
        assert other.up(server.port).port == server.port + 1
    finally:
        jupyter.down(other.run)


def test_down_ends_the_server_and_its_kernels(tmp_path: Path) -> None:
    place = Place(tmp_path)
    server = place.up(18950)
    get(server, "/api/kernels", server.token, "POST")
    kernels = processes.children(server.pid)
    assert kernels
    assert jupyter.down(place.run) == server
    assert [pid for pid in (server.pid, *kernels) if processes.alive(pid)] == []
    assert jupyter.running(place.run) is None
    assert jupyter.down(place.run) is None


def test_after_a_kill_9_it_is_started_anew(tmp_path: Path) -> None:
    place = Place(tmp_path)
    first = place.up(18960)
    processes.send(first.pid, signal.SIGKILL, first.start_time)
    os.waitpid(first.pid, 0)
    try:
        second = place.up(18960)
        assert (second.port, second.pid != first.pid, second.token != first.token) == (18960, True, True)
    finally:
        jupyter.down(place.run)


def test_one_that_does_not_come_up_is_an_error_with_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(jupyter, "_free_port", lambda host, first: taken.getsockname()[1])
        with pytest.raises(LabError, match=r"(?s)ended while starting.*in use"):
            place.up()
    assert jupyter.running(place.run) is None
