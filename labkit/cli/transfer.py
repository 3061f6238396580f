"""``labkit pull``, ``push``, ``login`` and ``logout``: images to and from registries.

    labkit pull nginx                                        from a mirror that daemon.json names, else from Docker Hub
    labkit tag nginx 127.0.0.1:5000/me/web:v1                the name says where it goes
    labkit push 127.0.0.1:5000/me/web:v1

Grammar and words are docker's. Source: ``docker pull --help``, and so on. Seen in notebook 05.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from labkit.cli import engines, progress
from labkit.cli.grammar import command, switch, value
from labkit.errors import InvalidInput, LabError, Unreachable

_TRUST = "Skip image verification (default true)"  # labkit verifies every digest; signatures of notaries it does not know


@command("pull", "NAME[:TAG|@DIGEST]", at_least=1, at_most=1)
@switch("-a", "--all-tags", help="Download all tagged images in the repository")
@switch("--disable-content-trust", default=True, help=_TRUST, hidden=True)
@value("--platform", help="Set platform if server is multi-platform capable")
@switch("-q", "--quiet", help="Suppress verbose output")
def pull(all_tags: bool, disable_content_trust: bool, platform: str, quiet: bool, words: tuple[str, ...]) -> None:
    """Download an image from a registry.

    An interrupted download goes on where it stopped.
    """
    from labkit.image import references

    name = references.parse(words[0])
    if not (name.tag or name.digest or all_tags or quiet):
        click.echo("Using default tag: latest")
    try:
        with _hinted(name.domain), progress.shown(quiet) as report:
            engines.images().pull(words[0], platform=platform, all_tags=all_tags, report=report)
    except KeyboardInterrupt:
        click.echo("labkit: interrupted; what has arrived stays, and the next pull goes on from there", err=True)
        raise
    click.echo(str(name if all_tags else name.tagged))


@command("push", "NAME[:TAG]", at_least=1, at_most=1, complete=engines.names)
@switch("-a", "--all-tags", help="Push all tags of an image to the repository")
@switch("--disable-content-trust", default=True, help=_TRUST, hidden=True)
@switch("-q", "--quiet", help="Suppress verbose output")
def push(all_tags: bool, disable_content_trust: bool, quiet: bool, words: tuple[str, ...]) -> None:
    """Upload an image to a registry.

    The first part of its name is the registry: 127.0.0.1:5000/me/web:v1 goes to 127.0.0.1:5000.
    """
    from labkit.image import references

    name = references.parse(words[0])
    if not (name.tag or name.digest or all_tags or quiet):
        click.echo("Using default tag: latest")
    with _hinted(name.domain), progress.shown(quiet) as report:
        engines.images().push(words[0], all_tags=all_tags, report=report)
    if quiet:
        click.echo(str(name if all_tags else name.tagged))


@command("login", "[SERVER]", at_most=1)
@value("-p", "--password", help="Password or Personal Access Token (PAT)")
@switch("--password-stdin", help="Take the Password or Personal Access Token (PAT) from stdin")
@value("-u", "--username", help="Username")
def login(password: str, password_stdin: bool, username: str, words: tuple[str, ...]) -> None:
    """Authenticate to a registry.

    Defaults to Docker Hub if no server is specified. What the registry has accepted is kept in docker's own
    ~/.docker/config.json, so docker knows it, too.
    """
    from labkit.image.registry import credentials

    if password and password_stdin:
        raise InvalidInput("conflicting options: cannot specify both --password and --password-stdin")
    if password_stdin and not username:
        raise InvalidInput("the --password-stdin option requires --username to be set")
    if password:
        click.echo("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", err=True)
    if password_stdin:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not (username and password) and not sys.stdin.isatty():
        raise LabError("Error: Cannot perform an interactive login from a non TTY device: use --username and --password-stdin")
    username = username or input("Username: ").strip()
    password = password or getpass.getpass("Password: ")
    if not username or not password:
        raise InvalidInput("username and password: both are needed")
    credentials.login(_server(words), username, password, engines.settings())
    if _has_no_helper(credentials.path()):
        click.echo(f"\nWARNING! Your credentials are stored unencrypted in '{credentials.path()}'.\n", err=True)
    click.echo("Login Succeeded")


@command("logout", "[SERVER]", at_most=1)
def logout(words: tuple[str, ...]) -> None:
    """Log out from a registry. Defaults to Docker Hub if no server is specified."""
    from labkit.image.registry import credentials

    server = _server(words)
    if credentials.logout(server):
        click.echo(f"Removing login credentials for {server}")
    else:
        click.echo(f"Not logged in to {server}")


@contextmanager
def _hinted(domain: str) -> Iterator[None]:
    """Who asks the lab's own registry, and finds nobody, has not started the lab."""
    try:
        yield
    except Unreachable as error:
        if domain not in ("127.0.0.1:5000", "localhost:5000"):
            raise
        raise Unreachable(f"{error} (that is where the lab's registry is, once `labkit up` has started it)") from None


def _server(words: tuple[str, ...]) -> str:
    """As in an image's name, whatever a person copies from a browser's address bar."""
    server = words[0] if words else "docker.io"
    return server.removeprefix("https://").removeprefix("http://").rstrip("/").partition("/")[0] or "docker.io"


def _has_no_helper(file: str) -> bool:
    """Whether no program keeps passwords, but the file itself."""
    with open(file, encoding="utf-8") as opened:
        document = json.load(opened)
    return not document.get("credsStore") and not document.get("credHelpers")
