"""The plan of a container that is not made: what ``create`` and ``start`` would do, looked up and not done.

    Config, HostConfig ─┐                                         a table:  plan.table()
    the image's own ────┼──▶ Record ──▶ Spec ──▶ Plan ──┬──▶      a script: plan.shell()
    free addresses ─────┘                               └─ its first step lays out what the engine has on disk before a start

    >>> print(explaining.plan(ImageStore(), Config(Image="busybox"), HostConfig(NetworkMode="none")))

No daemon is asked and nothing is taken: an address is one that is free now. What only a daemon knows, the namespaces and volumes of
another container, is refused. Source: ``birth.plan``, which does the same for a container that is there. Shown in notebook 06.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network
from shlex import quote
from typing import TYPE_CHECKING, ClassVar, cast

from labkit.engine import config as configs
from labkit.engine import etc_files, mounting, oci, oci_resources, passwd, publishing, root_layer, times, verification
from labkit.engine.config import Config, EndpointIPAMConfig, EndpointSettings, HostConfig, NetworkingConfig, PortBinding
from labkit.engine.container_file import MountPoint, Record
from labkit.engine.networks import Networks
from labkit.errors import Unsupported
from labkit.network import subnet as subnets
from labkit.records import record
from labkit.runtime import planner
from labkit.runtime.plans import Plan, Side, Step
from labkit.runtime.steps.filesystem import MountRoot
from labkit.storage.snapshots import OverlayMount

if TYPE_CHECKING:
    from labkit.engine.container import Container
    from labkit.engine.engine import Engine
    from labkit.engine.images import ImageStore
    from labkit.runtime.context import Context

RUN = "/run/labkit"
FIRST_PORT = 32768
"""Where docker begins to look for a free port of the machine."""


def plan(
    images: ImageStore,
    config: Config,
    host: HostConfig,
    networking: NetworkingConfig | None = None,
    name: str = "explained",
    cgroup_parent: str = "labkit/containers",
) -> Plan:
    """The plan of a container with this configuration. ``NotFound`` for its image, ``InvalidInput`` and ``Unsupported`` as ``create``."""
    image = images.images.get(config.Image)
    whole = configs.merged(config, image.config.config)
    host = oci_resources.adapted(host)
    verification.check(whole, host)
    _refuse_others(host)
    id = hashlib.sha256(repr((name, whole, host)).encode()).hexdigest()  # the same for the same question
    shares = host.NetworkMode == "host" or host.UTSMode == "host"
    whole = replace(whole, Hostname=whole.Hostname or ("" if shares else id[:12]))
    directory = f"{images.store.root}/explained/{id[:12]}"
    base = root_layer.ensure(cast("Engine", _Images(images)), image)
    layers = [layer.upper for layer in images.store.snapshots.stack(base)]
    points = tuple(_placed(point, images.store.root, id) for point in mounting.asked(whole, host))
    made = Record(id, name, times.text(times.now()), image.id, base, whole, host, networking or NetworkingConfig(), points)
    with _networks(images.store.root) as networks:
        imagined = _Imagined(made)
        container = cast("Container", imagined)
        endpoints = _endpoints(networks, container)
        imagined.record = replace(made, Endpoints=endpoints, Ports=_ports(whole, host, endpoints))
        hostname = whole.Hostname or os.uname().nodename
        files = _files(hostname, host, networks.addresses(container), networks.resolver(container))
        read = passwd.in_layers(layers)
        user = passwd.resolve(whole.User, host.GroupAdd, read)
        # init looks HOME up when it is in the container; here there is none.
        config = replace(whole, Env=(f"HOME={_home(read('/etc/passwd'), user.uid)}", *whole.Env))
        imagined.record = replace(imagined.record, Config=config)
        spec = oci.configuration(imagined.record, oci.Setting(directory, directory, user, hostname, cgroup_parent))
        overlay = OverlayMount((*layers, f"{images.store.snapshots.root}/empty"), f"{directory}/upper", f"{directory}/work")
        root = MountRoot("overlay", "overlay", f"{directory}/rootfs", overlay.options)
        found = planner.create_plan(spec, id, directory, f"{RUN}/containers", (root,), networks.steps(container, whole=True))
    volumes = tuple(point.Source for point in points if point.Type == "volume")
    return replace(found, steps=(LayOut(directory, files, volumes), *found.steps))


@record
class LayOut(Step):
    """What the engine puts on the disk when a container is created."""

    side: ClassVar[Side] = "host"
    man: ClassVar[str] = "hosts(5)"
    directory: str
    files: Mapping[str, str]
    volumes: Sequence[str] = ()

    def __str__(self) -> str:
        return f"lay out {self.directory}: upper/, work/, rootfs/, {', '.join(self.files)}"

    @property
    def why(self) -> str:
        return "an empty layer for what it writes, and the three files of /etc that say who it is and where to ask for others"

    def apply(self, _context: Context) -> None:
        for path in (*(f"{self.directory}/{name}" for name in ("upper", "work", "rootfs")), *self.volumes):
            os.makedirs(path, exist_ok=True)
        for name, text in self.files.items():
            with open(f"{self.directory}/{name}", "w") as file:
                file.write(text)

    def undo(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        with suppress(OSError):  # others are explained there, too
            os.rmdir(os.path.dirname(self.directory))

    def shell(self) -> str:
        place = quote(self.directory)
        lines = [f"mkdir -p {' '.join([f'{place}/upper', f'{place}/work', f'{place}/rootfs', *map(quote, self.volumes)])}"]
        for name, text in self.files.items():
            lines += [f"cat > {place}/{name} <<'{name.upper()}'", text.rstrip("\n"), name.upper()]
        return "\n".join(lines)

    def shell_undo(self) -> str:
        parent = quote(os.path.dirname(self.directory))
        return f"rm -rf --one-file-system {quote(self.directory)}; rmdir --ignore-fail-on-non-empty {parent}"


@dataclass
class _Imagined:
    """As much of a container as networks want to know."""

    record: Record

    @property
    def id(self) -> str:
        return self.record.Id

    @property
    def short_id(self) -> str:
        return self.record.Id[:12]

    @property
    def name(self) -> str:
        return self.record.Name


class _Images:
    """As much of an engine as layers want to know."""

    def __init__(self, images: ImageStore) -> None:
        self.images, self.store = images, images.store


class _Place:
    """As much of an engine as networks want to know."""

    def __init__(self, root: str) -> None:
        self.root, self.run = root, RUN


@contextmanager
def _networks(root: str) -> Iterator[Networks]:
    """The engine's networks, in a copy: addresses that are taken there are taken from nobody."""
    with tempfile.TemporaryDirectory(prefix="labkit-explain-") as place:
        if os.path.isdir(f"{root}/networks"):
            shutil.copytree(f"{root}/networks", f"{place}/networks", dirs_exist_ok=True)
        networks = Networks(cast("Engine", _Place(place)))
        try:
            yield networks
        finally:
            networks.endpoints.close()
            networks.ports.close()  # but what the kernel has belongs to the engine that runs: bridges and rules stay as they are


def _endpoints(networks: Networks, container: Container) -> dict[str, EndpointSettings]:
    """What the container would have in its networks, as ``join`` finds it."""
    endpoints: dict[str, EndpointSettings] = {}
    for network in networks.of(container):
        asked = networks.asked(container, network)
        endpoint = replace(asked, NetworkID=network.Id, EndpointID=network.Id)
        if network.Driver == "bridge":
            networks.subnet(network)  # chosen now, if it was not
            pool = networks.get(network.Id).pool
            wanted = (asked.IPAMConfig or EndpointIPAMConfig()).IPv4Address
            address = networks.leases(network).take(pool.Subnet, container.id, wanted, (pool.Gateway, *pool.AuxiliaryAddresses.values()))
            endpoint = replace(
                endpoint,
                Gateway="" if network.Internal else pool.Gateway,
                IPAddress=address,
                IPPrefixLen=ip_network(pool.Subnet).prefixlen,
                MacAddress=asked.MacAddress or container.record.Config.MacAddress or subnets.mac(address),
            )
        endpoints[network.Name] = endpoint
    return endpoints


def _ports(config: Config, host: HostConfig, endpoints: Mapping[str, EndpointSettings]) -> dict[str, tuple[PortBinding, ...]]:
    """Where its ports would be found; for "any free one" stands the first that docker would try."""
    if not any(endpoint.Gateway for endpoint in endpoints.values()):
        return {}
    free = iter(range(FIRST_PORT, 65536))
    return {
        key: tuple(PortBinding(each.HostIp or "0.0.0.0", each.HostPort.partition("-")[0].lstrip("0") or str(next(free))) for each in asked)
        for key, asked in publishing.wanted(config, host).items()
    }


def _files(hostname: str, host: HostConfig, addresses: Sequence[tuple[str, str]], resolver: str) -> dict[str, str]:
    """The texts of the three files of /etc."""
    with tempfile.TemporaryDirectory(prefix="labkit-explain-") as place:
        etc_files.write(place, hostname, host, addresses, resolver)
        texts = {}
        for name in sorted(os.listdir(place)):
            with open(f"{place}/{name}") as file:
                texts[name] = file.read()
        return texts


def _home(users: str, uid: int) -> str:
    """The home directory of a user by the image's /etc/passwd."""
    entries = (line.split(":") for line in users.splitlines())
    return next((entry[5] for entry in entries if len(entry) > 5 and entry[2] == str(uid)), "/")


def _placed(point: MountPoint, root: str, id: str) -> MountPoint:
    """Where a volume is, or would be."""
    if point.Type != "volume":
        return point
    name = point.Name or hashlib.sha256(f"{id}{point.Destination}".encode()).hexdigest()
    return replace(point, Name=name, Source=f"{root}/volumes/{name}/_data")


def _refuse_others(host: HostConfig) -> None:
    modes = {"--network": host.NetworkMode, "--pid": host.PidMode, "--ipc": host.IpcMode}
    for option, mode in modes.items():
        if mode.startswith("container:"):
            raise Unsupported(f"explain {option} {mode}: whose namespace that is, the daemon alone knows; leave it out")
    if host.VolumesFrom:
        raise Unsupported("explain --volumes-from: what another container has, the daemon alone knows; use -v")
