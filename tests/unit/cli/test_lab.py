"""The commands for people: what they print, and their exit codes."""

from __future__ import annotations

import json
import os

import pytest

from labkit import cli
from labkit.cli import lab
from labkit.errors import Conflict, InvalidInput, KernelError, LabError
from labkit.image.progress import Progress
from labkit.lab import doctor, jupyter, mirrors, registry, reset, seed
from labkit.lab.seed import recipes

FINE = doctor.Row("root", doctor.State.FINE, "root, with every capability")
LIMITED = doctor.Row("/dev/kvm", doctor.State.LIMITED, "ENOENT", "be patient")
LACKING = doctor.Row("overlayfs", doctor.State.LACKING, "ENODEV", "modprobe overlay")
SERVER = jupyter.Server(4711, 1, "127.0.0.1", 8899, "c0ffee")
REGISTRY = registry.Server(4712, 1, 5000, "/var/lib/labkit/registry")


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command_and_what_it_does(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main([flag]) == 0
    printed = capsys.readouterr().out
    for command in ("doctor", "up", "url", "down", "reset", "completion", "runtime"):
        assert command in printed


@pytest.mark.parametrize("command", ["doctor", "up", "url", "down", "reset", "completion"])
def test_each_command_has_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main([command, "-h"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: labkit {command}")


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(["dotcor"]) == 2
    assert "dotcor" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(InvalidInput("port: -1"), 2), (KernelError(1, "mount", "/x"), 1), (LabError("no"), 1)])
def test_an_error_is_one_line_on_stderr_and_an_exit_code(
    error: LabError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(all: bool) -> None:
        raise error

    monkeypatch.setattr(reset, "reset", fail)
    assert lab.main(["reset"]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"labkit: {error}\n")


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(all: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reset, "reset", interrupted)
    assert lab.main(["reset"]) == 130


@pytest.mark.parametrize("command", ["up", "url", "down", "reset"])
def test_without_root_it_says_so(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert lab.main([command]) == 1
    assert f"`labkit {command}` takes root: sudo" in capsys.readouterr().err


@pytest.mark.parametrize(("rows", "code"), [((FINE, LIMITED), 0), ((FINE, LACKING), 1)])
def test_doctor_fails_only_for_what_the_lab_cannot_do_without(
    rows: tuple[doctor.Row, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "rows", lambda: rows)
    assert lab.main(["doctor"]) == code


def test_doctor_prints_mark_subject_finding_and_remedy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "rows", lambda: (FINE, LACKING))
    lab.main(["doctor"])
    assert capsys.readouterr().out.splitlines() == [
        "✔ root       root, with every capability",
        "✘ overlayfs  ENODEV",
        "             → modprobe overlay",
    ]


def test_doctor_prints_json_for_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "rows", lambda: (LIMITED,))
    lab.main(["doctor", "--json"])
    assert json.loads(capsys.readouterr().out) == [
        {"name": "/dev/kvm", "state": "limited", "mark": "!", "found": "ENOENT", "remedy": "be patient"}
    ]


@pytest.fixture
def lab_of_fakes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Servers that start at once, and a registry that has everything; what was asked for."""
    asked: list[object] = []
    monkeypatch.setattr(jupyter, "up", lambda host, port: asked.append((host, port)) or SERVER)
    monkeypatch.setattr(jupyter, "running", lambda: SERVER)
    monkeypatch.setattr(registry, "up", lambda: REGISTRY)
    monkeypatch.setattr(mirrors, "name", asked.append)
    monkeypatch.setattr(recipes, "missing", lambda url: ())
    return asked


def test_up_warns_once_and_prints_the_url_once(
    lab_of_fakes: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jupyter, "running", lambda: None)
    lab.main(["up", "--port", "9000"])
    first = capsys.readouterr().out
    monkeypatch.setattr(jupyter, "running", lambda: SERVER)
    lab.main(["up"])
    second = capsys.readouterr().out
    assert lab_of_fakes == [REGISTRY.url, ("127.0.0.1", 9000), REGISTRY.url, ("127.0.0.1", 8899)]
    assert (first.count(SERVER.url), second.count(SERVER.url)) == (1, 1)
    assert "takes root" in first
    assert "takes root" not in second


def test_up_makes_the_images_that_are_missing_and_says_what_it_does(
    lab_of_fakes: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recipes, "missing", lambda url: recipes.RECIPES[1:])
    monkeypatch.setattr(seed, "seed", lambda report, server: report(Progress("debian", "extracting archives")))
    assert lab.main(["up"]) == 0
    assert "once, in about a minute: debian, nginx …\ndebian: extracting archives\n" in capsys.readouterr().out


def test_where_images_cannot_be_made_up_says_so_and_starts_jupyterlab(
    lab_of_fakes: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(report: object, server: object) -> None:
        raise LabError("not in the lab's registry: debian")

    monkeypatch.setattr(recipes, "missing", lambda url: recipes.RECIPES)
    monkeypatch.setattr(seed, "seed", fail)
    assert lab.main(["up"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "labkit: not in the lab's registry: debian\n"
    assert SERVER.url in captured.out


def test_without_a_registry_up_starts_jupyterlab_and_fails(
    lab_of_fakes: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise Conflict("the lab's registry needs port 5000")

    monkeypatch.setattr(registry, "up", fail)
    assert lab.main(["up"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "labkit: the lab's registry needs port 5000\n"
    assert SERVER.url in captured.out


@pytest.mark.parametrize(("part", "asked"), [("registry", [REGISTRY.url]), ("jupyterlab", [("0.0.0.0", 8899)])])
def test_one_part_of_the_lab_starts_alone(part: str, asked: list[object], lab_of_fakes: list[object]) -> None:
    assert lab.main(["up", "--only", part, "--host", "0.0.0.0"]) == 0
    assert lab_of_fakes == asked


def test_url_prints_the_url_and_nothing_else(lab_of_fakes: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(["url"]) == 0
    assert capsys.readouterr().out == f"{SERVER.url}\n"


def test_without_jupyterlab_there_is_no_url_but_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(jupyter, "running", lambda: None)
    assert lab.main(["url"]) == 1
    assert "`labkit up`" in capsys.readouterr().err


@pytest.mark.parametrize(("stopped", "words"), [(SERVER, "127.0.0.1:8899 is stopped"), (None, "was not running")])
def test_down_says_what_it_stopped(
    stopped: jupyter.Server | None, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jupyter, "down", lambda: stopped)
    monkeypatch.setattr(registry, "down", lambda: REGISTRY if stopped else None)
    assert lab.main(["down"]) == 0
    printed = capsys.readouterr().out
    assert words in printed
    assert ("127.0.0.1:5000 is stopped; its images stay" in printed) == bool(stopped)


@pytest.mark.parametrize(("taken", "words"), [(("unmounted /run/labkit/x",), "unmounted /run/labkit/x"), ((), "Nothing of the lab's")])
def test_reset_lists_what_it_took_back(
    taken: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reset, "reset", lambda all: taken)
    assert lab.main(["reset"]) == 0
    assert words in capsys.readouterr().out


def test_reset_takes_everything_only_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    monkeypatch.setattr(reset, "reset", lambda all: given.append(all) or ())
    lab.main(["reset"])
    lab.main(["reset", "--all"])
    assert given == [False, True]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(["completion", shell]) == 0
    assert f"_LABKIT_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_the_first_word_runtime_goes_to_the_other_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit.cli import runtime

    given: list[list[str]] = []
    monkeypatch.setattr(runtime, "main", lambda arguments: given.append(arguments) or 7)
    monkeypatch.setattr("sys.argv", ["labkit", "runtime", "state", "c1"])
    assert cli.main() == 7
    assert given == [["state", "c1"]]
