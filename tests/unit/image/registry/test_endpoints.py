"""Where a name is asked for."""

from __future__ import annotations

import pytest

from labkit.errors import InvalidInput
from labkit.image import references
from labkit.image.registry import endpoints
from labkit.image.registry.endpoints import Endpoint
from labkit.image.registry.settings import Settings

SETTINGS = Settings(("http://127.0.0.1:5000", "https://mirror.example.com"), ("registry.lab:5000",))


def of(name: str) -> tuple[Endpoint, ...]:
    return endpoints.of(references.parse(name), SETTINGS)


@pytest.mark.parametrize("name", ["nginx", "me/web", "docker.io/library/nginx:1@sha256:" + "0" * 64])
def test_names_of_docker_hub_are_asked_for_at_the_mirrors_first(name: str) -> None:
    assert [str(endpoint) for endpoint in of(name)] == [
        "mirror http://127.0.0.1:5000",
        "mirror https://mirror.example.com",
        "registry-1.docker.io",
    ]


def test_names_of_other_registries_are_not() -> None:
    assert of("ghcr.io/me/web") == (Endpoint("ghcr.io", ("https",)),)


def test_registries_of_this_machine_are_spoken_to_in_plain_http_first() -> None:
    assert of("127.0.0.1:5000/web") == (Endpoint("127.0.0.1:5000", ("http", "https"), is_verified=False),)


def test_an_insecure_registry_gets_the_chance_to_encrypt() -> None:
    assert of("registry.lab:5000/web") == (Endpoint("registry.lab:5000", ("https", "http"), is_verified=False),)


def test_a_mirror_s_certificate_counts_unless_it_is_insecure() -> None:
    assert [endpoint.is_verified for endpoint in of("nginx")] == [False, True, True]


@pytest.mark.parametrize("port", ["0", "65536", "9" * 40])
def test_a_port_that_cannot_be_is_refused(port: str) -> None:
    with pytest.raises(InvalidInput, match=f"registry a.b:{port}: there is no port {port}"):
        of(f"a.b:{port}/web")
