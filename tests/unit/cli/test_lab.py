"""The commands for people: what they print, and their exit codes."""

from __future__ import annotations

import json
import os

import pytest

from labkit import cli
from labkit.cli import lab
from labkit.errors import InvalidInput, KernelError, LabError
from labkit.lab import doctor, jupyter, reset

FINE = doctor.Row("root", doctor.State.FINE, "root, with every capability")
LIMITED = doctor.Row("/dev/kvm", doctor.State.LIMITED, "ENOENT", "be patient")
LACKING = doctor.Row("overlayfs", doctor.State.LACKING, "ENODEV", "modprobe overlay")
SERVER = jupyter.Server(4711, 1, "127.0.0.1", 8899, "c0ffee")


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command_and_what_it_does(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main([flag]) == 0
    printed = capsys.readouterr().out
    for command in ("doctor", "up", "down", "reset", "completion", "runtime"):
        assert command in printed


@pytest.mark.parametrize("command", ["doctor", "up", "down", "reset", "completion"])
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
    def fail() -> None:
        raise error

    monkeypatch.setattr(reset, "reset", fail)
    assert lab.main(["reset"]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"labkit: {error}\n")


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reset, "reset", interrupted)
    assert lab.main(["reset"]) == 130


@pytest.mark.parametrize("command", ["up", "down", "reset"])
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


def test_up_warns_once_and_prints_the_url_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []
    monkeypatch.setattr(jupyter, "up", lambda host, port: asked.append((host, port)) or SERVER)
    monkeypatch.setattr(jupyter, "running", lambda: None)
    lab.main(["up", "--port", "9000"])
    first = capsys.readouterr().out
    monkeypatch.setattr(jupyter, "running", lambda: SERVER)
    lab.main(["up"])
    second = capsys.readouterr().out
    assert asked == [("127.0.0.1", 9000), ("127.0.0.1", 8899)]
    assert (first.count(SERVER.url), second.count(SERVER.url)) == (1, 1)
    assert "takes root" in first
    assert "takes root" not in second


@pytest.mark.parametrize(("stopped", "words"), [(SERVER, "127.0.0.1:8899 is stopped"), (None, "was not running")])
def test_down_says_what_it_stopped(
    stopped: jupyter.Server | None, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jupyter, "down", lambda: stopped)
    assert lab.main(["down"]) == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("taken", "words"), [(("unmounted /run/labkit/x",), "unmounted /run/labkit/x"), ((), "Nothing of the lab's")])
def test_reset_lists_what_it_took_back(
    taken: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reset, "reset", lambda: taken)
    assert lab.main(["reset"]) == 0
    assert words in capsys.readouterr().out


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
