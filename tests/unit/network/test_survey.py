"""The rules of published ports read backwards, from nft's own JSON; hypothesis makes the ports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import NotFound
from labkit.linux import nftables
from labkit.linux.cables import End
from labkit.linux.links import Link
from labkit.network import nat, survey
from labkit.network.nat import Published
from labkit.network.subnet import Subnet

NUMBERS = st.integers(1, 65535)
PORTS = st.one_of(
    st.builds(Published, st.sampled_from(["tcp", "udp"]), st.sampled_from(["0.0.0.0", "127.0.0.1", "192.0.2.7"]), NUMBERS,
              st.ip_addresses(v=4).map(str), NUMBERS),
    st.builds(Published, st.just("tcp"), st.sampled_from(["::", "::1"]), NUMBERS, st.ip_addresses(v=6).map(str), NUMBERS),
)  # fmt: skip
BLUE = Subnet("lk0", "172.17.0.0/16", "172.17.0.1")
INNER = Subnet("lk-inner", "172.18.0.0/16", "172.18.0.1", internal=True)


@pytest.fixture
def firewall(monkeypatch):
    """A table that has the rules which labkit would add, as nft would list them."""
    chains = {}

    def has(rules):
        chains.clear()
        for rule in rules:
            chains.setdefault(rule.chain, [{"chain": {"name": rule.chain}}]).append({"rule": rule.json("t")["add"]["rule"]})

    def listed(*what):
        assert what[:3] == ("chain", "inet", "t")
        if what[3] not in chains:
            raise NotFound("nft: No such file or directory")
        return chains[what[3]]

    monkeypatch.setattr(nftables, "listed", listed)
    return has


@given(st.lists(PORTS, max_size=4))
def test_what_labkit_publishes_is_read_as_what_it_was(ports):
    with pytest.MonkeyPatch.context() as patch:
        rules = [{"rule": nat.publication(port, "web").json("t")["add"]["rule"]} for port in ports]
        patch.setattr(nftables, "listed", lambda *_: rules)
        assert survey.published("t") == tuple(ports)


def test_the_ways_out_are_the_subnets_that_are_masqueraded_and_no_others(firewall):
    firewall(nat.rules([BLUE, INNER]))
    assert survey.ways_out("t") == ("172.17.0.0/16",)


def test_a_table_names_its_bridges(firewall):
    firewall(nat.rules([BLUE, INNER]))
    assert survey.guarded("t") == ("lk0", "lk-inner")


def test_where_there_is_no_table_there_is_nothing(firewall):
    assert (survey.published("t"), survey.ways_out("t"), survey.guarded("t")) == ((), (), ())


def test_a_rule_of_somebody_else_is_no_port(monkeypatch):
    rules = [{"rule": {"expr": [{"counter": None}, {"accept": None}]}}, {"rule": {}}, {"rule": {"expr": ["return"]}}]
    monkeypatch.setattr(nftables, "listed", lambda *_: rules)
    assert survey.published("t") == ()


def space(*links, ends=(), ids=None):
    has = {link.index: survey._Link(link, ()) for link in links}
    return survey._Space(has, ends, ids or {})


def veth(index, name):
    return Link(index, name, "veth", "", 1500, 0, True)


def test_a_cable_that_was_laid_while_we_looked_is_told_as_any_other():
    red = space(veth(2, "eth0"), ends=(End(2, 5, 0),), ids={0: survey.MACHINE})
    late = {survey.MACHINE: space(veth(5, "lk1")), "red": red}  # the link is seen here, but not yet as an end
    (cable,) = survey._cables(late)
    assert (cable.one.place, cable.one.link, cable.other.place, cable.other.link) == (survey.MACHINE, "lk1", "red", "eth0")


def test_a_cable_that_is_not_seen_at_one_end_yet_is_not_told():
    red = space(veth(2, "eth0"), ends=(End(2, 5, 0),), ids={0: survey.MACHINE})
    assert list(survey._cables({survey.MACHINE: space(), "red": red})) == []


def test_a_cable_that_was_taken_away_while_we_looked_is_not_told():
    red = space(ends=(End(2, 5, 0),), ids={0: survey.MACHINE})
    assert list(survey._cables({survey.MACHINE: space(veth(5, "lk1")), "red": red})) == []


def test_a_cable_that_leads_to_somebody_who_was_not_asked_about_is_not_told():
    red = space(veth(2, "eth0"), ends=(End(2, 5, 7),))
    assert list(survey._cables({survey.MACHINE: space(), "red": red})) == []
