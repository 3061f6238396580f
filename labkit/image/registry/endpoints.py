"""Endpoints: the places to ask for an image, in order.

    nginx                  ──▶ each of registry-mirrors, for names of Docker Hub alone
                           ──▶ https://registry-1.docker.io
    127.0.0.1:5000/me/web  ──▶ http://127.0.0.1:5000, or https if it insists
    registry.lab/me/web    ──▶ https://registry.lab

    >>> from labkit.image import references
    >>> from labkit.image.registry import endpoints
    >>> from labkit.image.registry.settings import Settings
    >>> [str(endpoint) for endpoint in endpoints.of(references.parse("nginx"), Settings(("http://127.0.0.1:5000",)))]
    ['mirror http://127.0.0.1:5000', 'registry-1.docker.io']

Source: Docker's dockerd reference, "Insecure registries". Shown in notebook 05.
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.errors import InvalidInput
from labkit.image.references import Reference
from labkit.image.registry.settings import Settings, is_loopback, split_port

HUB = "docker.io"
HUB_REGISTRY = "registry-1.docker.io"


@dataclass(frozen=True)
class Endpoint:
    """One place. Which of several ``schemes`` it speaks is found out by trying, in this order."""

    host: str
    """HOST[:PORT], as in a URL."""
    schemes: tuple[str, ...]
    is_verified: bool = True
    """Whether its certificate must be one that this machine trusts."""
    is_mirror: bool = False

    def __str__(self) -> str:
        return f"mirror {self.schemes[0]}://{self.host}" if self.is_mirror else self.host


def of(reference: Reference, settings: Settings) -> tuple[Endpoint, ...]:
    """Where to pull from."""
    mirrors = settings.registry_mirrors if reference.domain == HUB else ()
    return (*(_mirror(url, settings) for url in mirrors), registry(reference.domain, settings))


def registry(domain: str, settings: Settings) -> Endpoint:
    """The registry that a domain stands for: where to push to and to log in at. ``InvalidInput`` if its port cannot be one."""
    host = HUB_REGISTRY if domain == HUB else domain
    port = split_port(host)[1]
    if port and not 0 < int(port[:9]) < 65536:
        raise InvalidInput(f"registry {host}: there is no port {port}: it must be 1 to 65535")
    if is_loopback(host):
        return Endpoint(host, ("http", "https"), is_verified=False)
    if settings.is_insecure(host):
        return Endpoint(host, ("https", "http"), is_verified=False)
    return Endpoint(host, ("https",))


def _mirror(url: str, settings: Settings) -> Endpoint:
    scheme, _, host = url.partition("://")
    return Endpoint(host, (scheme,), is_verified=not settings.is_insecure(host), is_mirror=True)
