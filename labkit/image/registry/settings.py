"""What the administrator says about registries: daemon.json, as Docker's.

    {
        "registry-mirrors": ["http://127.0.0.1:5000"],
        "insecure-registries": ["registry.lab:5000", "10.0.0.0/8"],
        "max-layer-bytes": 10737418240
    }

    >>> from labkit.image.registry import settings
    >>> settings.load("/etc/labkit/daemon.json").registry_mirrors
    ('http://127.0.0.1:5000',)

A mirror is asked before Docker Hub, in the order written. An insecure registry may have a certificate that nobody vouches for, or speak
plain HTTP; registries of this machine itself (127.0.0.0/8, ::1) always may. A layer that has more bytes when it is decompressed is
refused; that key is labkit's own. All other keys are the daemon's business. Source:
Docker's dockerd reference, "Daemon configuration file". Shown in notebook 05.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from labkit.errors import InvalidInput, KernelError

PATH = "/etc/labkit/daemon.json"


@dataclass(frozen=True)
class Settings:
    """What daemon.json says, checked: mirrors as URLs without a slash at the end, registries as HOST[:PORT] or networks."""

    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    max_layer_bytes: int | None = None
    """How many bytes a layer may have when it is decompressed; if nothing is said, the disk is the limit."""

    def __post_init__(self) -> None:
        for mirror in self.registry_mirrors:
            _check_mirror(mirror)
        for registry in self.insecure_registries:
            _check_registry(registry)

    def is_insecure(self, host: str) -> bool:
        """Whether the registry at ``host``, HOST[:PORT], needs no certificate. A name is not looked up to see if it is in a network."""
        return is_loopback(host) or any(_covers(entry, host) for entry in self.insecure_registries)


def load(path: str = PATH) -> Settings:
    """The settings in a file; none if there is no file. ``InvalidInput`` names file and key of a mistake."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise KernelError.of(error, "read", path) from None
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise InvalidInput(f"{path}: is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{path}: must be an object, not {document!r:.60}")
    try:
        mirrors = tuple(mirror.rstrip("/") for mirror in _strings(document, "registry-mirrors"))
        return Settings(mirrors, _strings(document, "insecure-registries"), _bytes(document, "max-layer-bytes"))
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None


def is_loopback(host: str) -> bool:
    """Whether HOST[:PORT] is this machine itself, as its spelling tells."""
    name = split_port(host)[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def split_port(host: str) -> tuple[str, str]:
    """``[::1]:5000`` is ``::1`` and ``5000``."""
    found = re.fullmatch(r"\[?([^\]]*?)\]?(?::([0-9]+))?", host) if host.startswith("[") or host.count(":") < 2 else None
    return (found[1], found[2] or "") if found else (host, "")


def _strings(document: dict[str, object], key: str) -> tuple[str, ...]:
    values = document.get(key)
    if values is None:
        return ()
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidInput(f"{key}: must be an array of strings, not {values!r:.60}")
    return tuple(values)


def _bytes(document: dict[str, object], key: str) -> int | None:
    value = document.get(key)
    if value is None or (type(value) is int and value > 0):
        return value
    raise InvalidInput(f"{key}: must be a number of bytes, not {value!r:.60}")


def _check_mirror(mirror: str) -> None:
    try:
        url = urlsplit(mirror)
        correct = url.scheme in ("http", "https") and url.hostname and url.port != 0 and not mirror.split("://", 1)[1].count("/")
    except ValueError:  # a port that is no number, half an IPv6 address
        url, correct = None, False
    if url and correct and (url.username is not None or url.query or url.fragment):
        correct = False
    if not correct:
        raise InvalidInput(f"registry-mirrors: {mirror!r} must be a URL of a host alone, as http://127.0.0.1:5000")


def _check_registry(registry: str) -> None:
    if _network(registry):
        return
    if "://" in registry or not re.fullmatch(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?", registry):
        raise InvalidInput(f"insecure-registries: {registry!r} must be HOST, HOST:PORT or a network, as registry.lab:5000 or 10.0.0.0/8")


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False) if "/" in entry else None
    except ValueError:
        return None


def _covers(entry: str, host: str) -> bool:
    """Whether an entry of insecure-registries is about a host; one without a port is about the host without a port alone, as in Docker."""
    network = _network(entry)
    if network is None:
        return entry == host
    try:
        return ipaddress.ip_address(split_port(host)[0]) in network
    except ValueError:
        return False
