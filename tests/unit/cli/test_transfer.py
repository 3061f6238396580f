"""pull, push, login, save, load, import and build: what reaches the engine, what is said before and after, and the exit codes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from labkit.cli import commands, engines
from labkit.engine.build.output import Output
from labkit.engine.build.running import CommandFailed
from labkit.errors import InvalidInput, Unreachable
from labkit.image.progress import Progress, Report
from labkit.image.registry import credentials
from labkit.image.registry.settings import Settings


class Thing:
    """As much of an image as is printed."""

    id = "sha256:a752e4a2727b"


class Fake:
    """An engine that remembers what it was asked to do, and fails if it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.failure: BaseException | None = None

    def _called(self, *what: object) -> None:
        self.calls.append(what)
        if self.failure:
            raise self.failure

    def pull(self, name: str, *, platform: str = "", all_tags: bool = False, report: Report) -> tuple[Thing, ...]:
        report(Progress("latest", "Pulling from library/nginx"))
        report(Progress("", "warning: mirror http://127.0.0.1:5000: connection refused"))
        self._called("pull", name, platform, all_tags)
        return (Thing(),)

    def push(self, name: str, *, all_tags: bool, report: Report) -> None:
        self._called("push", name, all_tags)

    def save(self, names: tuple[str, ...], out: BinaryIO) -> None:
        out.write(b"half of an archive")
        self._called("save", *names)

    def load(self, archive: BinaryIO, report: Report) -> tuple[str, ...]:
        self._called("load", archive.read())
        return ("Loaded image: web:v1",)

    def import_(self, archive: BinaryIO, name: str, **how: object) -> Thing:
        self._called("import", archive.read(), name, how)
        return Thing()

    def build(self, context: object, *, report: Callable[[Output], None], fetch: Callable[[str], object], **how: object) -> Thing:
        report(Output("Step 1/1 : FROM nginx\n"))
        report(Output("trouble\n", is_error=True))
        fetch("docker.io/library/nginx:latest")
        self._called("build", how)
        return Thing()

    def prune_builds(self) -> int:
        self._called("prune")
        return 1_982_256


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(engines, "engine", lambda *_: fake)
    monkeypatch.setattr(engines, "settings", Settings)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return fake


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(engine: Fake, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = commands.main([*words])
        return code, *capfd.readouterr()

    return run


WARNING = "labkit: warning: mirror http://127.0.0.1:5000: connection refused\n"


@pytest.mark.parametrize("path", [("pull",), ("image", "pull")])
def test_pull_says_which_tag_it_takes_and_at_last_the_whole_name(path: tuple[str, ...], engine: Fake, run: Run) -> None:
    out = "Using default tag: latest\nlatest: Pulling from library/nginx\ndocker.io/library/nginx:latest\n"
    assert run(*path, "nginx") == (0, out, WARNING)
    assert engine.calls == [("pull", "nginx", "", False)]


def test_pull_quietly_prints_the_name_alone_but_still_warns(engine: Fake, run: Run) -> None:
    assert run("pull", "-q", "--platform=linux/arm64", "nginx:1") == (0, "docker.io/library/nginx:1\n", WARNING)
    assert run("pull", "-qa", "me/web") == (0, "docker.io/me/web\n", WARNING)
    assert engine.calls == [("pull", "nginx:1", "linux/arm64", False), ("pull", "me/web", "", True)]


def test_a_pull_that_is_interrupted_says_that_it_can_go_on(engine: Fake, run: Run) -> None:
    engine.failure = KeyboardInterrupt()
    code, _, said = run("pull", "-q", "nginx")
    assert (code, "the next pull goes on from there" in said) == (130, True)


def test_a_name_that_is_none_is_told_before_anything_else(engine: Fake, run: Run) -> None:
    message = "labkit: invalid reference format: repository name (library/BAD) must be lowercase\n"
    assert run("pull", "BAD") == run("push", "BAD") == (1, "", message)
    assert engine.calls == []


@pytest.mark.parametrize("command", ["pull", "push"])
def test_who_finds_nobody_where_the_labs_registry_would_be_is_told_how_to_start_it(command: str, engine: Fake, run: Run) -> None:
    engine.failure = Unreachable("connection refused")
    assert "`labkit up`" in run(command, "127.0.0.1:5000/me/web:v1")[2]
    assert "`labkit up`" not in run(command, "127.0.0.1:5001/me/web:v1")[2]


def test_push_prints_the_name_when_it_is_quiet(engine: Fake, run: Run) -> None:
    assert run("push", "me/web") == (0, "Using default tag: latest\n", "")
    assert run("push", "-q", "me/web") == (0, "docker.io/me/web:latest\n", "")
    assert run("push", "-aq", "me/web") == (0, "docker.io/me/web\n", "")
    assert engine.calls == [("push", "me/web", False), ("push", "me/web", False), ("push", "me/web", True)]


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """What was logged in, instead of asking a registry."""
    done: list[tuple[str, ...]] = []
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def login(*given: object) -> None:
        done.append(tuple(map(str, given[:3])))
        (tmp_path / "config.json").write_text(json.dumps({"auths": {}}))

    monkeypatch.setattr(credentials, "login", login)
    return done


def test_login_takes_the_password_from_stdin(
    run: Run, logins: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for server in ("127.0.0.1:5000", "http://127.0.0.1:5000/v2/"):
        monkeypatch.setattr("sys.stdin", io.StringIO("secret \n"))
        code, out, err = run("login", "-u", "me", "--password-stdin", server)
        assert (code, out) == (0, "Login Succeeded\n")
        assert f"stored unencrypted in '{tmp_path}/config.json'" in err
    assert logins == [("127.0.0.1:5000", "me", "secret ")] * 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-p", "x", "--password-stdin"], "conflicting options: cannot specify both --password and --password-stdin"),
        (["--password-stdin"], "the --password-stdin option requires --username to be set"),
        (["-u", "me"], "Cannot perform an interactive login from a non TTY device"),
    ],
)
def test_login_needs_a_way_to_get_the_password(
    words: list[str], complaint: str, run: Run, logins: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, out, err = run("login", *words)
    assert (code, out, complaint in err, logins) == (1, "", True, [])


def test_logout_says_whether_there_was_anything(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "logout", lambda server: server == "docker.io")
    assert run("logout") == (0, "Removing login credentials for docker.io\n", "")
    assert run("logout", "https://registry.lab:5000/") == (0, "Not logged in to registry.lab:5000\n", "")


def test_an_archive_is_there_when_it_is_whole(engine: Fake, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "web.tar"
    assert run("save", "-o", str(out), "web", "busybox")[0] == 0
    assert (out.read_bytes(), engine.calls) == (b"half of an archive", [("save", "web", "busybox")])
    out.write_bytes(b"what was there before")
    engine.failure = InvalidInput("no")
    assert run("save", "-o", str(out), "web") == (1, "", "labkit: no\n")
    assert (out.read_bytes(), [*tmp_path.iterdir()]) == (b"what was there before", [out])


@pytest.mark.parametrize("place", ["{}", "{}/no/such.tar"])
def test_an_archive_needs_a_place_to_go(place: str, run: Run, tmp_path: Path) -> None:
    path = place.format(tmp_path)
    code, _, said = run("save", "-o", path, "web")
    assert code == 1 and path in said and [*tmp_path.iterdir()] == []


def test_no_archive_is_written_to_a_terminal_or_read_from_one(engine: Fake, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert run("save", "web")[2] == "labkit: cowardly refusing to save to a terminal. Use the -o flag or redirect\n"
    assert "stdin is empty" in run("load")[2] and "from a terminal" in run("build", "-")[2]
    assert engine.calls == []


def test_save_without_a_file_goes_to_stdout(run: Run) -> None:
    assert run("save", "web") == (0, "half of an archive", "")


def test_load_reads_a_file_or_stdin(engine: Fake, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(b"of a file")
    assert run("load", "-i", str(tmp_path / "in.tar")) == (0, "Loaded image: web:v1\n", "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"of a pipe")))
    assert run("load", "-q") == (0, "Loaded image: web:v1\n", "")
    assert engine.calls == [("load", b"of a file"), ("load", b"of a pipe")]
    assert run("load", "-i", "/nosuch")[0] == 1


def test_import_hands_on_what_is_to_change(engine: Fake, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"files")))
    assert run("import", "-c", "CMD sh", "-m", "by hand", "--platform=linux/arm64", "-", "own:v1") == (0, "sha256:a752e4a2727b\n", "")
    assert engine.calls == [("import", b"files", "own:v1", {"changes": ("CMD sh",), "message": "by hand", "platform": "linux/arm64"})]
    assert "wget -O - http://x/y.tar | labkit import -" in run("import", "http://x/y.tar")[2]


def test_build_says_what_it_does_and_hands_on_the_options(engine: Fake, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Dockerfile").write_text("FROM nginx\n")
    monkeypatch.setenv("FROM_HERE", "taken")
    options = (
        "-t",
        "web:v1",
        "--tag=web:v2",
        "--build-arg",
        "A=b=c",
        "--build-arg=FROM_HERE",
        "--label",
        "x=y",
        "--label",
        "z",
        "--no-cache",
    )
    code, out, err = run("build", *options, "--pull", "--network=none", "--target=last", "--iidfile", str(tmp_path / "id"), str(tmp_path))
    assert (code, out, err) == (0, "Step 1/1 : FROM nginx\nlatest: Pulling from library/nginx\n", f"trouble\n{WARNING}")
    assert engine.calls[1] == ("build", {
        "tags": ("web:v1", "web:v2"), "args": {"A": "b=c", "FROM_HERE": "taken"}, "labels": {"x": "y", "z": ""}, "target": "last",
        "no_cache": True, "network": "none", "always_pull": True,
    })  # fmt: skip
    assert (tmp_path / "id").read_text() == Thing.id


def test_a_build_that_is_quiet_prints_the_id_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("FROM nginx\n")
    assert run("build", "-q", "-f", str(tmp_path / "other"), str(tmp_path)) == (0, f"{Thing.id}\n", WARNING)


def test_a_build_ends_with_the_code_of_the_command_that_failed(engine: Fake, run: Run, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM nginx\n")
    engine.failure = CommandFailed(("/bin/sh", "-c", "exit 3"), 3)
    code, _, said = run("build", str(tmp_path))
    assert (code, said.splitlines()[-1]) == (3, "labkit: The command '/bin/sh -c exit 3' returned a non-zero code: 3")


def test_a_context_is_a_directory_or_a_pipe(engine: Fake, run: Run) -> None:
    assert run("build", "/nosuch") == (1, "", 'labkit: unable to prepare context: path "/nosuch" not found\n')
    assert "git clone https://x/y.git" in run("build", "https://x/y.git")[2]
    assert "can't use stdin for both" in run("build", "-f", "-", "-")[2]
    assert engine.calls == []


def test_builder_prune_says_how_much_that_was(engine: Fake, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("builder", "prune", "-f") == (0, "Total reclaimed space: 1.982MB\n", "")
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert run("builder", "prune", "--all")[1].startswith("WARNING! This will remove all build cache.\n")
    assert engine.calls == [("prune",)]
