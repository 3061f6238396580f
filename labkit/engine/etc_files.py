"""The three files of /etc that say who a container is and where to ask for others: ``hostname``, ``hosts``, ``resolv.conf``.

They lie in the container's directory on the host and are bound into its file system, so that no layer has them. Each is written when
the container is started and has none yet; a user who edits one inside keeps the edit until the container is removed. But ``hosts`` of
a container that has addresses is written anew at each start, as in Docker: they may be others than the last time.

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


def write(directory: str, hostname: str, host: HostConfig, addresses: Sequence[tuple[str, str]] = (), resolver: str = "") -> None:
    """Write those that are missing. ``addresses``: pairs of an address and the names that it has, for the container's own.

    ``resolver``: the nameserver that knows the names of containers, "" where there is none.
    """
    texts = {"hostname": (f"{hostname}\n",), "resolv.conf": _resolver(host, resolver)}
    for name, text in texts.items():
        if not os.path.exists(f"{directory}/{name}"):
            _write(f"{directory}/{name}", text)
    if addresses or not os.path.exists(f"{directory}/hosts"):
        write_hosts(directory, host, addresses)


def write_hosts(directory: str, host: HostConfig, addresses: Sequence[tuple[str, str]]) -> None:
    """Write ``hosts`` alone: the container's addresses are others now. The file stays the one that is bound into it."""
    _write(f"{directory}/hosts", _hosts(host, addresses))


def write_resolver(directory: str, host: HostConfig, resolver: str) -> None:
    """Write ``resolv.conf`` alone: it has come into a network with names, or out of the last one."""
    _write(f"{directory}/resolv.conf", _resolver(host, resolver))


def _write(path: str, text: Iterable[str]) -> None:
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


def _resolver(host: HostConfig, resolver: str) -> Iterator[str]:
    """The machine's, with what the user gave in its place."""
    given = {"nameserver": host.Dns, "search": host.DnsSearch, "options": host.DnsOptions}
    lines = [line.rstrip("\n") for line in _of_machine(host)]
    servers = (resolver,) if resolver else host.Dns
    for line in lines:
        word = line.split(maxsplit=1)[:1]
        key = "search" if word[:1] == ["domain"] else "".join(word)
        if not given.get(key) and not (key == "nameserver" and servers):
            yield f"{line}\n"
    for address in servers:
        yield f"nameserver {address}\n"
    if host.DnsSearch and host.DnsSearch != (".",):
        yield f"search {' '.join(host.DnsSearch)}\n"
    if host.DnsOptions:
        yield f"options {' '.join(host.DnsOptions)}\n"
    elif resolver:
        yield "options ndots:0\n"


def _of_machine(host: HostConfig) -> list[str]:
    """The machine's lines; but a nameserver on the machine's loopback is none that a container reaches in its own."""
    lines = _of_host("/etc/resolv.conf").splitlines()
    if host.NetworkMode == "host":
        return lines
    kept = [line for line in lines if not _is_on_loopback(line)]
    if len(kept) < len(lines) and not any(line.startswith("nameserver") for line in kept):
        # systemd-resolved listens at 127.0.0.53, and writes down here whom it asks itself.
        others = _of_host("/run/systemd/resolve/resolv.conf").splitlines()
        kept += [line for line in others if line.startswith("nameserver") and not _is_on_loopback(line)]
    return kept


def _is_on_loopback(line: str) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] == "nameserver" and (words[1].startswith("127.") or words[1] == "::1")


def _of_host(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""
