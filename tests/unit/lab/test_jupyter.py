"""Which server is taken for the running one, and which port the next one gets."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from labkit.errors import NotFound
from labkit.lab import jupyter
from labkit.linux import processes


@pytest.fixture
def server() -> jupyter.Server:
    stat = processes.stat(os.getpid())
    assert stat is not None
    return jupyter.Server(stat.pid, stat.start_time, "127.0.0.1", 8899, "c0ffee")


def recorded(run: Path, server: jupyter.Server) -> str:
    (run / "server.json").write_text(json.dumps(asdict(server)))
    return str(run)


def test_a_recorded_process_that_lives_is_the_running_server(tmp_path: Path, server: jupyter.Server) -> None:
    assert jupyter.running(recorded(tmp_path, server)) == server


def test_a_process_that_was_given_the_same_pid_later_is_not(tmp_path: Path, server: jupyter.Server) -> None:
    assert jupyter.running(recorded(tmp_path, replace(server, start_time=server.start_time - 1))) is None


def test_without_a_record_nothing_runs(tmp_path: Path) -> None:
    assert jupyter.running(str(tmp_path)) is None
    assert jupyter.down(str(tmp_path / "never")) is None


def test_the_url_leads_to_the_first_notebook_and_holds_the_token(server: jupyter.Server) -> None:
    assert server.url == "http://127.0.0.1:8899/lab/tree/00-start-here.ipynb?token=c0ffee"


def test_a_server_on_all_addresses_is_reached_by_this_machine_s_own(server: jupyter.Server) -> None:
    assert replace(server, host="0.0.0.0").address == "127.0.0.1:8899"


def test_a_port_that_is_taken_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert jupyter._free_port("127.0.0.1", port) > port


def test_without_notebooks_nothing_is_started(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no notebooks there"):
        jupyter.up(notebooks=str(tmp_path / "none"), run=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_notebooks_programs_are_looked_for_in_bin_too_also_where_systemd_starts_jupyterlab() -> None:
    ours = os.path.dirname(sys.executable)
    assert jupyter.search_path("/usr/sbin:/usr/bin") == f"{ours}:/usr/sbin:/usr/bin:/sbin:/bin"
    assert jupyter.search_path("/usr/bin:/sbin:/bin") == f"{ours}:/usr/bin:/sbin:/bin"
