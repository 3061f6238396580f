"""Completion in a shell: names of what the daemon has.

    $ labkit stop <TAB>                     the containers that run
    $ eval "$(labkit completion bash)"      makes bash ask

A daemon that is not there has no names, and the shell says nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from labkit.cli.client import answers, api
from labkit.errors import LabError

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def containers(*states: str) -> Complete:
    """The names of containers; of those in one of ``states``, if any are given."""
    return _of(lambda daemon: (each.name for each in _listed(daemon) if not states or each.State in states))


def one_container(*states: str) -> Complete:
    """The same for commands of which only the first word is a container."""
    return _of(lambda daemon: (each.name for each in _listed(daemon) if not states or each.State in states), first=True)


def volumes() -> Complete:
    """The names of volumes."""
    return _of(lambda daemon: (each.Name for each in daemon.read(answers.Volumes, "/volumes").Volumes))


def networks() -> Complete:
    """The names of networks."""
    return _of(lambda daemon: (each.Name for each in daemon.read_all(answers.Network, "/networks")))


def _listed(daemon: api.Api) -> list[answers.Listed]:
    return daemon.read_all(answers.Listed, "/containers/json", all=True)


def _of(names: Callable[[api.Api], Iterable[str]], first: bool = False) -> Complete:
    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        given = tuple(ctx.params.get("words") or ())
        if first and given:
            return []
        try:
            with api.connect() as daemon:
                return sorted(name for name in names(daemon) if name.startswith(incomplete) and name not in given)
        except LabError:
            return []

    return complete
