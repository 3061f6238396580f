"""The whole command line for people: the lab's own commands and docker's, under one name.

    labkit --help                            labkit run --help

docker has most commands twice, ``docker pull`` and ``docker image pull``, and so has labkit: it is the same command. What the commands
do is in their files; here they are put together.
"""

from __future__ import annotations

from functools import cache

import click

from labkit.cli import archives, build, daemon, engines, images, inspecting, lab, transfer, vm
from labkit.cli.grammar import HELP, Group

SECTIONS = {
    "The lab": ("up", "url", "down", "reset", "doctor", "daemon", "completion"),
    "Containers": (
        "run", "exec", "ps", "logs", "stop", "rm", "create", "start", "attach", "restart", "kill", "pause", "unpause", "wait", "rename",
        "update", "top", "stats", "port", "diff", "cp", "commit", "export",
    ),
    "The daemon": ("inspect", "events", "info", "version", "explain"),
    "Images": ("images", "pull", "push", "build", "tag", "rmi", "history", "save", "load", "import"),
    "Registries": ("login", "logout"),
    "Management Commands": ("container", "image", "volume", "network", "system", "builder", "vm"),
}  # fmt: skip
_CLIENT = "labkit.cli.client."
TOP = {
    "run": "running:run", "create": "running:create", "start": "running:start", "attach": "running:attach", "exec": "execs:execute",
    "ps": "listing:ps", "logs": "logs:logs", "top": "logs:top", "stats": "stats:stats", "stop": "lifecycle:stop",
    "restart": "lifecycle:restart", "kill": "lifecycle:kill", "pause": "lifecycle:pause", "unpause": "lifecycle:unpause",
    "wait": "lifecycle:wait", "rename": "lifecycle:rename", "update": "lifecycle:update", "rm": "lifecycle:rm", "port": "files:port",
    "diff": "files:diff", "cp": "copying:cp", "commit": "files:commit", "export": "files:export", "inspect": "inspecting:inspect",
    "events": "events:events", "info": "info:info", "version": "system:version", "explain": "explain:explain",
}  # fmt: skip
CONTAINER = {name: place for name, place in TOP.items() if name not in ("ps", "inspect", "events", "info", "version", "explain")} | {
    "ls": "listing:ls", "list": "listing:ls", "ps": "listing:ls", "inspect": "inspecting:container_inspect", "prune": "lifecycle:prune",
    "remove": "lifecycle:rm",
}  # fmt: skip
VOLUME = {"create": "volumes:create", "inspect": "volumes:inspect", "ls": "volumes:ls", "list": "volumes:ls", "prune": "volumes:prune",
          "rm": "volumes:rm", "remove": "volumes:rm"}  # fmt: skip
NETWORK = {"connect": "networks:connect", "create": "networks:create", "disconnect": "networks:disconnect", "inspect": "networks:inspect",
           "ls": "networks:ls", "list": "networks:ls", "prune": "networks:prune", "rm": "networks:rm", "remove": "networks:rm"}  # fmt: skip
SYSTEM = {"df": "usage:df", "events": "events:events", "info": "info:info", "prune": "system:prune"}
"""Commands that ask the daemon, by where they are in ``labkit.cli.client``. They are imported when they are called for."""


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
def container() -> None:
    """Manage containers."""


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
def volume() -> None:
    """Manage volumes."""


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
def network() -> None:
    """Manage networks."""


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
def system() -> None:
    """Manage Docker."""


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
def image() -> None:
    """Manage images."""


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
def builder() -> None:
    """Manage builds."""


@cache
def assembled() -> click.Group:
    """The group of all commands."""
    whole = lab.lab
    whole.sections = SECTIONS
    engines.options(whole)
    top = (
        images.images, transfer.pull, transfer.push, build.build, images.tag, images.rmi, images.history, archives.save, archives.load,
        archives.import_, transfer.login, transfer.logout, container, image, volume, network, system, builder, daemon.daemon, vm.vm,
    )  # fmt: skip
    managed = (
        build.build, images.history, archives.import_, inspecting.image_inspect, archives.load, images.ls, images.prune, transfer.pull,
        transfer.push, images.rm, archives.save, images.tag,
    )  # fmt: skip
    for group, commands in ((whole, top), (image, managed), (builder, (build.build, build.prune))):
        for command in commands:
            group.add_command(command)
    for alias, command in (("list", images.ls), ("remove", images.rm), ("rmi", images.rm)):
        image.add_command(command, alias)
    for group, places in ((whole, TOP), (container, CONTAINER), (volume, VOLUME), (network, NETWORK), (system, SYSTEM)):
        group.later = {name: _CLIENT + place for name, place in places.items()}
    return whole


def main(arguments: list[str]) -> int:
    """Run the command that ``arguments`` names; returns the exit code."""
    assembled()
    return lab.main(arguments)
