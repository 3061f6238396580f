"""The grammar that docker's commands have, for click: what a person may type, and what is said when it is wrong.

    @command("tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", at_least=2, at_most=2)
    def tag(words: tuple[str, ...]) -> None: …

What differs from click's own: a switch can be given a value (``--human=false``), a command says how many arguments it takes, not what
each is called, and a mistake is told in docker's words, with docker's exit codes: 125 for an option, 1 for all else.
Source: ``docker COMMAND --help``; github.com/spf13/pflag, which reads docker's options.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING

import click

from labkit.cli import engines, exits
from labkit.errors import LabError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem] | list[str]"]
Decorator = Callable[[Callable[..., object]], Callable[..., object]]

_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
HELP = {"help_option_names": ["-h", "--help"]}


class Mistake(click.UsageError):
    """What was typed cannot be: said with the command's usage and where its help is."""

    def __init__(self, message: str, ctx: click.Context, code: int = exits.FAILED) -> None:
        super().__init__(message, ctx)
        self.code = code

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click's is of the class
        """What the process ends with."""
        return self.code

    def show(self, file: IO[str] | None = None) -> None:
        """Print it."""
        assert self.ctx is not None
        usage = self.ctx.get_usage().replace("Usage: ", "Usage:  ", 1)
        click.echo(f"{self.message}\n\n{usage}\n\nRun '{self.ctx.command_path} --help' for more information", file=file or sys.stderr)


class Command(click.Command):
    """A command of docker's."""

    at_least: int = 0
    at_most: int | None = None
    metavar: str = ""
    allow_extra_args = True  # what is too much is told in other words than click's

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """``[OPTIONS] IMAGE [IMAGE...]``."""
        has_options = any(isinstance(parameter, click.Option) and not parameter.hidden for parameter in self.params)
        return [*(["[OPTIONS]"] if has_options else []), *([self.metavar] if self.metavar else [])]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words; a switch with a value is click's switch, and then set to the value."""
        try:
            words, switched = self._switches(ctx, args)
            rest = super().parse_args(ctx, words)
        except click.NoSuchOption as error:
            raise Mistake(self._unknown(error), ctx, exits.OPTION) from None
        except (click.BadOptionUsage, click.BadParameter) as error:
            raise Mistake(error.message, ctx, exits.OPTION) from None
        ctx.params.update(switched)
        given = len(ctx.params.get("words") or ())
        if ctx.resilient_parsing:  # a shell asks how the line could go on
            return rest
        if ctx.args and self.at_most == 0:
            raise Mistake(f"{ctx.find_root().info_name}: '{ctx.command_path}' accepts no arguments", ctx)
        if given < self.at_least or (self.at_most is not None and given > self.at_most):
            required = _arguments(given, self.at_least, self.at_most)
            raise Mistake(f"{ctx.find_root().info_name}: '{ctx.command_path}' requires {required}", ctx)
        return rest

    def invoke(self, ctx: click.Context) -> object:
        """Do it; returns the exit code. What went wrong is one line on stderr."""
        try:
            return super().invoke(ctx)
        except LabError as error:
            exits.report(error, by_daemon=engines.asks_daemon(ctx))
            return exits.FAILED

    def _switches(self, ctx: click.Context, args: Sequence[str]) -> tuple[list[str], dict[str, bool]]:
        """The words without the values of switches, and what these set. After ``--`` all are arguments."""
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option) and option.is_flag]
        flags = {name: option for option in options for name in option.opts}
        words: list[str] = []
        switched: dict[str, bool] = {}
        for index, word in enumerate(args):
            if word == "--":
                return [*words, *args[index:]], switched
            name, equals, value = word.partition("=")
            option = flags.get(name) if equals and word.startswith("-") else None
            if option is None or option.name is None:
                words.append(word)
            elif value in _TRUE or value in _FALSE:
                switched[option.name] = value in _TRUE
            else:
                forms = ", ".join(sorted(option.opts, key=len))
                raise click.BadParameter(f'invalid argument "{value}" for "{forms}" flag: must be true or false')
        return words, switched

    def _unknown(self, error: click.NoSuchOption) -> str:
        if not error.option_name.startswith("--"):
            return f"unknown shorthand flag: {error.option_name[1:2]!r} in {error.option_name}"
        near = f" (did you mean {error.possibilities[0]}?)" if error.possibilities else ""
        return f"unknown flag: {error.option_name}{near}"


class Group(click.Group):
    """Commands under headings, in the order in which they were added.

    ``later`` are commands by where they are, ``"labkit.cli.client.listing:ps"``: what is not called for is not imported.
    """

    sections: Mapping[str, Sequence[str]] = {}
    later: Mapping[str, str] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list({**self.commands, **self.later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in self.commands and cmd_name in self.later:
            module, _, attribute = self.later[cmd_name].partition(":")
            self.add_command(getattr(importlib.import_module(module), attribute), cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names; a slip of a finger is told from what is not there."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], names, 1, 0.7)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise Mistake(f"{ctx.find_root().info_name}: unknown command: {ctx.command_path} {args[0]}{meant}", ctx, exits.USAGE)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section; what is in no section comes last."""
        named = {name for names in self.sections.values() for name in names}
        known = {name: each for name in self.list_commands(ctx) if (each := self.get_command(ctx, name))}
        others = [name for name, each in known.items() if name not in named and each.name == name and not each.hidden]  # no aliases
        width = max((len(name) for name in known), default=0)
        for heading, names in (*self.sections.items(), ("Commands", others)):
            rows = [(f"{name:{width}}", known[name].get_short_help_str(200)) for name in names if name in known]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def command(
    name: str,
    metavar: str = "",
    *,
    at_least: int = 0,
    at_most: int | None = None,
    complete: Completer | None = None,
    kind: type[Command] = Command,
) -> Callable[[Callable[..., object]], Command]:
    """Make a command of a function that takes its options by name and its arguments as ``words``."""

    def decorate(function: Callable[..., object]) -> Command:
        made = click.command(name, cls=kind, context_settings=HELP)(function)
        if at_most != 0:
            made.params.append(click.Argument(["words"], nargs=-1, shell_complete=complete))
        made.metavar, made.at_least, made.at_most = metavar, at_least, at_most
        return made

    return decorate


def switch(*names: str, help: str, default: bool = False, hidden: bool = False) -> Decorator:
    """An option that is there or not."""
    return click.option(*names, is_flag=True, default=default, help=help, hidden=hidden)


def value(*names: str, kind: str = "string", help: str, default: str | None = "", many: bool = False, hidden: bool = False) -> Decorator:
    """An option with a value; ``kind`` is what the help calls it."""
    if many:
        return click.option(*names, metavar=kind, multiple=True, help=help, hidden=hidden)
    return click.option(*names, metavar=kind, default=default, help=help, hidden=hidden)


def _arguments(given: int, at_least: int, at_most: int | None) -> str:
    """What is required, as docker says it to who gave too few or too many."""
    count = at_least if given < at_least else at_most or 0
    bound = "" if at_least == at_most else "at least " if given < at_least else "at most "
    return f"{bound}{count} argument{'' if count == 1 else 's'}" if count else "no arguments"
