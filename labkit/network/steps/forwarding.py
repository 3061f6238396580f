"""The step that makes a router of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from labkit.errors import KernelError
from labkit.linux import sysctls
from labkit.network.steps.step import NetworkStep
from labkit.records import record

if TYPE_CHECKING:
    from labkit.network.steps.step import Born


@record
class EnableForwarding(NetworkStep):
    """``ip_forward`` is one switch for the whole machine, and every network of containers on it needs it on."""

    man: ClassVar[str] = "ip(7)"
    ipv6: bool = False

    def __str__(self) -> str:
        return "sysctl " + " ".join(f"{name}=1" for name in self.switches)

    @property
    def switches(self) -> tuple[str, ...]:
        """The names of the settings."""
        return ("net.ipv4.ip_forward", *(("net.ipv6.conf.all.forwarding",) if self.ipv6 else ()))

    @property
    def why(self) -> str:
        return "a machine passes packets on from one link to another only if it is told to be a router"

    def apply(self, context: Born) -> None:
        for name in self.switches:
            if sysctls.read(name) == "0":
                try:
                    sysctls.write(name, "1")
                except KernelError as error:
                    hint = "it is 0, so that no packet leaves a network of containers, and may not be changed here"
                    raise KernelError(error.errno, error.operation, error.object, hint) from None

    def shell(self) -> str:
        return "\n".join(f"echo 1 > /proc/sys/{name.replace('.', '/')}" for name in self.switches)
