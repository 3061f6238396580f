"""What the tests of the client share: a registry in memory with an image and a blob, and a client without patience."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit.image.registry.auth import Credential
from labkit.image.registry.client import Client
from labkit.image.registry.endpoints import Endpoint
from labkit.image.registry.transport import Patience
from tests.evil import Evil, digest_of, layer, made

BLOB = bytes(range(256)) * 4096  # a MiB
DIGEST = digest_of(BLOB)
IMAGE = made([layer({"hello": b"world"})])
QUICK = Patience(attempts=3, first_delay=0.01, longest_delay=5.0, connect=5.0, silence=5.0)
IMPATIENT = Patience(attempts=1, silence=0.2)


@pytest.fixture
def registry() -> Iterator[Evil]:
    with Evil() as registry:
        registry.add(IMAGE, "me/web", "v1")
        registry.blobs[DIGEST] = BLOB
        yield registry


def client(registry: Evil, patience: Patience = QUICK, credential: Credential | None = None) -> Client:
    return Client(Endpoint(registry.address, ("http",)), credential, patience)


def fetched(registry: Evil, patience: Patience = QUICK, size: int = len(BLOB), offset: int = 0) -> bytes:
    with client(registry, patience) as asking:
        return b"".join(asking.blob("me/web", DIGEST, size, offset))
