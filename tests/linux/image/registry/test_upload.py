"""Blobs on their way to a registry: in one piece, in chunks, and again after the connection broke; lists and deletion."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from labkit.errors import InvalidInput, NotFound, Unreachable
from labkit.image import media
from labkit.image.documents import Descriptor
from labkit.image.registry import endpoints, upload
from labkit.image.registry.client import Client
from labkit.image.registry.settings import Settings
from tests import evil
from tests.evil import Evil, digest_of, layer, made
from tests.linux.image.registry.conftest import QUICK, put
from tests.registries import Registry

BASE = layer({"etc/os-release": b"ID=lab\n"})
NGINX = made([BASE, layer({"srv/index.html": b"<h1>lab</h1>"})])
BLOB = random.Random(3).randbytes(3 << 20)


def reader(offset: int) -> Iterator[bytes]:
    for start in range(offset, len(BLOB), 100_000):
        yield BLOB[start : start + 100_000]


DESCRIPTOR = Descriptor(media.OCI_LAYER, len(BLOB), digest_of(BLOB))


def stored(registry: Registry) -> bytes:
    digest = DESCRIPTOR.digest.partition(":")[2]
    return (registry.directory / f"data/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data").read_bytes()


@pytest.mark.parametrize("chunk", [upload.CHUNK, len(BLOB), 1 << 20, 999_999])
def test_a_blob_goes_in_one_piece_or_in_chunks(registry: Registry, chunk: int) -> None:
    with Client(endpoints.registry(registry.address, Settings()), None, QUICK) as client:
        assert upload.blob(client, "me/web", DESCRIPTOR, reader, chunk=chunk) == "Pushed"
        assert client.blob_size("me/web", DESCRIPTOR.digest) == len(BLOB)
    assert stored(registry) == BLOB
    registry.stop()
    assert len(registry.requests("PATCH")) == (-(-len(BLOB) // chunk) if chunk < len(BLOB) else 0)


def test_an_empty_blob_can_be_uploaded(registry: Registry) -> None:
    empty = Descriptor(media.OCI_LAYER, 0, digest_of(b""))
    with Client(endpoints.registry(registry.address, Settings()), None, QUICK) as client:
        upload.blob(client, "me/web", empty, lambda offset: [])
        assert client.blob_size("me/web", empty.digest) == 0


def test_a_blob_that_changes_on_its_way_is_refused_by_the_registry(registry: Registry) -> None:
    with (
        Client(endpoints.registry(registry.address, Settings()), None, QUICK) as client,
        pytest.raises(InvalidInput, match="digest invalid"),
    ):
        upload.blob(client, "me/web", DESCRIPTOR, lambda offset: [bytes(len(BLOB) - offset)])


def test_manifests_tags_and_blobs_are_listed_and_deleted(registry: Registry) -> None:
    put(registry, NGINX, "me/web", "v1", "v2")
    put(registry, NGINX, "other", "v1")
    with Client(endpoints.registry(registry.address, Settings()), None, QUICK) as client:
        assert (sorted(client.catalogue()), sorted(client.tags("me/web"))) == (["me/web", "other"], ["v1", "v2"])
        client.delete_blob("me/web", digest_of(BASE[0]))
        client.delete_blob("me/web", digest_of(BASE[0]))
        assert client.blob_size("me/web", digest_of(BASE[0])) is None
        client.delete_manifest("me/web", NGINX.digest)
        client.delete_manifest("me/web", NGINX.digest)
        with pytest.raises(NotFound):
            client.manifest("me/web", "v1")


class Chunked:
    """A registry that takes chunks, asks for a minimum size, and breaks off."""

    def __init__(self, registry: Evil, least: int = 0) -> None:
        self.kept = bytearray()
        self.finished = ""
        self.least = least
        registry.on("/uploads", self.answer)

    def answer(self, request: evil.Request) -> None:
        headers = {"Location": "/v2/me/web/blobs/uploads/1?state=a%2Fb", "Range": f"0-{max(0, len(self.kept) - 1)}"}
        if request.method == "POST":
            request.answer(202, {**headers, "OCI-Chunk-Min-Length": str(self.least)})
        elif request.method == "PATCH":
            start, _, end = request.headers["content-range"].partition("-")
            if int(start) != len(self.kept) or int(end) - int(start) + 1 != len(request.body):
                request.answer(416, headers)
                return
            self.kept += request.body
            request.answer(202, {**headers, "Range": f"0-{len(self.kept) - 1}"})
        elif request.method == "PUT":
            self.kept += request.body
            self.finished = request.path
            request.answer(201, {"Location": "/v2/me/web/blobs/x"})
        else:
            request.answer(204, headers)


def sent(registry: Evil, chunk: int = 1 << 20) -> str:
    with Client(endpoints.registry(registry.address, Settings()), None, QUICK) as client:
        return upload.blob(client, "me/web", DESCRIPTOR, reader, chunk=chunk)


def test_a_registry_may_want_larger_chunks(bad: Evil) -> None:
    registry = Chunked(bad, 2 << 20)
    sent(bad)
    assert hashlib.sha256(registry.kept).hexdigest() in registry.finished
    assert [int(asked.headers["content-length"]) for asked in bad.asked if asked.method == "PATCH"] == [2 << 20, 1 << 20]


def test_the_place_to_upload_to_keeps_its_query(bad: Evil) -> None:
    registry = Chunked(bad)
    sent(bad)
    assert registry.finished == f"/v2/me/web/blobs/uploads/1?state=a%2Fb&digest={DESCRIPTOR.digest}"


@pytest.mark.parametrize("arrived", [True, False])
def test_a_chunk_on_which_the_connection_broke_is_sent_again_only_if_it_did_not_arrive(bad: Evil, arrived: bool) -> None:
    def broken(request: evil.Request) -> None:
        if arrived:
            registry.kept += request.body
        request.cut()

    bad.on("/uploads/1", broken, method="PATCH", times=1)
    registry = Chunked(bad)
    sent(bad)
    assert bytes(registry.kept) == BLOB
    assert len(bad.paths("PATCH")) == (3 if arrived else 4)


def test_an_upload_that_the_registry_has_forgotten_begins_anew(bad: Evil) -> None:
    def forgotten(request: evil.Request) -> None:
        registry.kept.clear()
        request.answer(500)

    bad.on("/uploads/1", forgotten, method="PATCH", times=1)
    bad.on("/uploads/1", evil.status(404), method="GET", times=1)
    registry = Chunked(bad)
    sent(bad)
    assert bytes(registry.kept) == BLOB
    assert len(bad.paths("POST")) == 2


def test_a_registry_that_does_not_say_where_to_upload_to_is_told(bad: Evil) -> None:
    bad.on("/uploads", evil.status(202))
    with pytest.raises(Unreachable, match="does not say where to upload to"):
        sent(bad)
