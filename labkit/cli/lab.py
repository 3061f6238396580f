"""The commands for people: ``labkit doctor``, ``up``, ``down``, ``reset``, ``completion``.

A command says what it does before it takes long, and what came of it; an error is one line on stderr and an exit code of
``labkit.cli.exits``. What the commands do is in ``labkit.lab``; here they only read arguments and print.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from labkit.cli import exits
from labkit.errors import LabError, Unsupported

if TYPE_CHECKING:
    from labkit.lab.doctor import Row


def main(arguments: list[str]) -> int:
    """Run the command that ``arguments`` names; returns the exit code."""
    try:
        code: object = lab.main(arguments, prog_name="labkit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except LabError as error:
        return exits.report(error)
    except click.Abort:
        return exits.INTERRUPTED
    return code if isinstance(code, int) else exits.DONE


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(None, "-V", "--version", package_name="labkit")
def lab() -> None:
    """The lab in which Linux containers are learnt by building them.

    Two commands more have a grammar of their own: `labkit runtime --help` (an OCI runtime over a bundle, as runc is one)
    and the notebooks, which `labkit up` opens.
    """


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="Print the rows as a JSON array, for programs.")
def doctor(as_json: bool) -> int:
    """Say what this machine has and lacks for the lab, a row each, with the remedy.

    What can be tried is tried, in a child process that takes it away again. Exits with 1 if something is missing that
    the lab cannot do without.
    """
    from labkit.lab import doctor

    rows = doctor.rows()
    if as_json:
        click.echo(json.dumps([row.as_dict() for row in rows], indent=2, ensure_ascii=False))
    else:
        _print_rows(rows)
    return exits.FAILED if doctor.lacking(rows) else exits.DONE


@lab.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8899, show_default=True, help="The port to listen on; where it is taken, the next free one.")
def up(host: str, port: int) -> None:
    """Start JupyterLab in the background, and print its URL when the page answers.

    Where it runs already, its URL is printed and nothing is started. The token in the URL is random; whoever has it is
    root on this machine. `labkit down` stops it.
    """
    from labkit.lab import jupyter

    _require_root("up")
    if jupyter.running() is None:
        click.echo("Building containers takes root, so the notebooks run as root: a slip in one can change this whole machine.")
        click.echo("JupyterLab is starting (some seconds; the first time up to a minute) …")
    server = jupyter.up(host, port)
    click.echo(f"JupyterLab answers, and runs in the background until `labkit down`. Open:\n\n    {server.url}\n")


@lab.command()
def down() -> None:
    """Stop JupyterLab and its notebooks' kernels."""
    from labkit.lab import jupyter

    _require_root("down")
    server = jupyter.down()
    click.echo("JupyterLab was not running." if server is None else f"JupyterLab on {server.address} is stopped.")


@lab.command()
def reset() -> None:
    """Put the machine back: no container, mount, link, cgroup or process of labkit's is left.

    JupyterLab goes on running. Doing it twice does no harm.
    """
    from labkit.lab import reset

    _require_root("reset")
    taken = reset.reset()
    for line in taken:
        click.echo(f"  {line}")
    click.echo(f"Taken back: {len(taken)}." if taken else "Nothing of the lab's was left.")


@lab.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete labkit's commands.

    For the shell at hand: eval "$(labkit completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(lab, {}, "labkit", "_LABKIT_COMPLETE").source())


def _require_root(command: str) -> None:
    if os.geteuid() != 0:
        raise Unsupported(f"`labkit {command}` takes root: sudo {sys.argv[0]} {command}")


def _print_rows(rows: Sequence[Row]) -> None:
    width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(f"{row.state.value} {row.name:{width}}  {row.found}")
        if row.remedy:
            click.echo(f"  {'':{width}}  → {row.remedy}")
