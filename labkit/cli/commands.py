"""The whole command line for people: the lab's own commands and docker's for images, under one name.

    labkit --help                            labkit pull --help

docker has most commands twice, ``docker pull`` and ``docker image pull``, and so has labkit: it is the same command. What the commands
do is in their files; here they are put together.
"""

from __future__ import annotations

from functools import cache

import click

from labkit.cli import archives, build, daemon, engines, images, inspecting, lab, transfer
from labkit.cli.grammar import HELP, Group

SECTIONS = {
    "The lab": ("up", "down", "reset", "doctor", "daemon", "completion"),
    "Images": ("images", "pull", "push", "build", "tag", "rmi", "history", "inspect", "save", "load", "import"),
    "Registries": ("login", "logout"),
    "Management Commands": ("image", "builder"),
}


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
        images.images, transfer.pull, transfer.push, build.build, images.tag, images.rmi, images.history, inspecting.inspect,
        archives.save, archives.load, archives.import_, transfer.login, transfer.logout, image, builder, daemon.daemon,
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
    return whole


def main(arguments: list[str]) -> int:
    """Run the command that ``arguments`` names; returns the exit code."""
    assembled()
    return lab.main(arguments)
