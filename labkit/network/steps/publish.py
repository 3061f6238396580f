"""The step that opens the machine's ports to a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from labkit.network import flows, nat
from labkit.network.nat import Published
from labkit.network.steps.step import NetworkStep
from labkit.records import record

if TYPE_CHECKING:
    from labkit.network.steps.step import Born

__all__ = ["PublishPorts", "Published"]  # Published: codec looks it up here


@record
class PublishPorts(NetworkStep):
    """A rule for each port, all in one transaction. ``name`` is the comment by which they are found again."""

    man: ClassVar[str] = "nft(8)"
    leads_in: ClassVar[bool] = True
    name: str
    ports: tuple[Published, ...]
    table: str = nat.TABLE

    def __str__(self) -> str:
        return f"publish {', '.join(map(str, self.ports))}"

    @property
    def why(self) -> str:
        return "the kernel rewrites the destination of what comes for the machine's port (DNAT); no program stands in between"

    def apply(self, context: Born) -> None:
        nat.publish(self.ports, self.name, self.table)

    def undo(self) -> None:
        nat.withdraw(self.name, self.table)
        flows.end(self.ports)

    def shell(self) -> str:
        rules = [nat.publication(port, self.name) for port in self.ports]
        lines = [f"add rule {nat.FAMILY} {self.table} {rule.chain} {rule.text}" for rule in rules]
        return "\n".join(("nft -f - <<'RULES'", *lines, "RULES"))

    def shell_undo(self) -> str:
        chain = f"{nat.FAMILY} {self.table} {nat.PUBLISHED}"
        # The quotes of the comment, in a string that a trap holds in quotes of its own.
        find = f"nft -a list chain {chain} | sed -n '/comment \"{self.name}\"/s/.*handle //p'"
        return f"for handle in $({find}); do nft delete rule {chain} handle $handle; done"
