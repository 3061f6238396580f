"""The commands for people: ``labkit doctor``, ``up``, ``url``, ``down``, ``reset``, ``completion``.

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
from labkit.cli.grammar import HELP, Group
from labkit.errors import LabError, NotFound, Unsupported

if TYPE_CHECKING:
    from labkit.lab.doctor import Row

PROGRAM = "docker" if os.path.basename(sys.argv[0]) == "docker" else "labkit"
"""What we were called: where a machine has no docker, ``docker`` is a link to ``labkit``, with the same grammar."""


def main(arguments: list[str]) -> int:
    """Run the command that ``arguments`` names; returns the exit code."""
    try:
        code: object = lab.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except LabError as error:
        return exits.report(error)
    except click.Abort:
        return exits.INTERRUPTED
    return code if isinstance(code, int) else exits.DONE


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
@click.version_option(None, "-v", "-V", "--version", package_name="labkit")
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
@click.option("--only", type=click.Choice(["registry", "daemon", "jupyterlab"]), help="This one alone, for systemd's units in the lab VM.")
def up(host: str, port: int, only: str | None) -> int:
    """Start the lab in the background: its registry, with the images of the course in it, the daemon, and JupyterLab.

    The images are made the first time, and then only when a recipe of theirs has changed. At the end JupyterLab's URL is printed. The
    token in the URL is random; whoever has it is root on this machine. `labkit down` stops all three.
    """
    from labkit.lab import jupyter

    _require_root("up")
    if only in ("registry", "daemon"):
        return _registry_up() if only == "registry" else _daemon_up()
    if jupyter.running() is None:
        click.echo("Building containers takes root, so the notebooks run as root: a slip in one can change this whole machine.")
    code = exits.DONE if only else max(_registry_up(), _daemon_up())
    if jupyter.running() is None:
        click.echo("JupyterLab is starting (some seconds; the first time up to a minute) …")
    server = jupyter.up(host, port)
    click.echo(f"JupyterLab answers, and runs in the background until `labkit down`. Open:\n\n    {server.url}\n")
    return code


@lab.command()
def url() -> None:
    """Print JupyterLab's URL with its token; whoever has it is root on this machine."""
    from labkit.lab import jupyter

    _require_root("url")
    server = jupyter.running()
    if server is None:
        raise NotFound("JupyterLab is not running: `labkit up` starts it")
    click.echo(server.url)


def _registry_up() -> int:
    """The registry, filled. What goes wrong there is said, and is no reason to be without notebooks: most need no image."""
    from labkit.lab import mirrors, registry
    from labkit.lab.seed import recipes, seed

    try:
        server = registry.up()
        mirrors.name(server.url)
    except LabError as error:
        return exits.report(error)
    try:
        if lacking := recipes.missing(server.url):
            from labkit.cli import progress

            click.echo(f"The lab's registry answers on {server.url}.")
            click.echo(f"Its images are made, once, in about a minute: {', '.join(recipe.name for recipe in lacking)} …")
            with progress.shown() as report:
                seed(report, server=server)
        click.echo(f"The lab's registry on {server.url} has {', '.join(recipe.name for recipe in recipes.RECIPES)}.")
    except LabError as error:
        exits.report(error)
    return exits.DONE


def _daemon_up() -> int:
    """The daemon. What keeps it from starting is said, and is no reason to be without notebooks: half of them need none."""
    from labkit.lab import daemon

    try:
        server = daemon.up()
    except LabError as error:
        return exits.report(error)
    click.echo(f"The daemon answers docker's own command: export DOCKER_HOST={server.host}")
    return exits.DONE


@lab.command()
def down() -> None:
    """Stop JupyterLab, its notebooks' kernels, the daemon, and the lab's registry. Images stay, and containers go on."""
    from labkit.lab import daemon, jupyter, registry

    _require_root("down")
    server = jupyter.down()
    click.echo("JupyterLab was not running." if server is None else f"JupyterLab on {server.address} is stopped.")
    if daemon.down():
        click.echo("The daemon is stopped; containers that run go on (`labkit reset` ends them).")
    if stopped := registry.down():
        click.echo(f"The registry on {stopped.address} is stopped; its images stay.")


@lab.command()
@click.option("--all", is_flag=True, help="JupyterLab, registry, daemon, all images and settings, too: nothing is left but the program.")
def reset(all: bool) -> None:
    """Put the machine back: no container, mount, link, cgroup or process of labkit's is left.

    JupyterLab, the registry and the daemon go on running, and images stay; `--all` takes those away, too. Doing it twice does no harm.
    """
    from labkit.lab import reset

    _require_root("reset")
    taken = reset.reset(all=all)
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
    click.echo(kind(lab, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())


def _require_root(command: str) -> None:
    if os.geteuid() != 0:
        raise Unsupported(f"`labkit {command}` takes root: sudo {sys.argv[0]} {command}")


def _print_rows(rows: Sequence[Row]) -> None:
    width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(f"{row.state.value} {row.name:{width}}  {row.found}")
        if row.remedy:
            click.echo(f"  {'':{width}}  → {row.remedy}")
