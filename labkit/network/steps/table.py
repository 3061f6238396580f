"""The step that makes labkit's table in the firewall."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from labkit.linux import nftables
from labkit.network import nat
from labkit.network.steps.step import NetworkStep
from labkit.network.subnet import Subnet
from labkit.records import record

if TYPE_CHECKING:
    from labkit.network.steps.step import Born

__all__ = ["MakeTable", "Subnet"]  # Subnet: codec looks it up here


@record
class MakeTable(NetworkStep):
    """The table ``inet labkit``: what passes between networks, and whose address a packet bears outside. ``nat.py`` draws it."""

    man: ClassVar[str] = "nft(8)"
    networks: tuple[Subnet, ...]
    table: str = nat.TABLE

    def __str__(self) -> str:
        return f"nft table {nat.FAMILY} {self.table}: masquerade {', '.join(network.subnet for network in self.networks)}"

    @property
    def why(self) -> str:
        return "outside nobody knows the containers' addresses: what leaves bears the machine's own, and answers are translated back"

    def apply(self, context: Born) -> None:
        nftables.run(nat.table(self.networks, self.table))

    def shell(self) -> str:
        known = f"nft list table {nat.FAMILY} {self.table} >/dev/null 2>&1"
        return f"if ! {known}; then\nMADE_TABLE=1\n{nat.script(self.networks, self.table)}\nfi"

    def shell_undo(self) -> str:
        return f'[ -z "${{MADE_TABLE:-}}" ] || nft delete table {nat.FAMILY} {self.table}'
