"""Containers that write without end: all of it comes, in order, and the daemon's memory does not grow."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.daemons import DOCKER, Daemon
from tests.linux.daemon.counting import is_as_it_was, memory
from tests.linux.daemon.speaking import Client, output, rest

pytestmark = [pytest.mark.skipif(not DOCKER, reason="no docker client is installed"), pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def _daemon_is_as_it_was(daemon: Daemon) -> Iterator[None]:
    with is_as_it_was(daemon):
        yield


def test_millions_of_lines_come_whole_and_in_order_at_the_client_and_in_the_log(daemon: Daemon, client: Client, long: bool) -> None:
    count = 10_000_000 if long else 300_000
    before = memory(daemon)
    command = (
        f"docker run --name=much --network=none busybox seq {count} | sha256sum; docker logs much | sha256sum; seq {count} | sha256sum"
    )
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=os.environ | daemon.environment, check=True)
    assert len(set(said.stdout.split())) == 2, said  # one sum, and the name "-"
    assert memory(daemon) < before + 40
    daemon.docker.says("rm", "much")


def test_a_log_is_begun_anew_when_it_is_large_and_followed_across(daemon: Daemon, client: Client, long: bool) -> None:
    count = 1_000_000 if long else 50_000
    options = {"Type": "json-file", "Config": {"max-size": "200k", "max-file": "3"}}
    id = client.create("seq", str(count), host={"LogConfig": options})
    with client.hijacked("POST", f"/containers/{id}/attach?stream=1&stdout=1") as line:
        client.ask("POST", f"/containers/{id}/start")
        assert output(rest(line)).split() == [str(number).encode() for number in range(1, count + 1)]
    files = sorted((daemon.place / "data/containers" / id).glob(f"{id}-json.log*"))
    assert [file.name.removeprefix(f"{id}-json.log") for file in files] == ["", ".1", ".2"]
    assert all(file.stat().st_size < 300_000 for file in files)
    kept = [int(number) for number in output(client.ask("GET", f"/containers/{id}/logs?stdout=1").data).split()]
    assert kept == [*range(kept[0], count + 1)] and len(kept) > 1000
    assert json.loads(files[0].read_text().splitlines()[-1])["log"] == f"{count}\n"
