"""``labkit explain run …``: the plan of that very container: each step, the system call behind it, and why.

    labkit explain run --network none -m 64m busybox true            a table: what is done where, why, and the man page
    labkit explain --shell run --network none busybox > box.sh       a script that needs no labkit; run it as root

The words after ``explain`` are those of ``labkit run`` or ``create``. No daemon is needed; nothing is made. Shown in notebook 06.
"""

from __future__ import annotations

import click

from labkit.cli import engines, exits
from labkit.cli.client.body import body
from labkit.cli.client.grammar import Asking, Run, ask
from labkit.cli.client.options import options
from labkit.cli.grammar import HELP, Group, switch


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
@switch("--shell", help="Print the plan as a shell script that needs no labkit")
@click.pass_context
def explain(ctx: click.Context, shell: bool) -> None:
    """Explain what makes a container: its plan, step by step.

    A line says which side does a step (host or container) and what it does; the next one why, and which man page says more.
    """
    ctx.obj = shell


def _explaining(name: str) -> Asking:
    @ask(name, "IMAGE [COMMAND] [ARG...]", at_least=1, kind=Run, help_names=("--help",), complete=engines.names)
    @options
    @switch("-d", "--detach", help="Run container in background and print container ID")
    @switch("--shell", help="Print the plan as a shell script that needs no labkit")
    def command(words: tuple[str, ...], detach: bool, shell: bool, **given: object) -> int:
        """Explain the container that these options make."""
        from labkit.engine import config, explaining

        wanted = body(given, words[0], words[1:], detached=detach)
        plan = explaining.plan(
            engines.engine(),
            config.decode(config.Config, wanted),
            config.decode(config.HostConfig, wanted["HostConfig"]),
            config.decode(config.NetworkingConfig, wanted["NetworkingConfig"]),
            str(given["name"] or "explained"),
        )
        click.echo(plan.shell() if shell or click.get_current_context().obj else str(plan))
        return exits.DONE

    return command


explain.add_command(_explaining("run"))
explain.add_command(_explaining("create"))
