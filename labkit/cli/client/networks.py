"""``labkit network …``: which containers reach each other, and as whom.

    labkit network create --subnet 172.30.0.0/24 n1            labkit network ls
    labkit network connect --alias web n1 box                  labkit network inspect n1

Source: ``docker network --help``; engine-api, 7. Shown in notebook 07.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import click

from labkit import codec
from labkit.cli import exits, human
from labkit.cli.client import answers, api, complete, inspecting
from labkit.cli.client.answers import Network
from labkit.cli.client.grammar import Failed, ask, option, say
from labkit.cli.client.listing import FILTERS, FORMAT
from labkit.cli.client.networking import Attachment
from labkit.cli.client.values import FILTER, INT, IP_LIST, LABEL, LINK, LIST, MAP
from labkit.cli.grammar import switch
from labkit.cli.images import confirmed
from labkit.engine import times
from labkit.errors import LabError, NotFound

_NAMES = complete.networks()


@ask("ls", at_most=0)
@option("-f", "--filter", kind=FILTER, many=True, help=FILTERS)
@option("--format", help=FORMAT)
@switch("--no-trunc", help="Do not truncate the output")
@switch("-q", "--quiet", help="Only display network IDs")
def ls(filter: tuple[str, ...], format: str, no_trunc: bool, quiet: bool) -> None:
    """List networks."""
    from labkit.cli import tables

    with api.connect() as daemon:
        found = daemon.read_all(Network, "/networks", filters=api.filters(filter))
    rows = [_row(network, no_trunc) for network in sorted(found, key=lambda network: network.Name)]
    lines = tables.lines([tables.Column(*column) for column in _COLUMNS], rows, format or ("{{.ID}}" if quiet else ""))
    click.echo("".join(f"{line}\n" for line in lines), nl=False)


_COLUMNS = (
    ("ID", "NETWORK ID", True), ("Name", "NAME", True), ("Driver", "DRIVER", True), ("Scope", "SCOPE", True),
    ("IPv4", "IPV4", False), ("IPv6", "IPV6", False), ("Internal", "INTERNAL", False), ("Labels", "LABELS", False),
    ("CreatedAt", "CREATED AT", False),
)  # fmt: skip


def _row(network: Network, whole: bool) -> dict[str, object]:
    return {
        "ID": network.Id if whole else human.short(network.Id),
        "Name": network.Name,
        "Driver": network.Driver,
        "Scope": network.Scope,
        "IPv4": str(network.EnableIPv4).lower(),
        "IPv6": str(network.EnableIPv6).lower(),
        "Internal": str(network.Internal).lower(),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(network.Labels.items())),
        "Label": lambda name: network.Labels.get(name, ""),
        "CreatedAt": _moment(network.Created),
    }


def _moment(written: str) -> str:
    """As Go prints a time: ``2026-11-24 08:32:06.69171616 +0000 UTC``."""
    seconds, nanoseconds = divmod(times.parse(written), 10**9)
    day, clock, *zone = human.moment(seconds).split()
    fraction = f".{nanoseconds:09d}".rstrip("0.")
    return " ".join((day, clock + fraction, *zone))


@ask("create", "NETWORK", at_least=1, at_most=1)
@switch("--attachable", help="Enable manual container attachment")
@option("--aux-address", kind=MAP, many=True, help="Auxiliary IPv4 or IPv6 addresses used by Network driver")
@option("--config-from", help="The network from which to copy the configuration")
@switch("--config-only", help="Create a configuration only network")
@option("-d", "--driver", default="bridge", help='Driver to manage the Network (default "bridge")')
@option("--gateway", kind=LIST, many=True, help="IPv4 or IPv6 Gateway for the master subnet")
@switch("--ingress", help="Create swarm routing-mesh network")
@switch("--internal", help="Restrict external access to the network")
@option("--ip-range", kind=LIST, many=True, help="Allocate container ip from a sub-range")
@option("--ipam-driver", default="default", help='IP Address Management Driver (default "default")')
@option("--ipam-opt", kind=MAP, many=True, help="Set IPAM driver specific options")
@click.option("--ipv4", is_flag=True, default=None, help="Enable or disable IPv4 address assignment")
@click.option("--ipv6", is_flag=True, default=None, help="Enable or disable IPv6 address assignment")
@option("--label", kind=LABEL, many=True, help="Set metadata on a network")
@option("-o", "--opt", kind=MAP, many=True, help="Set driver specific options")
@option("--scope", help="Control the network's scope")
@option("--subnet", kind=LIST, many=True, help="Subnet in CIDR format that represents a network segment")
def create(words: tuple[str, ...], **given: object) -> None:
    """Create a network."""
    body = {
        "Name": words[0],
        "Driver": given["driver"],
        "CheckDuplicate": True,
        "Scope": given["scope"],
        "IPAM": {"Driver": given["ipam_driver"], "Options": _pairs(given["ipam_opt"]), "Config": _ranges(given)},
        "Internal": given["internal"],
        "Attachable": given["attachable"],
        "Ingress": given["ingress"],
        "ConfigOnly": given["config_only"],
        "ConfigFrom": {"Network": given["config_from"]} if given["config_from"] else None,
        "Options": _pairs(given["opt"]),
        "Labels": _pairs(given["label"]),
    }
    body |= {f"Enable{name}": given[name.lower()] for name in ("IPv4", "IPv6") if given[name.lower()] is not None}
    with api.connect() as daemon:
        created = codec.decode(answers.NetworkCreated, daemon.post("/networks/create", body))
    if created.Warning:
        say(f"WARNING: {created.Warning}")
    click.echo(created.Id)


def _ranges(given: dict[str, object]) -> list[dict[str, object]]:
    """Each subnet with the gateway, the range and the other addresses that lie in it."""
    subnets = [_subnet(text) for text in _texts(given["subnet"])]
    found: list[dict[str, object]] = [{"Subnet": text} for text in _texts(given["subnet"])]
    for name, field in (("ip_range", "IPRange"), ("gateway", "Gateway")):
        for text in _texts(given[name]):
            found[_place(text, subnets, name)][field] = text
    for text in _texts(given["aux_address"]):
        host, _, address = text.partition("=")
        place = found[_place(address, subnets, "aux_address")]
        others = place.setdefault("AuxiliaryAddresses", {})
        assert isinstance(others, dict)
        others[host] = address
    return found


def _subnet(text: str) -> IPv4Network | IPv6Network | None:
    """None for what is none: the daemon says what is wrong with it."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _place(text: str, subnets: Sequence[IPv4Network | IPv6Network | None], name: str) -> int:
    try:
        address = ip_address(text.partition("/")[0])
    except ValueError:
        raise Failed(f"invalid {name.replace('_', '-')}: {text}") from None
    for index, subnet in enumerate(subnets):
        if subnet and address in subnet:
            return index
    raise Failed(f"no matching subnet for {name.replace('_', '-')} {text}")


@ask("inspect", "NETWORK [NETWORK...]", at_least=1, complete=_NAMES)
@option("-f", "--format", help="Format output using a custom template: 'json' or a Go 'TEMPLATE'")
@switch("-v", "--verbose", help="Verbose output for diagnostics")
def inspect(words: tuple[str, ...], format: str, verbose: bool) -> int:
    """Display detailed information on one or more networks."""
    return inspecting.show(words, format, ["network"])


@ask("rm", "NETWORK [NETWORK...]", at_least=1, complete=_NAMES)
@switch("-f", "--force", help="Do not error if the network does not exist")
def rm(words: tuple[str, ...], force: bool) -> int:
    """Remove one or more networks."""
    code = exits.DONE
    with api.connect() as daemon:
        for name in words:
            try:
                daemon.delete(f"/networks/{name}")
            except LabError as error:
                if force and isinstance(error, NotFound):
                    continue
                say(str(error))
                code = exits.FAILED
            else:
                click.echo(name)
    if code:
        say("exit status 1")  # docker says so, too
    return code


@ask("prune", at_most=0)
@option("--filter", kind=FILTER, many=True, help='Provide filter values (e.g. "until=<timestamp>")')
@switch("-f", "--force", help="Do not prompt for confirmation")
def prune(filter: tuple[str, ...], force: bool) -> None:
    """Remove all unused networks."""
    if not force and not confirmed("WARNING! This will remove all custom networks not used by at least one container."):
        return
    with api.connect() as daemon:
        pruned = codec.decode(answers.Pruned, daemon.post("/networks/prune", filters=api.filters(filter)))
    if pruned.NetworksDeleted:
        click.echo("\n".join(("Deleted Networks:", *pruned.NetworksDeleted, "")))


@ask("connect", "NETWORK CONTAINER", at_least=2, at_most=2, complete=_NAMES)
@option("--alias", kind=LIST, many=True, help="Add network-scoped alias for the container")
@option("--driver-opt", kind=MAP, many=True, help="driver options for the network")
@option("--gw-priority", kind=INT, default=0, help="Highest gw-priority provides the default gateway")
@option("--ip", help='IPv4 address (e.g., "172.30.100.104")')
@option("--ip6", help='IPv6 address (e.g., "2001:db8::33")')
@option("--link", kind=LINK, many=True, help="Add link to another container")
@option("--link-local-ip", kind=IP_LIST, many=True, help="Add a link-local address for the container")
def connect(
    words: tuple[str, ...],
    alias: tuple[str, ...],
    driver_opt: tuple[str, ...],
    gw_priority: int,
    ip: str,
    ip6: str,
    link: tuple[str, ...],
    link_local_ip: tuple[str, ...],
) -> None:
    """Connect a container to a network."""
    network, container = words
    wanted = Attachment(network, alias, ip, ip6, link_local_ip, link, "", _pairs(driver_opt), gw_priority)
    with api.connect() as daemon:
        daemon.post(f"/networks/{network}/connect", {"Container": container, "EndpointConfig": wanted.settings})


@ask("disconnect", "NETWORK CONTAINER", at_least=2, at_most=2, complete=_NAMES)
@switch("-f", "--force", help="Force the container to disconnect from a network")
def disconnect(words: tuple[str, ...], force: bool) -> None:
    """Disconnect a container from a network."""
    network, container = words
    with api.connect() as daemon:
        daemon.post(f"/networks/{network}/disconnect", {"Container": container, "Force": force})


def _texts(value: object) -> tuple[str, ...]:
    assert isinstance(value, tuple)
    return value


def _pairs(value: object) -> dict[str, str]:
    return dict(text.partition("=")[::2] for text in _texts(value))
