"""``labkit info``: the daemon and its machine on one page.

    labkit info                          labkit info -f '{{.NCPU}} CPUs, {{.Driver}}'

``LINES`` is the page: a heading, and the field of the API that it shows. Source: ``docker info --help``; ``system/info.go`` of
github.com/docker/cli. Shown in notebook 06.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from labkit.cli import exits, human
from labkit.cli.client import api
from labkit.cli.client.grammar import ask, option, say
from labkit.cli.client.system import own_version
from labkit.errors import LabError

Info = Mapping[str, object]

LINES = (
    (" Containers", "Containers"), ("  Running", "ContainersRunning"), ("  Paused", "ContainersPaused"), ("  Stopped", "ContainersStopped"),
    (" Images", "Images"), (" Server Version", "ServerVersion"), (" Storage Driver", "Driver"), ("DriverStatus", ""),
    (" Logging Driver", "LoggingDriver"), (" Cgroup Driver", "CgroupDriver"), (" Cgroup Version", "CgroupVersion"), ("Plugins", ""),
    ("Swarm", ""), (" Runtimes", "Runtimes"), (" Default Runtime", "DefaultRuntime"), (" Init Binary", "InitBinary"),
    (" containerd version", "ContainerdCommit"), (" runc version", "RuncCommit"), (" init version", "InitCommit"),
    ("SecurityOptions", ""), (" Kernel Version", "KernelVersion"), (" Operating System", "OperatingSystem"), (" OSType", "OSType"),
    (" Architecture", "Architecture"), (" CPUs", "NCPU"), (" Total Memory", "MemTotal"), (" Name", "Name"), (" ID", "ID"),
    (" Docker Root Dir", "DockerRootDir"), (" Debug Mode", "Debug"), (" HTTP Proxy", "HttpProxy"), (" HTTPS Proxy", "HttpsProxy"),
    (" No Proxy", "NoProxy"), ("Labels", ""), (" Experimental", "ExperimentalBuild"), ("Registries", ""),
    (" Live Restore Enabled", "LiveRestoreEnabled"),
)  # fmt: skip
_OPTIONAL = ("HttpProxy", "HttpsProxy", "NoProxy", "CgroupDriver", "CgroupVersion", "ID")


@ask("info", at_most=0)
@option("-f", "--format", help="Format output using a custom template: 'json' or a Go 'TEMPLATE'")
def info(format: str) -> int:
    """Display system-wide information."""
    from labkit.cli import templates

    template = templates.parse("{{json .}}" if format == "json" else format) if format else None
    found: Info = {}
    missing: LabError | None = None
    try:
        with api.connect() as daemon:
            answer = daemon.get("/info")
            found = answer if isinstance(answer, dict) else {}
    except LabError as error:
        missing = error
    if template:
        client = {"ClientInfo": {"Debug": False, "Context": "default", "Version": own_version()}}
        click.echo(template.render({**found, **client}))
    else:
        click.echo(f"Client:\n Version:    {own_version()}\n Context:    default\n Debug Mode: false\n\nServer:")
        if found:
            click.echo("\n".join((*_lines(found), "")))
            for warning in _texts(found, "Warnings"):
                say(warning)
    if missing:
        say(str(missing))
        return exits.FAILED
    return exits.DONE


def _lines(found: Info) -> Iterator[str]:
    for heading, field in LINES:
        if not field:
            yield from _section(heading, found)
            continue
        value = _shown(field, found.get(field))
        if value or field not in _OPTIONAL:
            yield f"{heading}: {value}"


def _shown(field: str, value: object) -> str:
    if field == "MemTotal" and isinstance(value, int):
        return human.binary(value)
    if isinstance(value, bool):
        return str(value).lower()
    if field == "Runtimes" and isinstance(value, Mapping):
        return " ".join(sorted(value))
    if isinstance(value, Mapping):  # a commit
        return str(value.get("ID", ""))
    return "" if value is None else str(value)


def _section(heading: str, found: Info) -> Iterator[str]:
    """What takes more than a line."""
    if heading == "DriverStatus":
        status = found.get("DriverStatus")
        yield from (f"  {pair[0]}: {pair[1]}" for pair in (status if isinstance(status, list) else ()))
    elif heading == "Plugins":
        yield " Plugins:"
        plugins = found.get("Plugins")
        if isinstance(plugins, Mapping):
            kinds = ("Volume", "Network", "Authorization", "Log")
            yield from (f"  {kind}: {' '.join(plugins[kind])}" for kind in kinds if plugins.get(kind))
    elif heading == "Swarm":
        swarm = found.get("Swarm")
        yield f" Swarm: {swarm.get('LocalNodeState', 'inactive') if isinstance(swarm, Mapping) else 'inactive'}"
    elif heading == "SecurityOptions":
        yield from _security(_texts(found, "SecurityOptions"))
    elif heading == "Labels":
        labels = _texts(found, "Labels")
        yield from (" Labels:", *(f"  {label}" for label in labels)) if labels else ()
    elif heading == "Registries":
        yield from _registries(found.get("RegistryConfig"))


def _security(options: list[str]) -> Iterator[str]:
    if options:
        yield " Security Options:"
    for text in options:
        pairs = dict(pair.partition("=")[::2] for pair in text.split(","))
        yield f"  {pairs.pop('name', text)}"
        yield from (f"   {name.capitalize()}: {value}" for name, value in pairs.items())


def _registries(config: object) -> Iterator[str]:
    if not isinstance(config, Mapping):
        return
    insecure = [name for name, each in (config.get("IndexConfigs") or {}).items() if not each.get("Secure", True)]
    insecure += config.get("InsecureRegistryCIDRs") or []
    mirrors = config.get("Mirrors") or []
    for heading, names in (("Insecure Registries", insecure), ("Registry Mirrors", mirrors)):
        if names:
            yield f" {heading}:"
            yield from (f"  {name}" for name in names)


def _texts(found: Info, field: str) -> list[str]:
    value = found.get(field)
    return [str(each) for each in value] if isinstance(value, list) else []
