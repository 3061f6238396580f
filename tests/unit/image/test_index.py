"""index.json: names for manifests, also as other tools write them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import InvalidInput, KernelError
from labkit.image import index, media, references
from labkit.image.documents import Descriptor
from labkit.image.index import Entry

DIGESTS = [f"sha256:{number:064}" for number in range(3)]


def written(*annotations: dict[str, str]) -> bytes:
    manifests = [{"mediaType": media.OCI_MANIFEST, "size": 1, "digest": DIGESTS[0], "annotations": each} for each in annotations]
    return json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()


def names(data: bytes) -> list[str | None]:
    return [str(entry.name) if entry.name else None for entry in index.parse(data)]


manifests = st.builds(Descriptor, st.just(media.OCI_MANIFEST), st.just(1), st.sampled_from(DIGESTS))
texts = st.sampled_from(["nginx", "me/web:v1", "127.0.0.1:5000/a/b:c", f"nginx@{DIGESTS[1]}"])
entries = st.builds(Entry, manifests, st.none() | texts.map(lambda text: references.parse(text).tagged))


@given(st.lists(entries, max_size=5))
def test_what_was_written_is_read_back(written: list[Entry]) -> None:
    read = index.parse(index.encode(written))
    assert sorted((entry.descriptor.digest, str(entry.name)) for entry in read) == sorted(
        (entry.descriptor.digest, str(entry.name)) for entry in written
    )
    assert index.encode(read) == index.encode(reversed(written)) == index.encode(written)


def test_names_of_other_tools_are_read_as_docker_would_read_them() -> None:
    skopeo = {index.REF_NAME: "nginx:1"}
    short = {index.REF_NAME: "v1"}
    docker = {index.REF_NAME: "latest", index.CONTAINERD_NAME: "docker.io/library/busybox:latest"}
    assert names(written(skopeo, short, docker)) == [
        "docker.io/library/nginx:1",
        "docker.io/library/v1:latest",
        "docker.io/library/busybox:latest",
    ]


def test_an_entry_whose_name_cannot_be_one_stays_as_it_was() -> None:
    data = written({index.REF_NAME: "Not A Name", "org.example": "kept"}, {})
    assert names(data) == [None, None]
    again = json.loads(index.encode(index.parse(data)))["manifests"]
    assert {"org.opencontainers.image.ref.name": "Not A Name", "org.example": "kept"} in [each.get("annotations") for each in again]


def test_other_annotations_stay_when_the_name_goes() -> None:
    (entry,) = index.parse(written({index.REF_NAME: "nginx", "org.example": "kept"}))
    assert index.nameless(entry.descriptor).annotations == {"org.example": "kept"}


def test_a_directory_without_index_has_no_entries(tmp_path: Path) -> None:
    assert index.read(str(tmp_path)) == ()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"schemaVersion": 1, "manifests": []}'])
def test_a_damaged_index_is_named_with_its_file(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes(data)
    with pytest.raises(InvalidInput, match=rf"^{tmp_path}/index\.json: "):
        index.read(str(tmp_path))


def test_a_manifest_in_the_place_of_the_index_is_refused(tmp_path: Path) -> None:
    config = {"mediaType": media.OCI_CONFIG, "size": 1, "digest": DIGESTS[0]}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "config": config, "layers": []}))
    with pytest.raises(InvalidInput, match="is a manifest"):
        index.read(str(tmp_path))


def test_whoever_reads_while_it_is_written_sees_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Entry(Descriptor(media.OCI_MANIFEST, 1, DIGESTS[0]), references.parse("old").tagged)
    index.write(str(tmp_path), [old])

    def cut(_fd: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(KernelError, match="ENOSPC"):
        index.write(str(tmp_path), [])
    assert [entry.name for entry in index.read(str(tmp_path))] == [old.name]
