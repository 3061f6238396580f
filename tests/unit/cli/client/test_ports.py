"""The forms of -p, the slip among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.cli.client.answers import Port
from labkit.cli.client.listing import ports as shown
from labkit.cli.client.ports import exposed, published
from labkit.errors import InvalidInput


@pytest.mark.parametrize(
    ("form", "bindings"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        ("0.0.0.0::80", {"80/tcp": [("0.0.0.0", "")]}),
        ("0.0.0.0:8080:80", {"80/tcp": [("0.0.0.0", "8080")]}),
        ("127.0.0.1:8081:80/tcp", {"80/tcp": [("127.0.0.1", "8081")]}),
        ("53:53/udp", {"53/udp": [("", "53")]}),
        ("[::1]:8080:80", {"80/tcp": [("::1", "8080")]}),
        ("8080-8081:80-81", {"80/tcp": [("", "8080")], "81/tcp": [("", "8081")]}),
        ("8000-8010:80", {"80/tcp": [("", "8000-8010")]}),
        ("80-81", {"80/tcp": [("", "")], "81/tcp": [("", "")]}),
        ("target=80,published=8080,protocol=udp", {"80/udp": [("", "8080")]}),
        ("target=80", {"80/tcp": [("", "")]}),
    ],
)
def test_a_form_binds_what_it_says(form: str, bindings: dict[str, list[tuple[str, str]]]) -> None:
    wanted = {port: [{"HostIp": address, "HostPort": number} for address, number in each] for port, each in bindings.items()}
    assert published([form]) == wanted


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("x", "invalid containerPort: x"),
        ("80:70:60", "invalid IP address: 80"),
        ("80/x", "invalid proto: x"),
        ("80-82:1-2", "invalid ranges specified for container and host Ports: 1-2 and 80-82"),
        ("1.2.3.4:99999:80", "invalid hostPort: 99999"),
        ("8080:", "no port specified: 8080:<empty>"),
        ("2-1", "invalid containerPort: 2-1"),
        ("target80,published=1", "invalid publish opts format (should be name=value but got 'target80')"),
    ],
)
def test_what_is_none_is_refused_in_dockers_words(form: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        published([form])
    assert str(refused.value) == why


def test_the_common_slip_is_told_the_forms_that_were_meant() -> None:
    with pytest.raises(InvalidInput) as refused:
        published(["0.0.0.0:80"])
    said = "invalid hostPort: 0.0.0.0 (it is an address: -p 0.0.0.0:80:80 takes port 80 of it, -p 0.0.0.0::80 any free one)"
    assert str(refused.value) == said
    assert published(["0.0.0.0:80:80", "0.0.0.0::80"])


@given(st.text(alphabet="0123456789.:-/[]tcpud=, x", max_size=20))
def test_any_text_is_ports_or_is_refused(form: str) -> None:
    try:
        bindings = published([form])
    except InvalidInput:
        return
    assert bindings and all(0 <= int(port.partition("/")[0]) < 65536 for port in bindings)


def test_exposed_ports_are_single_or_ranges() -> None:
    assert exposed(["80", "90-91/udp"]) == ["80/tcp", "90/udp", "91/udp"]
    with pytest.raises(InvalidInput, match="invalid port format for --expose: 1:2"):
        exposed(["1:2"])
    with pytest.raises(InvalidInput, match="invalid range format for --expose: x, error: strconv"):
        exposed(["x"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], ""),
        ([Port(80)], "80/tcp"),
        ([Port(80), Port(81), Port(83)], "80-81/tcp, 83/tcp"),
        ([Port(80, 32768, IP="0.0.0.0"), Port(80, 32768, IP="::")], "0.0.0.0:32768->80/tcp, [::]:32768->80/tcp"),
        ([Port(80, 80, IP="0.0.0.0"), Port(81, 81, IP="0.0.0.0")], "0.0.0.0:80-81->80-81/tcp"),
        ([Port(53, 5353, "udp", "127.0.0.1"), Port(80)], "80/tcp, 127.0.0.1:5353->53/udp"),
    ],
)
def test_ps_shows_ports_as_docker_does(given: list[Port], text: str) -> None:
    assert shown(given) == text
