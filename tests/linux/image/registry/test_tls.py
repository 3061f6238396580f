"""Registries behind TLS: whose certificate counts, and what is told where the two sides do not speak the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.errors import InvalidInput, Unreachable
from labkit.image.registry import connections
from labkit.image.registry.client import Client
from labkit.image.registry.endpoints import Endpoint
from tests.registries import Registry


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This machine is treated as any other; the directory of certificates."""
    monkeypatch.setattr(connections, "is_loopback", lambda host: False)
    monkeypatch.setattr(connections, "CERTIFICATES", str(tmp_path / "certs.d"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "certs.d"


def ping(registry: Registry, *schemes: str, is_verified: bool = True) -> None:
    with Client(Endpoint(registry.address, schemes, is_verified)) as client:
        client.ping()


def test_a_certificate_that_nobody_vouches_for_is_refused(registries: Callable[..., Registry], far_away: Path) -> None:
    registry = registries(tls=True)
    with pytest.raises(Unreachable, match=r"certificate verify failed: self-signed certificate \(put .*insecure-registries"):
        ping(registry, "https")


def test_docker_s_directory_of_certificates_vouches(registries: Callable[..., Registry], far_away: Path) -> None:
    registry = registries(tls=True)
    place = far_away / registry.address
    place.mkdir(parents=True)
    shutil.copy(registry.directory / "tls.crt", place / "ca.crt")
    ping(registry, "https")
    (place / "other.crt").write_text("no certificate")
    with pytest.raises(InvalidInput, match=r"other\.crt: is no certificate that can be read"):
        ping(registry, "https")


def test_an_insecure_registry_needs_none(registries: Callable[..., Registry], far_away: Path) -> None:
    ping(registries(tls=True), "https", "http", is_verified=False)


def test_an_insecure_registry_may_speak_plain_http(registry: Registry, far_away: Path) -> None:
    ping(registry, "https", "http", is_verified=False)


def test_plain_http_where_tls_was_expected_is_told(registry: Registry, far_away: Path) -> None:
    with pytest.raises(Unreachable, match=r"server gave HTTP response to HTTPS client .*insecure-registries"):
        ping(registry, "https")
