"""The three files of /etc that say who a container is and where to ask for others: ``hostname``, ``hosts``, ``resolv.conf``.

They lie in the container's directory on the host and are bound into its file system, so that no layer has them. Each is written when
the container is started and has none yet; a user who edits one inside keeps the edit until the container is removed.

Source: ``man 5 hosts``, ``man 5 resolv.conf``; moby's ``libnetwork/etchosts``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from labkit.engine.config import HostConfig
from labkit.errors import KernelError

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def write(directory: str, hostname: str, host: HostConfig, addresses: Sequence[tuple[str, str]] = ()) -> None:
    """Write those that are missing. ``addresses``: pairs of an address and the names that it has, for the container's own."""
    texts: dict[str, Iterable[str]] = {"hostname": (f"{hostname}\n",), "hosts": _hosts(host, addresses), "resolv.conf": _resolver(host)}
    for name, text in texts.items():
        path = f"{directory}/{name}"
        if not os.path.exists(path):
            try:
                with open(path, "w") as file:
                    file.writelines(text)
                os.chmod(path, 0o644)
            except OSError as error:
                raise KernelError.of(error, "write", path) from None


def _hosts(host: HostConfig, addresses: Sequence[tuple[str, str]]) -> Iterator[str]:
    if host.NetworkMode == "host":
        yield _of_host("/etc/hosts") or _HOSTS
    else:
        yield _HOSTS
    for extra in host.ExtraHosts:
        name, _, address = extra.partition(":")
        yield f"{address}\t{name}\n"
    for address, names in addresses:
        yield f"{address}\t{names}\n"


def _resolver(host: HostConfig) -> Iterator[str]:
    """The host's, with what the user gave in its place."""
    given = {"nameserver": host.Dns, "search": host.DnsSearch, "options": host.DnsOptions}
    for line in _of_host("/etc/resolv.conf").splitlines(keepends=True):
        word = line.split(maxsplit=1)[:1]
        if not word or not given.get("search" if word[0] == "domain" else word[0]):
            yield line if line.endswith("\n") else line + "\n"
    for address in host.Dns:
        yield f"nameserver {address}\n"
    if host.DnsSearch and host.DnsSearch != (".",):
        yield f"search {' '.join(host.DnsSearch)}\n"
    if host.DnsOptions:
        yield f"options {' '.join(host.DnsOptions)}\n"


def _of_host(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""
