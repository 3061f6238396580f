"""The grammar of ``labkit runtime``, as engines speak it; what the commands do is asked of the kernel in tests/conformance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labkit.cli import runtime, runtime_commands, runtime_grammar
from labkit.errors import InvalidInput, LabError
from labkit.runtime import defaults

PROCESS = defaults.spec().process


def parsed(*words: str) -> dict[str, Any]:
    return vars(runtime_grammar.parser().parse_args(words))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # conmon
        (
            "create --bundle /b --pid-file /p --console-socket /tmp/conmon-term.X ID",
            {"id": "ID", "bundle": "/b", "pid_file": "/p", "console_socket": "/tmp/conmon-term.X"},
        ),
        ("create --no-pivot --preserve-fds 2 ID", {"id": "ID", "preserve_fds": 2}),
        ("exec --pid-file /p --process /j --detach --tty --console-socket /s ID", {"process": "/j", "detach": True, "tty": True}),
        ("kill ID 15", {"id": "ID", "signal": "15", "all": False}),
        ("delete --force ID", {"id": "ID", "force": True}),
        # containerd's shim
        ("--root /r --log /l --log-format json create --bundle /b ID", {"root": "/r", "log": "/l", "log_format": "json", "id": "ID"}),
        ("--root /r --systemd-cgroup kill --all ID 9", {"signal": "9", "all": True, "id": "ID"}),
        ("ps --format json ID", {"format": "json", "id": "ID", "args": []}),
        ("update --resources=- ID", {"resources": "-", "id": "ID"}),
        ("state ID", {"id": "ID"}),
        # people
        ("run ID", {"id": "ID", "bundle": ".", "detach": False, "keep": False}),
        ("run -d -b /b ID", {"id": "ID", "bundle": "/b", "detach": True}),
        ("kill ID", {"signal": "TERM"}),
        ("ps ID -o pid,comm", {"args": ["-o", "pid,comm"]}),
        ("list -q", {"quiet": True, "root": "/run/labkit/runtime"}),
        ("exec -e A=b -e C=d -u 1:2 ID ls -l --all", {"env": ["A=b", "C=d"], "user": "1:2", "args": ["ls", "-l", "--all"]}),
        ("plan --shell", {"shell": True, "id": "demo"}),
    ],
)
def test_a_line_is_understood(line: str, expected: dict[str, object]) -> None:
    found = parsed(*line.split())
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    "line",
    ["", "nonsense", "create", "run", "start", "list extra", "run --bund /b ID", "create --preserve-fds x ID", "--log-format xml list"],
)
def test_a_line_that_is_wrong_is_exit_code_2_with_the_usage(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        runtime.main(line.split())
    assert capsys.readouterr().err.startswith("usage: labkit runtime")


def test_every_command_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        runtime.main(["--help"])
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ") and line[4] != " "]
    assert {"create", "start", "run", "exec", "state", "kill", "delete", "pause", "resume", "list", "ps", "update"} <= set(names)
    for name in names:
        with pytest.raises(SystemExit, match="0"):
            runtime.main([name, "--help"])
        assert capsys.readouterr().out.startswith(f"usage: labkit runtime {name}")


# What exec makes of it


def program(*words: str, **changes: Any) -> Any:
    options = runtime_grammar.parser().parse_args(["exec", *words])
    return runtime_commands._program(options, PROCESS)


def test_a_program_is_the_containers_but_for_what_the_line_changes() -> None:
    made = program("--env", "A=b", "--user", "12:13", "--additional-gids", "14", "--cwd", "/tmp", "--no-new-privs", "box", "ls", "-l")
    assert (made.args, made.cwd, made.terminal) == (("ls", "-l"), "/tmp", False)
    assert made.env == (*PROCESS.env, "A=b")
    assert (made.user.uid, made.user.gid, made.user.additionalGids) == (12, 13, (14,))
    assert made.noNewPrivileges and made.capabilities == PROCESS.capabilities and made.rlimits == PROCESS.rlimits


def test_a_user_alone_keeps_the_group() -> None:
    assert program("--user", "12", "box", "ls").user.gid == PROCESS.user.gid


def test_a_capability_is_added_to_those_of_the_container() -> None:
    have, made = PROCESS.capabilities, program("--cap", "CAP_NET_ADMIN", "box", "ls").capabilities
    assert have and made.bounding == (*have.bounding, "CAP_NET_ADMIN") and made.effective == (*have.effective, "CAP_NET_ADMIN")
    assert made.ambient == have.ambient


def test_a_program_may_come_from_a_file_and_get_a_terminal_by_the_line(tmp_path: Path) -> None:
    (tmp_path / "process.json").write_text(json.dumps({"args": ["ls"], "cwd": "/", "user": {"uid": 0, "gid": 0}}))
    made = program("--process", str(tmp_path / "process.json"), "--tty", "box")
    assert (made.args, made.terminal, made.capabilities) == (("ls",), True, None)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ([], "process.args"),
        (["--user", ":5", "box", "ls"], "--user"),
        (["--user", "5:", "box", "ls"], "--user"),
        (["--user", "root", "box", "ls"], "--user"),
        (["--user", "-1", "box", "ls"], "--user"),
        (["--user", "99999999999", "box", "ls"], "process.user.uid"),
        (["--cwd", "tmp", "box", "ls"], "process.cwd"),
        (["--env", "nothing", "box", "ls"], "process.env"),
    ],
)
def test_a_program_that_cannot_be_is_refused_by_its_field(words: list[str], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        program(*(words or ["box"]))


# How a failure is told


def failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise error

    _, *rest = runtime_grammar.COMMANDS["state"]
    monkeypatch.setitem(runtime_grammar.COMMANDS, "state", (fail, *rest))


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_is_a_line_on_stderr_and_in_the_log(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failing(LabError('it is "broken"'), monkeypatch)
    assert runtime.main(["--log", str(tmp_path / "log"), "--log-format", form, "state", "box"]) == 1
    assert capsys.readouterr().err == 'labkit: it is "broken"\n'
    line = (tmp_path / "log").read_text()
    if form == "json":
        entry = json.loads(line)
        assert (entry["level"], entry["msg"]) == ("error", 'it is "broken"')
    else:
        assert line.endswith('level=error msg="it is \\"broken\\""\n')


def test_a_file_that_cannot_be_used_is_named_and_so_is_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failing(PermissionError(13, "Permission denied", "/some/file"), monkeypatch)
    log = tmp_path / "missing/log"
    assert runtime.main(["--log", str(log), "state", "box"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "labkit: cannot use /some/file: EACCES (Permission denied)",
        f"labkit: cannot use {log}: ENOENT (No such file or directory)",
    ]


def test_a_mistake_of_labkits_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(ChildProcessError(10, "No child processes"), monkeypatch)
    with pytest.raises(ChildProcessError):
        runtime.main(["state", "box"])
