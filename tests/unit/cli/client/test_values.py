"""Values of options: what docker reads and what it refuses, in its words (recorded from docker 28)."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.cli.client import values
from labkit.cli.client.mounts import MOUNT, volumes
from labkit.cli.client.networking import NETWORK, Attachment
from labkit.cli.client.values import Kind
from labkit.errors import InvalidInput


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (values.BYTES, "64m", 64 << 20),
        (values.BYTES, "1.5GiB", 3 << 29),
        (values.BYTES, "512", 512),
        (values.SWAP, "-1", -1),
        (values.CPUS, ".5", 500_000_000),
        (values.CPUS, "1/4", 250_000_000),
        (values.DURATION, "1m30s", 90 * 10**9),
        (values.DURATION, "1.5h", 5400 * 10**9),
        (values.DURATION, "0", 0),
        (values.DURATION, "-2s", -2 * 10**9),
        (values.INT, "0x10", 16),
        (values.INT, "-1", -1),
        (values.UINT16, "1000", 1000),
        (values.ULIMIT, "nofile=100:200", {"Name": "nofile", "Soft": 100, "Hard": 200}),
        (values.ULIMIT, "core=-1", {"Name": "core", "Soft": -1, "Hard": -1}),
        (values.ADD_HOST, "a:1.2.3.4", "a:1.2.3.4"),
        (values.ADD_HOST, "a=::1", "a:::1"),
        (values.ADD_HOST, "a:host-gateway", "a:host-gateway"),
        (values.LINK, "db", "db:db"),
        (values.LINK, "db:alias", "db:alias"),
        (values.ATTACH, "STDOUT", "stdout"),
        (values.WEIGHT_DEVICE, "/dev/sda:100", {"Path": "/dev/sda", "Weight": 100}),
        (values.BYTE_RATE, "/dev/sda:1mb", {"Path": "/dev/sda", "Rate": 1 << 20}),
        (values.SYSCTL, "net.ipv4.ip_forward=1", "net.ipv4.ip_forward=1"),
        (values.CGROUP_RULE, "c 1:* rwm", "c 1:* rwm"),
        (values.DOMAINS, "example.com", "example.com"),
        (values.DOMAINS, ".", "."),
    ],
)
def test_a_value_is_read_as_docker_reads_it(kind: Kind, text: str, value: object) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        (values.BYTES, "foo", "invalid size: 'foo'"),
        (values.BYTES, "", "invalid size: ''"),
        (values.CPUS, "x", "failed to parse x as a rational number"),
        (values.CPUS, "0.0000000001", "value is too precise"),
        (values.DURATION, "5", 'time: missing unit in duration "5"'),
        (values.DURATION, "x", 'time: invalid duration "x"'),
        (values.INT, "x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        (values.UINT16, "99999", 'strconv.ParseUint: parsing "99999": value out of range'),
        (values.ULIMIT, "x", "invalid ulimit argument: x"),
        (values.ULIMIT, "nofile=3:2", "ulimit soft limit must be less than or equal to hard limit: 3 > 2"),
        (values.ENV, "=x", "invalid environment variable: =x"),
        (values.FILTER, "x", "bad format of filter (expected name=value)"),
        (values.ADD_HOST, "x", 'bad format for add-host: "x"'),
        (values.ADD_HOST, "a:b", 'invalid IP address in add-host: "b"'),
        (values.IP_LIST, "x", "IP address is not correctly formatted: x"),
        (values.LABEL, "=x", "invalid label '=x': empty name"),
        (values.LINK, "a:b:c", "bad format for links: a:b:c"),
        (values.SYSCTL, "a=b", "sysctl 'a=b' is not allowed"),
        (values.CGROUP_RULE, "x", "invalid device cgroup format 'x'"),
        (values.GPUS, "x", 'invalid count (x): value must be either "all" or an integer: invalid syntax'),
        (values.ATTACH, "x", "valid streams are STDIN, STDOUT and STDERR"),
        (values.WEIGHT_DEVICE, "x", "bad format: x"),
        (values.WEIGHT_DEVICE, "/dev/sda:5", "invalid weight for device: /dev/sda:5"),
        (values.BYTE_RATE, "/x:1", "bad format for device path: /x:1"),
        (values.DOMAINS, "x...", "x... is not a valid domain"),
        (MOUNT, "x", "invalid field 'x' must be a key=value pair"),
        (MOUNT, "type=bind", "target is required"),
        (MOUNT, "a=b,dst=/x", "unexpected key 'a' in 'a=b'"),
        (MOUNT, "dst=/a,ro=x", "invalid value for ro: x"),
        (MOUNT, "dst=/a,tmpfs-size=1m", "cannot mix 'tmpfs-*' options with mount type 'volume'"),
        (NETWORK, "name=x,y", "invalid field y"),
        (NETWORK, "alias=x", "network name/id is not specified"),
    ],
)
def test_what_is_no_value_is_refused_in_dockers_words(kind: Kind, text: str, why: str) -> None:
    option = click.Option(["-x", "--long-name", "--old"], type=kind)
    with pytest.raises(click.BadParameter) as refused:
        kind.convert(text, option, None)
    assert refused.value.message == f'invalid argument "{text}" for "-x, --long-name" flag: {why}'


@given(st.text(max_size=30))
def test_no_text_breaks_a_kind(text: str) -> None:
    for kind in (MOUNT, NETWORK, *(each for each in vars(values).values() if isinstance(each, Kind))):
        try:
            kind.read(text)
        except ValueError:
            pass


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("dst=/data,src=v1", {"Type": "volume", "Target": "/data", "Source": "v1"}),
        ("type=bind,source=/srv,target=/data,readonly", {"Type": "bind", "Source": "/srv", "Target": "/data", "ReadOnly": True}),
        ("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777",
         {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1777}}),
        ("dst=/d,volume-label=a=b,volume-label=c=d", {"Type": "volume", "Target": "/d", "VolumeOptions": {"Labels": {"a": "b", "c": "d"}}}),
        ("dst=/d,volume-driver=x,volume-opt=a=b",
         {"Type": "volume", "Target": "/d", "VolumeOptions": {"DriverConfig": {"Name": "x", "Options": {"a": "b"}}}}),
        ('type=bind,"src=/a,b",dst=/c', {"Type": "bind", "Source": "/a,b", "Target": "/c"}),
        ("type=bind,src=/a,dst=/c,bind-propagation=rslave",
         {"Type": "bind", "Source": "/a", "Target": "/c", "BindOptions": {"Propagation": "rslave"}}),
    ],
)  # fmt: skip
def test_a_mount_is_said_in_pairs(text: str, mount: dict[str, object]) -> None:
    assert MOUNT.read(text) == mount


def test_volumes_are_binds_or_have_no_name_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    binds, anonymous = volumes(["/h:/c:ro", "v1:/data", "/anon", "./rel:/x", "/data:"])
    assert (binds, anonymous) == (["/h:/c:ro", "v1:/data", "/rel:/x"], {"/anon": {}, "/data:": {}})
    with pytest.raises(InvalidInput, match="invalid spec: :/a: empty section between colons"):
        volumes([":/a"])


def test_a_network_is_a_name_or_is_said_in_pairs() -> None:
    assert NETWORK.read("n1") == Attachment("n1")
    wanted = NETWORK.read("name=n1,alias=a,alias=b,ip=1.2.3.4,driver-opt=x=y,mac-address=02:42:ac:11:00:02,gw-priority=3")
    assert wanted == Attachment("n1", ("a", "b"), "1.2.3.4", "", (), (), "02:42:ac:11:00:02", {"x": "y"}, 3)
