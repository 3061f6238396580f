"""labkit's commands for images take what docker's take: the help of each names the same options and arguments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import click
import pytest

from labkit.cli import commands, grammar

pytestmark = pytest.mark.skipif(not shutil.which("docker"), reason="docker is not installed")

COMMANDS = {
    (*path, name): command
    for path, group in (((), commands.assembled()), (("image",), commands.image), (("builder",), commands.builder))
    for name, command in group.commands.items()
    if isinstance(command, grammar.Command) and command.name == name
}
# What docker has, and labkit has not: it is about other machines, other builders or containers, or it is experimental.
LEFT_OUT = {
    "tree", "platform", "squash", "isolation", "security-opt", "cache-from", "cgroup-parent", "compress", "cpu-period", "cpu-quota",
    "cpu-shares", "cpuset-cpus", "cpuset-mems", "memory", "memory-swap", "shm-size", "ulimit", "add-host", "filter", "keep-storage",
    "disable-content-trust",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(COMMANDS), ids=" ".join)
def test_the_options_and_arguments_are_those_of_docker(path: tuple[str, ...]) -> None:
    environment = os.environ | {"DOCKER_BUILDKIT": "0", "COLUMNS": "80"}
    printed = subprocess.run(["docker", *path, "--help"], capture_output=True, text=True, env=environment, check=False).stdout
    command = COMMANDS[path]
    theirs = set(re.findall(r"^  (?:(-\w), |    )--([\w-]+)(?: (\w+))?(?:  |\n)", printed, re.MULTILINE))
    mine = {described(option) for option in command.params if isinstance(option, click.Option) and not option.hidden}
    assert mine - theirs == set()
    assert {long for _, long, _ in theirs - mine} <= LEFT_OUT
    usage = re.search(r"Usage: +docker (.*)", printed)
    mine_too = f"Usage:  docker {' '.join((*path, *command.collect_usage_pieces(click.Context(command))))}"
    assert usage and usage[0].replace("PATH | URL | -", "PATH | -").replace("builder prune", "builder prune [OPTIONS]") == mine_too


def described(option: click.Option) -> tuple[str, str, str]:
    """An option as docker's help has it: ``-f``, ``filter``, and what its value is called."""
    short = next((name for name in option.opts if not name.startswith("--")), "")
    long = next(name for name in option.opts if name.startswith("--"))
    return short, long[2:], "" if option.is_flag else option.metavar or ""
