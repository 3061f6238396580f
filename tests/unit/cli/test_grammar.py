"""docker's grammar: what may be typed, what is said when it is wrong (recorded from docker 28), and the exit codes."""

from __future__ import annotations

import os
import re

import click
import pytest

from labkit.cli import commands, grammar, lab

GROUPS = [("image", commands.image), ("builder", commands.builder), ("container", commands.container), ("volume", commands.volume),
          ("network", commands.network), ("system", commands.system)]  # fmt: skip
COMMANDS = {
    (*path, name): command
    for path, group in (((), commands.assembled()), *(((name,), group) for name, group in GROUPS))
    for name in group.list_commands(click.Context(group))
    if isinstance(command := group.get_command(click.Context(group), name), grammar.Command)
}


@pytest.fixture
def words_of(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A command `labkit try` with a switch that is on and one with a value; what it was called with."""
    called: list[dict[str, object]] = []

    @grammar.command("try", "NAME [NAME...]", at_least=1, at_most=3)
    @grammar.switch("-H", "--human", default=True, help="x")
    @grammar.switch("-q", "--quiet", help="x")
    @grammar.value("-f", "--filter", many=True, help="x")
    def attempt(**given: object) -> None:
        called.append(given)

    monkeypatch.setitem(lab.lab.commands, "try", attempt)
    return called


@pytest.mark.parametrize(
    ("line", "human", "quiet", "filters", "words"),
    [
        ("a", True, False, (), ("a",)),
        ("-q a b", True, True, (), ("a", "b")),
        ("a -q", True, True, (), ("a",)),
        ("--human=false a", False, False, (), ("a",)),
        ("-H=0 -q=true a", False, True, (), ("a",)),
        ("-qf x=y --filter=z=w a", True, True, ("x=y", "z=w"), ("a",)),
        ("-- -q --human=false", True, False, (), ("-q", "--human=false")),
    ],
)
def test_options_are_read_as_docker_reads_them(
    line: str, human: bool, quiet: bool, filters: tuple[str, ...], words: tuple[str, ...], words_of: list[dict[str, object]]
) -> None:
    assert lab.main(["try", *line.split()]) == 0
    assert words_of == [{"human": human, "quiet": quiet, "filter": filters, "words": words}]


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("", 1, "labkit: 'labkit try' requires at least 1 argument"),
        ("a b c d", 1, "labkit: 'labkit try' requires at most 3 arguments"),
        ("--nope a", 125, "unknown flag: --nope"),
        ("--quite a", 125, "unknown flag: --quite (did you mean --quiet?)"),
        ("-Z a", 125, "unknown shorthand flag: 'Z' in -Z"),
        ("--quiet=perhaps a", 125, 'invalid argument "perhaps" for "-q, --quiet" flag: must be true or false'),
    ],
)
def test_a_mistake_is_told_in_dockers_words_with_usage_and_where_help_is(
    line: str, code: int, said: str, words_of: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.main(["try", *line.split()]) == code
    captured = capsys.readouterr()
    help = "Usage:  labkit try [OPTIONS] NAME [NAME...]\n\nRun 'labkit try --help' for more information\n"
    assert (captured.out, captured.err, words_of) == ("", f"{said}\n\n{help}", [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pul", "nginx"], "labkit: unknown command: labkit pul (did you mean pull?)"),
        (["image", "xyzzy"], "labkit: unknown command: labkit image xyzzy\n"),
    ],
)
def test_a_command_that_is_not_there_may_be_a_slip_of_a_finger(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(words) == 2
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("path", sorted(COMMANDS), ids=" ".join)
def test_each_command_has_help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main([*path, "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"Usage: labkit {' '.join(path)}")
    assert COMMANDS[path].get_short_help_str()


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert lab.main(["images"]) == 1
    assert capsys.readouterr().err == "labkit: `labkit images` takes root: sudo labkit images\n"


def test_help_lists_the_commands_by_subject_and_aliases_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line.endswith(":") and line[0] != " "] == [
        "Options:",
        "The lab:",
        "Containers:",
        "The daemon:",
        "Images:",
        "Registries:",
        "Management Commands:",
    ]
    assert lab.main(["image", "--help"]) == 0
    listed = re.findall(r"^  ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert listed == ["build", "history", "import", "inspect", "load", "ls", "prune", "pull", "push", "rm", "save", "tag"]


def test_the_completion_of_a_shell_knows_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_LABKIT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "labkit pu")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        lab.main([])
    assert capsys.readouterr().out.split() == ["plain,pull", "plain,push"]
