"""Containers of an engine in its networks: addresses, ports and names, from start to end, and across engines."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.engine.config import EndpointIPAMConfig, EndpointSettings, NetworkingConfig, PortBinding
from labkit.engine.container import Container
from labkit.engine.endpoints import Unconnected
from labkit.engine.engine import Engine
from labkit.engine.network_file import IPAM, IPAMConfig, Network, Wanted
from labkit.errors import Conflict, Denied, InvalidInput, NotFound
from labkit.linux import links, nftables
from labkit.network import nat
from tests.containers import Make, create_in, ran, said

pytestmark = pytest.mark.skipif(not nftables.available(), reason="nft is not installed")

HTTPD = ("httpd", "-f", "-p", "80", "-h", "/etc")
ANY = (PortBinding(),)


@pytest.fixture
def blue(engine: Engine) -> Network:
    return engine.networks.create(Wanted(Name="blue"))


@pytest.fixture(autouse=True)
def _no_network_is_left(engine: Engine) -> Iterator[None]:
    yield
    for container in engine.containers.list(all=True):
        container.remove(force=True)
    engine.networks.prune()


@pytest.fixture
def enter(engine: Engine, make: Make) -> Callable[..., Container]:
    """A container that runs in a network, with endpoint settings: ``enter("blue", "db", Aliases=("data",))``."""

    def begin(network: str, name: str, *command: str, **asked: object) -> Container:
        endpoints = {network: EndpointSettings(**asked)} if asked else {}  # type: ignore[arg-type]
        container = make(*(command or ("sleep", "1000")), name=name, NetworkMode=network)
        container.save(NetworkingConfig=NetworkingConfig(endpoints))
        container.start()
        return container

    return begin


def says(engine: Engine, network: str, script: str) -> str:
    """What a script says in a container of that network."""
    container = create_in(engine, "sh", "-c", script, NetworkMode=network)
    ran(container)
    text = said(container)
    container.remove()
    return text


def fetched(port: int, path: str = "hostname", address: str = "127.0.0.1") -> str:
    """A page; asked for again until the server, which has just begun, listens."""
    end = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}:{port}/{path}", timeout=3) as answer:
                text: str = answer.read().decode().strip()
                return text
        except OSError:
            if time.monotonic() > end:
                raise


def leases(engine: Engine, network: str = "bridge") -> dict[str, str]:
    return engine.networks.leases(engine.networks.get(network)).of()


def rules(engine: Engine) -> set[str]:
    return {comment for comment, _ in nat.in_force(engine.networks.fabric.table)}


def cables(engine: Engine) -> set[str]:
    """The ports of the engine's bridges."""
    found = links.all()
    bridges = {link.index for link in found if link.name in {network.Bridge for network in engine.networks.list()}}
    return {link.name for link in found if link.master in bridges}


def gone(engine: Engine) -> bool:
    """Whether all cables have gone; the kernel takes a moment to end a network namespace."""
    end = time.monotonic() + 10
    while cables(engine):
        if time.monotonic() > end:
            return False
    return True


def test_a_container_has_an_address_a_gateway_and_a_name_for_itself(engine: Engine, out: Callable[..., str]) -> None:
    text = out("ip -o -4 addr show eth0; ip route; cat /etc/hosts; cat /sys/class/net/eth0/address", NetworkMode="", Hostname="box")
    pool = engine.networks.get("bridge").pool
    address = pool.Gateway.rpartition(".")[0] + ".2"
    assert f"inet {address}/16" in text
    assert f"default via {pool.Gateway} dev eth0" in text
    assert f"{address}\tbox" in text
    assert text.endswith(f"02:42:{socket.inet_aton(address).hex(':')}")


def test_a_published_port_is_served_and_free_again_when_the_container_stops(engine: Engine, start: Make) -> None:
    web = start(*HTTPD, NetworkMode="bridge", PortBindings={"80/tcp": ANY})
    (binding,) = web.record.Ports["80/tcp"]
    port = int(binding.HostPort)
    assert fetched(port) == fetched(80, address=web.record.Endpoints["bridge"].IPAddress) == web.short_id
    assert (set(leases(engine).values()), rules(engine)) == ({web.id}, {web.short_id})
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    web.stop(0)
    assert (leases(engine), rules(engine), web.record.Ports, web.record.Endpoints) == ({}, set(), {}, {})
    assert gone(engine)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_all_exposed_ports_are_published_if_that_is_asked_for(start: Make) -> None:
    web = start(NetworkMode="bridge", PublishAllPorts=True, ExposedPorts={"80/tcp": {}, "53/udp": {}, "90-91/tcp": {}})
    assert set(web.record.Ports) == {"80/tcp", "53/udp", "90/tcp", "91/tcp"}
    numbers = [binding.HostPort for bindings in web.record.Ports.values() for binding in bindings]
    assert len(numbers) == 4


def test_a_port_that_is_taken_is_refused_in_dockers_words_and_leaves_nothing(engine: Engine, start: Make, make: Make) -> None:
    web = start(NetworkMode="bridge", PortBindings={"80/tcp": ANY})
    port = web.record.Ports["80/tcp"][0].HostPort
    second = make("true", name="second", NetworkMode="bridge", PortBindings={"81/tcp": ANY, "80/tcp": (PortBinding("", port),)})
    before = (leases(engine), rules(engine), cables(engine))
    with pytest.raises(Unconnected, match=f"on endpoint second .*: Bind for 0.0.0.0:{port} failed: port is already allocated"):
        second.start()
    assert (leases(engine), rules(engine), cables(engine)) == before
    assert second.state.Status == "created"
    web.stop(0)
    second.start()


def test_ipv6_addresses_of_the_machine_lead_to_containers_that_have_one(engine: Engine, make: Make) -> None:
    box = make("true", NetworkMode="bridge", PortBindings={"80/tcp": (PortBinding("::", ""),)})
    with pytest.raises(InvalidInput, match=r"\[::\] cannot lead to .*, the container has no IPv6 address .*--ipv6"):
        box.start()
    assert leases(engine) == {}


def test_containers_find_each_other_by_name_alias_and_id(engine: Engine, blue: Network, enter: Callable[..., Container]) -> None:
    db = enter("blue", "db", Aliases=("data",))
    text = says(engine, "blue", f"nslookup db; nslookup DATA; nslookup {db.short_id}; ping -c1 -W2 data")
    address = db.record.Endpoints["blue"].IPAddress
    assert text.count(f"Address: {address}") == 3
    assert "1 packets received" in text
    db.rename("database")
    assert f"Address: {address}" in says(engine, "blue", "nslookup database")
    assert f"Address: {address}" not in says(engine, "bridge", "nslookup database 2>&1")


def test_a_container_is_connected_and_disconnected_while_it_runs(
    engine: Engine, blue: Network, enter: Callable[..., Container], start: Make
) -> None:
    db = enter("blue", "db", *HTTPD)
    box = start(NetworkMode="bridge", name="box")
    engine.networks.connect("blue", box, EndpointSettings(Aliases=("other",)))
    assert engine.networks.inspected(blue)["Containers"].keys() == {db.id, box.id}  # type: ignore[attr-defined]
    address = box.record.Endpoints["blue"].IPAddress
    assert f"Address: {address}" in says(engine, "blue", "nslookup other")
    with open(f"{box.directory}/hosts") as hosts, open(f"{box.directory}/resolv.conf") as resolver:
        assert f"{address}\t{box.short_id}" in hosts.read()
        assert "nameserver 127.0.0.11" in resolver.read()
    with pytest.raises(Denied, match="endpoint with name box already exists in network blue"):
        engine.networks.connect("blue", box)
    with pytest.raises(Denied, match=f"network blue id {blue.Id} has active endpoints"):
        engine.networks.remove("blue")
    engine.networks.disconnect("blue", box)
    assert set(leases(engine, "blue").values()) == {db.id}
    engine.networks.disconnect("bridge", box)
    assert links.names(box.state.Init.Pid) == ("lo",)
    with pytest.raises(Denied, match="is not connected to network blue"):
        engine.networks.disconnect("blue", box)
    box.restart(0)
    assert box.record.Endpoints == {}


def test_a_container_that_does_not_run_is_in_its_networks_when_it_is_started(engine: Engine, blue: Network, make: Make) -> None:
    box = make("sleep", "1000", NetworkMode="bridge")
    engine.networks.connect("blue", box)
    assert leases(engine, "blue") == {}
    box.start()
    assert set(box.record.Endpoints) == {"bridge", "blue"}
    assert links.names(box.state.Init.Pid) == ("lo", "eth0", "eth1")


def test_an_address_may_be_asked_for_where_the_subnet_was(engine: Engine, enter: Callable[..., Container], make: Make) -> None:
    pool = IPAMConfig("10.213.0.0/24", IPRange="10.213.0.128/25", AuxiliaryAddresses={"printer": "10.213.0.129"})
    engine.networks.create(Wanted(Name="green", IPAM=IPAM(Config=(pool,))))
    asked = enter("green", "asked", IPAMConfig=EndpointIPAMConfig("10.213.0.77"), MacAddress="02:42:00:00:00:07")
    free = enter("green", "free")
    assert asked.record.Endpoints["green"].IPAddress == "10.213.0.77"
    assert asked.record.Endpoints["green"].MacAddress == "02:42:00:00:00:07"
    assert free.record.Endpoints["green"].IPAddress == "10.213.0.128"
    box = make("true", NetworkMode="bridge")
    box.save(NetworkingConfig=NetworkingConfig({"bridge": EndpointSettings(IPAMConfig=EndpointIPAMConfig("172.17.0.9"))}))
    with pytest.raises(InvalidInput, match="user specified IP address is supported on user defined networks only"):
        box.start()


def test_a_network_may_have_ipv6(engine: Engine, out: Callable[..., str]) -> None:
    engine.networks.create(Wanted(Name="six", EnableIPv6=True, IPAM=IPAM(Config=(IPAMConfig("fd00:213::/64"),))))
    text = out("ip -o -6 addr show eth0; ip -6 route", NetworkMode="six")
    assert "inet6 fd00:213::2/64" in text
    assert "default via fd00:213::1 dev eth0" in text


def test_an_internal_network_has_no_way_out(engine: Engine, out: Callable[..., str]) -> None:
    engine.networks.create(Wanted(Name="inner", Internal=True))
    assert "default" not in out("ip route", NetworkMode="inner")


def test_the_host_none_and_anothers_network(engine: Engine, start: Make, out: Callable[..., str]) -> None:
    assert out("ls /sys/class/net", NetworkMode="none") == "lo"
    assert set(links.names()) <= set(out("cat /proc/net/dev", NetworkMode="host").replace(":", " ").split())
    web = start(*HTTPD, NetworkMode="bridge", name="web")
    assert web.record.Endpoints["bridge"].IPAddress in out("ip -4 addr show eth0", NetworkMode="container:web")


def test_what_cannot_be_a_network_is_refused_in_dockers_words(engine: Engine, blue: Network) -> None:
    networks = engine.networks
    with pytest.raises(Conflict, match="network with name blue already exists"):
        networks.create(Wanted(Name="blue"))
    with pytest.raises(Denied, match="Pool overlaps with other one on this address space"):
        networks.create(Wanted(Name="twice", IPAM=IPAM(Config=(IPAMConfig(blue.pool.Subnet),))))
    with pytest.raises(InvalidInput, match=r"invalid subnet 10\.0\.0\.1/8: it should be 10\.0\.0\.0/8"):
        networks.create(Wanted(Name="odd", IPAM=IPAM(Config=(IPAMConfig("10.0.0.1/8"),))))
    with pytest.raises(NotFound, match='plugin "overlay" not found'):
        networks.create(Wanted(Name="over", Driver="overlay"))
    with pytest.raises(Denied, match="bridge is a pre-defined network and cannot be removed"):
        networks.remove("bridge")
    with pytest.raises(NotFound, match="network nosuch not found"):
        networks.get("nosuch")
    assert networks.get(blue.Id[:7]) == blue


def test_a_container_of_a_network_that_is_gone_says_so(engine: Engine, blue: Network, make: Make) -> None:
    box = make("true", NetworkMode="blue")
    engine.networks.remove("blue")
    with pytest.raises(NotFound, match="network blue not found"):
        box.start()


def test_pruning_takes_only_what_nobody_is_in(engine: Engine, blue: Network, enter: Callable[..., Container]) -> None:
    engine.networks.create(Wanted(Name="red", Labels={"keep": "yes"}))
    enter("blue", "box")
    assert engine.networks.prune({"label!": ("keep",)}) == ()
    assert engine.networks.prune() == ("red",)


def test_an_address_pool_that_runs_out_is_an_error_and_leaves_nothing(engine: Engine, enter: Callable[..., Container]) -> None:
    engine.networks.create(Wanted(Name="tiny", IPAM=IPAM(Config=(IPAMConfig("10.214.0.0/30"),))))
    enter("tiny", "one")
    with pytest.raises(Conflict, match="no available IPv4 addresses on this network's address pools"):
        enter("tiny", "two")
    assert len(leases(engine, "tiny")) == 1


def test_many_start_and_stop_at_once_and_nothing_is_left(engine: Engine, make: Make) -> None:
    boxes = [make("sleep", "1000", NetworkMode="bridge", PortBindings={"80/tcp": ANY}) for _ in range(8)]
    failures: list[Exception] = []

    def live(box: Container) -> None:
        try:
            for _ in range(4):
                box.start()
                box.stop(0)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=live, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (leases(engine), rules(engine)) == ({}, set())
    assert gone(engine)


@pytest.fixture
def again(engine_root: Path, tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Opens an engine, after letting go of the one before as kill -9 would: nothing of it is taken down."""
    opened: list[Engine] = []

    def another() -> Engine:
        if opened:
            before = opened.pop()
            before.networks.fabric.close = lambda idle: None  # type: ignore[method-assign]
            before.close()
        opened.append(Engine(str(engine_root), str(tmp_path / "again")))
        return opened[0]

    yield another
    for container in opened[0].containers.list(all=True):
        container.remove(force=True)
    opened[0].networks.prune()
    opened[0].close()


def test_the_next_engine_takes_up_networks_as_they_are(engine: Engine, again: Callable[[], Engine], tmp_path: Path) -> None:
    engine.close()
    first = again()
    first.networks.create(Wanted(Name="blue"))
    web = create_in(first, *HTTPD, name="web", NetworkMode="blue", PortBindings={"80/tcp": ANY})
    web.start()
    port, endpoint = int(web.record.Ports["80/tcp"][0].HostPort), web.record.Endpoints["blue"]
    second = again()
    taken_up = second.containers.get("web")
    assert taken_up.record.Endpoints["blue"] == endpoint
    assert fetched(port) == taken_up.short_id
    assert f"Address: {endpoint.IPAddress}" in says(second, "blue", "nslookup web")
    with pytest.raises(Conflict, match="port is already allocated"):
        second.networks.ports.take("tcp", "0.0.0.0", str(port))
    nftables.run([{"delete": {"table": {"family": "inet", "name": second.networks.fabric.table}}}])
    assert fetched(port) == taken_up.short_id
    taken_up.stop(0)
    assert (leases(second, "blue"), rules(second)) == ({}, set())


def test_what_a_killed_engine_had_taken_for_a_start_is_given_back(engine: Engine, again: Callable[[], Engine]) -> None:
    engine.close()
    first = again()
    box = create_in(first, "sleep", "1000", name="box", NetworkMode="bridge", PortBindings={"80/tcp": ANY})
    with box.lock:
        first.networks.join(box)  # and then it dies
    assert leases(first)
    second = again()
    second.networks.endpoints.settle()
    assert (leases(second), rules(second)) == ({}, set())
    second.containers.get("box").start()
    assert len(leases(second)) == 1


def test_the_default_bridge_may_be_where_the_administrator_wants_it(engine: Engine, engine_root: Path, tmp_path: Path) -> None:
    engine.close()
    with Engine(str(engine_root), str(tmp_path / "bip"), bip="10.215.0.7/24") as other:
        box = create_in(other, "ip", "route", NetworkMode="bridge")
        assert ran(box) == 0
        assert "default via 10.215.0.7" in said(box)
        box.remove()
