"""What the administrator says: daemon.json, whole, with Docker's names.

    {
        "registry-mirrors": ["http://127.0.0.1:5000"],
        "data-root": "/data/labkit",
        "log-level": "debug",
        "log-opts": {"max-size": "10m", "max-file": "3"}
    }

    >>> from labkit.daemon import settings
    >>> settings.load("/etc/labkit/daemon.json").data_root
    '/data/labkit'

A key that is not known here, or a value of another type, is an error that names it: a mistake shall not look like a setting.
Mirrors, insecure registries and limits of layers are read again at SIGHUP, all else at the next start. What registries need is checked
in ``labkit.image.registry.settings``. Source: Docker's dockerd reference, "Daemon configuration file".
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from labkit import codec
from labkit.errors import InvalidInput, KernelError

PATH = "/etc/labkit/daemon.json"
LEVELS = ("debug", "info", "warn", "error", "fatal")
LOG_DRIVERS = ("json-file", "none")


@dataclass(frozen=True)
class Settings:
    """All that can be said."""

    registry_mirrors: tuple[str, ...] = field(default=(), metadata={"json": "registry-mirrors"})
    insecure_registries: tuple[str, ...] = field(default=(), metadata={"json": "insecure-registries"})
    max_layer_bytes: int | None = field(default=None, metadata={"json": "max-layer-bytes"})
    data_root: str = field(default="/var/lib/labkit", metadata={"json": "data-root"})
    exec_root: str = field(default="/run/labkit", metadata={"json": "exec-root"})
    cgroup_parent: str = field(default="labkit/containers", metadata={"json": "cgroup-parent"})
    """The control group of all containers: each has its own in there. ``labkit reset`` clears what is below ``labkit``."""
    hosts: tuple[str, ...] = ()
    """Where to listen: ``unix:///run/labkit/labkit.sock``."""
    group: str = "labkit"
    """Whose members may use the socket."""
    debug: bool = False
    log_level: str = field(default="info", metadata={"json": "log-level"})
    log_driver: str = field(default="json-file", metadata={"json": "log-driver"})
    """Of containers that say nothing else; ``log-opts`` likewise."""
    log_opts: Mapping[str, str] = field(default_factory=dict, metadata={"json": "log-opts"})
    labels: tuple[str, ...] = ()
    bip: str = ""
    """Address and network of the default bridge, as 172.17.0.1/16."""

    def __post_init__(self) -> None:
        if self.log_level not in LEVELS:
            raise InvalidInput(f"log-level: must be one of {', '.join(LEVELS)}, not {self.log_level!r:.60}")
        if self.log_driver not in LOG_DRIVERS:
            raise InvalidInput(f"log-driver: must be one of {', '.join(LOG_DRIVERS)}, not {self.log_driver!r:.60}")
        for name, path in (("data-root", self.data_root), ("exec-root", self.exec_root)):
            if not path.startswith("/"):
                raise InvalidInput(f"{name}: must be an absolute path, not {path!r:.60}")
        for host in self.hosts:
            check_host(host)
        if self.bip:
            _check_bip(self.bip)


def load(path: str = PATH) -> Settings:
    """The settings in a file; the defaults if there is none. ``InvalidInput`` names file and key of a mistake."""
    from labkit.image.registry import settings as registries

    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise KernelError.of(error, "read", path) from None
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise InvalidInput(f"{path}: is not JSON: {error}") from None
    if isinstance(document, dict):
        _refuse_unknown(document, path)
    try:
        found = codec.decode(Settings, document)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None
    registries.load(path)
    return found


def socket_path(host: str) -> str:
    """The path in ``unix:///run/labkit/labkit.sock``."""
    check_host(host)
    return host.removeprefix("unix://")


def check_host(host: str) -> None:
    """``InvalidInput`` for what is no unix socket: whoever reaches the daemon is root here, so no port leads to it."""
    if not host.startswith("unix:///"):
        raise InvalidInput(
            f"hosts: {host!r:.100} must be a unix socket with an absolute path, as unix:///run/labkit/labkit.sock"
            " (a port would make root of everybody who reaches it)"
        )


def _refuse_unknown(document: dict[str, object], path: str) -> None:
    import difflib  # most settings are right

    known = [each.metadata.get("json", each.name) for each in fields(Settings)]
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f": do you mean {near[0]}?" if near else f": there are {', '.join(known)}"
            raise InvalidInput(f"{path}: {key!r:.60} is no setting of this daemon{hint}")


def _check_bip(text: str) -> None:
    try:
        address = ipaddress.ip_interface(text)
        is_host = "/" in text and address.network.num_addresses > 3 and address.ip != address.network.network_address
    except ValueError:
        is_host = False
    if not is_host:
        raise InvalidInput(f"bip: {text!r:.60} must be an address with its network, as 172.17.0.1/16")
