"""Archives with tricks, and links that are swapped while files are copied: nothing is read or written outside the container."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.daemons import DOCKER, Daemon, ask
from tests.linux.daemon.sentences import is_a_sentence, send

pytestmark = pytest.mark.skipif(not DOCKER, reason="no docker client is installed")


@pytest.fixture(scope="module", autouse=True)
def _box(daemon: Daemon) -> Iterator[None]:
    daemon.docker.says("run", "-d", "--name=box", "--network=none", "busybox", "sleep", "100000")
    yield
    daemon.docker.says("rm", "--force", "box")


@pytest.fixture(autouse=True)
def _daemon_goes_on_and_logs_no_traceback(daemon: Daemon) -> Iterator[None]:
    before = daemon.log.read_text()
    yield
    assert ask(daemon.socket, "GET", "/_ping") == (200, b"OK")
    assert "Traceback" not in daemon.log.read_text().removeprefix(before)


def tar(*entries: tuple[str, bytes, str]) -> bytes:
    """An archive of names, types and link targets; files say that they are evil."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, kind, target in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            entry.size = 4 if kind == tarfile.REGTYPE else 0
            packed.addfile(entry, io.BytesIO(b"evil"))
    return out.getvalue()


FILE, LINK, HARD, DIRECTORY = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def put(daemon: Daemon, path: str, data: bytes, container: str = "box") -> tuple[int, str]:
    head = f"PUT /containers/{container}/archive?path={quote(path)} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(data)}\r\n\r\n"
    return send(daemon, head.encode() + data)


@pytest.mark.parametrize("deep", ["../" * 30, "/" + "../" * 30, "tmp/" + "../" * 30])
@pytest.mark.parametrize("shape", ["file", "link", "hard", "through"])
def test_what_is_copied_into_a_container_stays_in_it(shape: str, deep: str, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("good")
    outside = f"{deep}{str(tmp_path).lstrip('/')}"
    data = {
        "file": tar((f"{outside}/new", FILE, "")),
        "link": tar(("out", LINK, outside), ("out/new", FILE, "")),
        "hard": tar(("out", HARD, f"{outside}/target"), ("out", FILE, "")),
        "through": tar(("d", DIRECTORY, ""), ("d/out", LINK, outside), ("d/out/new", FILE, ""), ("d/out/target", FILE, "")),
    }[shape]
    status, text = put(daemon, "/tmp", data)
    assert status == 200 or (400 <= status < 500 and is_a_sentence(text)), (status, text)
    assert [path.name for path in tmp_path.iterdir()] == ["target"] and (tmp_path / "target").read_text() == "good"
    assert daemon.docker("exec", "box", "sh", "-c", "rm -rf /tmp/* /[t]mp/.[!.]*").code == 0


NO_ARCHIVES = {"text": b"nonsense" * 100, "cut": tar(("a", FILE, ""))[:514], "a name that is too long": tar(("x" * 10_000, FILE, ""))}


@pytest.mark.parametrize("name", NO_ARCHIVES)
def test_what_is_no_archive_is_refused(name: str, daemon: Daemon) -> None:
    status, text = put(daemon, "/tmp", NO_ARCHIVES[name])
    assert 400 <= status < 500 and is_a_sentence(text), (status, text)


def test_links_that_are_swapped_while_files_are_copied_lead_nowhere_outside(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret of the host")
    script = f"mkdir -p /real /tmp/w; echo inside > /real/secret; while :; do ln -sfn /real /tmp/w/d; ln -sfn {tmp_path} /tmp/w/d; done"
    daemon.docker.says("run", "-d", "--name=swap", "--network=none", "busybox", "sh", "-c", script)
    over = threading.Event()

    def copy_in() -> None:
        while not over.is_set():
            put(daemon, "/tmp/w/d", tar(("new", FILE, "")), "swap")

    copying = threading.Thread(target=copy_in)
    copying.start()
    try:
        for _ in range(40):
            status, body = ask(daemon.socket, "GET", "/containers/swap/archive?path=/tmp/w/d/secret")
            assert status in (200, 400, 404) and b"secret of the host" not in body
            status, body = ask(daemon.socket, "GET", "/containers/swap/archive?path=/tmp/w/d/.")
            assert status in (200, 400, 404) and b"secret of the host" not in body
    finally:
        over.set()
        copying.join()
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    daemon.docker.says("rm", "-f", "swap")
