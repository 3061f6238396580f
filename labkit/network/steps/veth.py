"""The step that lays the cable between a bridge and a container."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import KernelError
from labkit.linux import links
from labkit.network.steps.step import NetworkStep
from labkit.records import record

if TYPE_CHECKING:
    from labkit.network.steps.step import Born

_MOMENT = 0.5  # seconds


@record
class VethPair(NetworkStep):
    """Two links that are the ends of one cable: ``name`` is a port of the bridge, ``inside`` is born in the container."""

    man: ClassVar[str] = "veth(4)"
    name: str
    inside: str
    bridge: str
    mac: str
    mtu: int

    def __str__(self) -> str:
        return f"veth {self.name} on {self.bridge} ═ {self.inside} in the container"

    @property
    def why(self) -> str:
        return "a pair of links is a cable between two network namespaces: one end is a port of the bridge, the other the container's own"

    def apply(self, context: Born) -> None:
        try:
            self._add(context.pid)
        except KernelError as error:
            if error.errno != errno.EEXIST:
                raise
            links.delete(self.name)  # of a start or an end just now: the kernel takes a while to notice, and may have by this time
            self._add(context.pid)

    def _add(self, pid: int) -> None:
        links.add_veth(self.name, self.inside, pid, master=self.bridge, mtu=self.mtu, address=self.mac)

    def undo(self) -> None:
        # The container's namespace ends with the container, and then the kernel removes the pair by itself, many at a time. To ask for
        # it takes 10 ms of waiting; so that is done a moment later, for a namespace that somebody else keeps alive: a process, or a
        # connection that has still something to send. Python ends no sooner than that thread.
        if links.exists(self.name):
            later = threading.Timer(_MOMENT, links.delete_numbered, (links.index(self.name),))
            later.daemon = False
            later.start()

    def shell(self) -> str:
        peer = f'peer name {self.inside} address {self.mac} mtu {self.mtu} netns "$NETNS"'
        return "\n".join(
            (
                f"ip link add {self.name} mtu {self.mtu} type veth {peer}",
                f"ip link set {self.name} master {self.bridge} up",
                f"bridge link set dev {self.name} hairpin on",
            )
        )

    def shell_undo(self) -> str:
        return f"ip link delete {self.name} 2>/dev/null || :"
