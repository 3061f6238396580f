"""``labkit version``, ``info``, ``system df`` and ``system prune``: the daemon, what it has, and what of that nobody needs.

    labkit version -f '{{.Server.Version}}'              labkit info -f '{{.NCPU}}'
    labkit system df -v                                  labkit system prune -a --volumes

Source: ``docker info --help`` and so on; engine-api, 7. Shown in notebook 06.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence

import click

from labkit import codec
from labkit.cli import exits, human
from labkit.cli.client import answers, api
from labkit.cli.client.grammar import ask, option, say
from labkit.cli.client.values import FILTER
from labkit.cli.grammar import switch
from labkit.cli.images import confirmed
from labkit.errors import LabError, Unreachable

_FORMAT = "Format output using a custom template: 'json' or a Go 'TEMPLATE'"


@ask("version", at_most=0)
@option("-f", "--format", help=_FORMAT)
def version(format: str) -> int:
    """Show the Docker version information."""
    from labkit.cli import templates

    template = templates.parse("{{json .}}" if format == "json" else format) if format else None
    client: dict[str, object] = {
        "Version": own_version(), "ApiVersion": "", "DefaultAPIVersion": "1.47", "Os": sys.platform, "Arch": _architecture(),
        "PythonVersion": platform.python_version(), "Context": "default",
    }  # fmt: skip
    server: Mapping[str, object] | None = None
    missing: LabError | None = None
    try:
        with api.connect() as daemon:
            found = daemon.get("/version")
            client["ApiVersion"] = daemon.version
            server = found if isinstance(found, dict) else None
    except Unreachable as error:
        missing = error
    if template:
        click.echo(template.render({"Client": client, "Server": server}))
    else:
        click.echo("\n".join(_client_lines(client)))
        if server:
            click.echo("\n".join(["", *_server_lines(codec.decode(answers.Version, server))]))
    if missing:
        say(str(missing))
    return exits.FAILED if missing else exits.DONE


def _client_lines(client: Mapping[str, object]) -> Sequence[str]:
    rows = {"Version": client["Version"], "API version": client["ApiVersion"], "Python version": client["PythonVersion"],
            "OS/Arch": f"{client['Os']}/{client['Arch']}", "Context": client["Context"]}  # fmt: skip
    return ["Client:", *(f" {name + ':':18} {value}" for name, value in rows.items())]


def _server_lines(server: answers.Version) -> Sequence[str]:
    lines = [f"Server:{f' {server.Platform.Name}' if server.Platform.Name else ''}"]
    components = server.Components or (answers.Component("Engine", server.Version, _details(server)),)
    for component in components:
        lines += [f" {component.Name}:", f"  {'Version:':17} {component.Version}"]
        details = component.Details
        if component.Name == "Engine":
            lowest = details.get("MinAPIVersion", "")
            rows = {
                "API version": details.get("ApiVersion", "") + (f" (minimum version {lowest})" if lowest else ""),
                "Go version": details.get("GoVersion", ""),
                "Git commit": details.get("GitCommit", ""),
                "Built": _built(details.get("BuildTime", "")),
                "OS/Arch": f"{details.get('Os', '')}/{details.get('Arch', '')}",
                "Experimental": details.get("Experimental", "false"),
            }
        else:
            rows = dict(sorted(details.items()))
        lines += [f"  {name + ':':17} {value}" for name, value in rows.items()]
    return lines


def _details(server: answers.Version) -> Mapping[str, str]:
    return {
        "ApiVersion": server.ApiVersion, "MinAPIVersion": server.MinAPIVersion, "GoVersion": server.GoVersion,
        "GitCommit": server.GitCommit, "BuildTime": server.BuildTime, "Os": server.Os, "Arch": server.Arch,
    }  # fmt: skip


def _built(moment: str) -> str:
    """As C's ``asctime`` writes a moment: ``Thu May  7 21:09:36 2026``."""
    import time

    try:
        parsed = time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return moment
    return time.strftime("%a %b %e %H:%M:%S %Y", parsed)


def own_version() -> str:
    """The version of labkit."""
    from importlib.metadata import version

    return version("labkit")


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@ask("prune", at_most=0)
@switch("-a", "--all", help="Remove all unused images not just dangling ones")
@option("--filter", kind=FILTER, many=True, help='Provide filter values (e.g. "label=<key>=<value>")')
@switch("-f", "--force", help="Do not prompt for confirmation")
@switch("--volumes", help="Prune anonymous volumes")
def prune(all: bool, filter: tuple[str, ...], force: bool, volumes: bool) -> int:
    """Remove unused data."""
    if not force and not confirmed(_warning(all, volumes)):
        return exits.DONE
    total = 0
    filters = api.filters(filter)
    images = api.filters((*filter, f"dangling={'false' if all else 'true'}"))
    with api.connect() as daemon:
        for what, path, asked in (
            ("Containers", "/containers/prune", filters),
            ("Networks", "/networks/prune", filters),
            *((("Volumes", "/volumes/prune", filters),) if volumes else ()),
            ("Images", "/images/prune", images),
        ):
            pruned = codec.decode(answers.Pruned, daemon.post(path, filters=asked) or {})
            total += pruned.SpaceReclaimed
            if pruned.lines:
                click.echo("\n".join((f"Deleted {what}:", *pruned.lines, "")))
        builds = codec.decode(answers.Pruned, daemon.post("/build/prune", filters=filters, all=all or None) or {})
        total += builds.SpaceReclaimed
        if builds.CachesDeleted:
            click.echo("\n".join(("Deleted build cache objects:", *builds.CachesDeleted, "")))
    click.echo(f"Total reclaimed space: {human.size(total, 4)}")
    return exits.DONE


def _warning(all: bool, volumes: bool) -> str:
    gone = ["all stopped containers", "all networks not used by at least one container"]
    gone += ["all anonymous volumes not used by at least one container"] if volumes else []
    gone += ["all images without at least one container associated to them"] if all else ["all dangling images"]
    gone += ["all build cache" if all else "unused build cache"]
    return "\n".join(("WARNING! This will remove:", *(f"  - {what}" for what in gone), ""))
