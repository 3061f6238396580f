"""nftables by its library and by its program: the same answers and the same errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit.errors import LabError, NotFound
from labkit.linux import namespaces, nftables

pytestmark = pytest.mark.skipif(not nftables.available(), reason="nft is not installed")

TABLE = {"family": "inet", "name": "mine"}


@pytest.fixture(params=["library", "program"])
def _by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a network of the test's own."""
    if request.param == "program":
        monkeypatch.setattr(nftables, "_LIBRARY", "no-such-library.so")
        monkeypatch.setattr(nftables, "_library", None)
    with namespaces.new("net") as box, namespaces.entered(box.pid, "net"):
        yield


@pytest.mark.usefixtures("_by")
def test_what_is_added_is_listed_with_its_handle() -> None:
    chain = {"family": "inet", "table": "mine", "name": "door"}
    rule = {"family": "inet", "table": "mine", "chain": "door", "expr": [{"drop": None}], "comment": "closed"}
    nftables.run([{"add": {"table": TABLE}}, {"add": {"chain": chain}}, {"add": {"rule": rule}}])
    _, listed = nftables.listed("chain", "inet", "mine", "door")
    assert listed["rule"].pop("handle") > 0  # type: ignore[attr-defined]
    assert listed == {"rule": rule}
    nftables.run([{"delete": {"table": TABLE}}])
    assert nftables.listed("tables", "inet") == []


@pytest.mark.usefixtures("_by")
def test_all_commands_are_carried_out_or_none() -> None:
    with pytest.raises(NotFound):
        nftables.run([{"add": {"table": TABLE}}, {"delete": {"table": {"family": "inet", "name": "nosuch"}}}])
    assert nftables.listed("tables") == []


@pytest.mark.usefixtures("_by")
def test_what_is_not_there_and_what_makes_no_sense_are_told_apart() -> None:
    with pytest.raises(NotFound, match=r"nft list table inet nosuch: .*No such file or directory"):
        nftables.listed("table", "inet", "nosuch")
    with pytest.raises(LabError, match="Unknown object"):
        nftables.run([{"x": 1}])
