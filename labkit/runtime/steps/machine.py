"""Steps that set what the new namespaces hold: host name, loopback, kernel parameters."""

from __future__ import annotations

from shlex import quote
from typing import ClassVar

from labkit.linux import links, syscalls, sysctls
from labkit.records import record
from labkit.runtime.context import Context
from labkit.runtime.plans import Step


@record
class SetHostname(Step):
    """The name in the UTS namespace."""

    man: ClassVar[str] = "uts_namespaces(7)"
    name: str

    def __str__(self) -> str:
        return f"sethostname {self.name}"

    @property
    def why(self) -> str:
        return "the UTS namespace has a copy of the host's name; now it is the container's"

    def apply(self, context: Context) -> None:
        syscalls.sethostname(self.name)

    def shell(self) -> str:
        return f"echo {quote(self.name)} > /proc/sys/kernel/hostname"


@record
class SetDomainname(Step):
    """The NIS domain name in the UTS namespace; not the DNS one."""

    man: ClassVar[str] = "uts_namespaces(7)"
    name: str

    def __str__(self) -> str:
        return f"setdomainname {self.name}"

    @property
    def why(self) -> str:
        return "the other name that a UTS namespace holds"

    def apply(self, context: Context) -> None:
        syscalls.setdomainname(self.name)

    def shell(self) -> str:
        return f"echo {quote(self.name)} > /proc/sys/kernel/domainname"


@record
class BringUpLoopback(Step):
    """A new network namespace has one interface, ``lo``, and it is down."""

    man: ClassVar[str] = "network_namespaces(7)"

    def __str__(self) -> str:
        return "ip link set lo up"

    @property
    def why(self) -> str:
        return "a new network namespace has only lo, and it is down: without it not even 127.0.0.1 answers"

    def apply(self, context: Context) -> None:
        links.set_up("lo")

    def shell(self) -> str:
        return "ip link set lo up"


@record
class SetSysctls(Step):
    """Kernel parameters that belong to a namespace."""

    man: ClassVar[str] = "sysctl(8)"
    values: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "sysctl " + " ".join(f"{name}={value}" for name, value in self.values)

    @property
    def why(self) -> str:
        return "parameters of the container's own network and IPC namespaces; the host's stay as they are"

    def apply(self, context: Context) -> None:
        for name, value in self.values:
            sysctls.write(name, value)

    def shell(self) -> str:
        return "\n".join(f'echo {quote(value)} > "$ROOT"/proc/sys/{name.replace(".", "/")}' for name, value in self.values)
