"""Commands that ask the daemon: docker's grammar to the letter, docker's words for what goes wrong, docker's exit codes.

    @ask("stop", "CONTAINER [CONTAINER...]", at_least=1)
    @option("-t", "--timeout", kind=INT, default=None, help="Seconds to wait before killing the container")
    def stop(api: Api, words: tuple[str, ...], timeout: int | None) -> int: …

On top of ``labkit.cli.grammar``: values have kinds, an option that lacks its value is told so, and ``run`` and ``exec`` stop reading
options at the image or container, for what follows is another program's. What goes wrong is one line on stderr, without a prefix.

    125 the daemon or the client has refused · 126 the program cannot be executed · 127 it is not there · 128 + n it died of signal n

Source: github.com/spf13/pflag; ``docker run --help``; man docker-run, EXIT STATUS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import click

from labkit.cli import exits
from labkit.cli.client.values import STRING, Kind
from labkit.cli.grammar import HELP, Command, Completer, Decorator, Mistake
from labkit.errors import LabError

NOT_STARTED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127


class Failed(LabError):
    """A command cannot go on, and ends with ``code``. The message, if there is one, is printed as it is."""

    def __init__(self, message: str = "", code: int = exits.FAILED) -> None:
        super().__init__(message)
        self.code = code


class Asking(Command):
    """A command that asks the daemon."""

    def invoke(self, ctx: click.Context) -> object:
        """Do it; returns the exit code."""
        try:
            return click.Command.invoke(self, ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that nothing fails once more when Python ends
            return 128 + 13
        except LabError as error:
            return self.failed(ctx, error)

    def failed(self, _ctx: click.Context, error: LabError) -> int:
        """Say what went wrong; returns the exit code that stands for it."""
        say(str(error))
        return error.code if isinstance(error, Failed) else exits.FAILED

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words. What lacks a value is told as docker tells it."""
        try:
            return super().parse_args(ctx, args)
        except Mistake as mistake:
            name = getattr(mistake.__context__, "option_name", "")
            if isinstance(mistake.__context__, click.BadOptionUsage) and name:
                shown = name if name.startswith("--") else f"'{name[1:]}' in {name}"
                raise Mistake(f"flag needs an argument: {shown}", ctx, exits.OPTION) from None
            raise

    def _switches(self, ctx: click.Context, args: Sequence[str]) -> tuple[list[str], dict[str, bool]]:
        """The words without the values of switches, and what these set; what follows the last option is left alone."""
        options = {name: each for each in self.get_params(ctx) if isinstance(each, click.Option) for name in each.opts}
        words: list[str] = []
        switched: dict[str, bool] = {}
        index = 0
        while index < len(args):
            word = args[index]
            if word == "--" or (not self.allow_interspersed_args and (not word.startswith("-") or word == "-")):
                break
            index += 1
            name, equals, given = word.partition("=")
            option = options.get(name)
            if option is not None and option.name is not None and option.is_flag and equals and word.startswith("-"):
                switched[option.name] = _truth(given, option)
            elif option is not None and not option.is_flag and equals and not name.startswith("--"):
                words += [name, given]  # -n=5
            else:
                words.append(word)
                if _wants_more(word, options) and index < len(args):
                    words.append(args[index])
                    index += 1
        return [*words, *args[index:]], switched


class Program(Asking):
    """A command about a program: what follows the first argument is the program's, options as well."""

    allow_interspersed_args = False


class Run(Program):
    """A command that ends with the program's exit code, and so has codes of its own for what is not the program's fault."""

    def failed(self, ctx: click.Context, error: LabError) -> int:
        """125, 126 or 127, by what the daemon says of the program."""
        if isinstance(error, Failed):
            return super().failed(ctx, error)
        say(f"{ctx.find_root().info_name}: {error}\n\nRun '{ctx.command_path} --help' for more information")
        return program_code(str(error))


def program_code(said: str) -> int:
    """The exit code for a program that did not begin, of which the daemon says why."""
    if not said.startswith("Error response from daemon"):
        return NOT_STARTED
    if any(words in said for words in ("executable file not found", "no such file or directory", "system cannot find the file specified")):
        return NOT_FOUND
    if any(words in said for words in ("permission denied", "is a directory")):
        return NOT_EXECUTABLE
    return NOT_STARTED


def ask(
    name: str,
    metavar: str = "",
    *,
    at_least: int = 0,
    at_most: int | None = None,
    complete: Completer | None = None,
    kind: type[Asking] = Asking,
    help_names: Sequence[str] = ("-h", "--help"),
) -> Callable[[Callable[..., object]], Asking]:
    """Make a command of a function that takes its options by name and its arguments as ``words``."""

    def decorate(function: Callable[..., object]) -> Asking:
        made = click.command(name, cls=kind, context_settings={**HELP, "help_option_names": list(help_names)})(function)
        if at_most != 0:
            type = click.UNPROCESSED
            made.params.append(click.Argument(["words"], nargs=-1, shell_complete=complete, type=type))
        made.metavar, made.at_least, made.at_most = metavar, at_least, at_most
        return made

    return decorate


def option(*names: str, help: str, kind: Kind = STRING, default: object = "", many: bool = False, hidden: bool = False) -> Decorator:
    """An option with a value; ``many`` may be given more than once, and makes a tuple."""
    if many:
        return click.option(*names, type=kind, metavar=kind.name, multiple=True, help=help, hidden=hidden)
    return click.option(*names, type=kind, metavar=kind.name, default=default, help=help, hidden=hidden)


def say(text: str) -> None:
    """A line on stderr, after what stdout has so far."""
    if text:
        sys.stdout.flush()
        print(text, file=sys.stderr, flush=True)


def each(words: Sequence[str], act: Callable[[str], object]) -> int:
    """Do the same with each of several things, at once. Prints what ``act`` returns, if that is a text, or the name; one may fail."""
    if len(words) == 1:
        return _done(words[0], lambda: act(words[0]))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(words), 16)) as pool:
        under_way = [(word, pool.submit(act, word)) for word in words]
        return max([_done(word, future.result) for word, future in under_way])


def _done(word: str, result: Callable[[], object]) -> int:
    try:
        shown = result()
    except LabError as error:
        say(str(error))
        return exits.FAILED
    if shown != "":
        click.echo(shown if isinstance(shown, str) else word)
    return exits.DONE


def _wants_more(word: str, options: dict[str, click.Option]) -> bool:
    """Whether the value of this option is the next word."""
    if word in options:
        return not options[word].is_flag
    if word.startswith("--"):
        return False
    for place, letter in enumerate(word[1:], 2):
        found = options.get(f"-{letter}")
        if found is None or not found.is_flag:
            return found is not None and place == len(word)
    return False


def _truth(text: str, option: click.Option) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    forms = ", ".join(sorted(option.opts, key=len))
    why = f'strconv.ParseBool: parsing "{text}": invalid syntax'
    raise click.BadParameter(f'invalid argument "{text}" for "{forms}" flag: {why}')
