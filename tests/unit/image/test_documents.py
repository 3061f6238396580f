"""Manifests, indexes and configs: what is read, and what is refused with the name of the field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import InvalidInput
from labkit.image import documents, media
from labkit.image.documents import ContainerConfig, Descriptor, Healthcheck, History, ImageConfig, Index, Manifest, Platform, RootFS

DIGEST = "sha256:" + "ab" * 32
CONFIG = {"mediaType": media.OCI_CONFIG, "size": 7023, "digest": DIGEST}
LAYER = {"mediaType": media.OCI_LAYER_GZIP, "size": 32654, "digest": DIGEST}


def manifest(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER], **fields}).encode()


def config(**fields: object) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}, **fields}).encode()


def refusal(data: bytes, media_type: str = "") -> str:
    with pytest.raises(InvalidInput) as refused:
        documents.parse_manifest(data, media_type)
    return str(refused.value)


@pytest.mark.parametrize("media_type", media.MANIFESTS)
def test_a_manifest_of_oci_and_of_docker_is_the_same(media_type: str) -> None:
    read = documents.parse_manifest(manifest(mediaType=media_type), media_type)
    layer = Descriptor(media.OCI_LAYER_GZIP, 32654, DIGEST)
    assert read == Manifest(2, media_type, Descriptor(media.OCI_CONFIG, 7023, DIGEST), (layer,))


@pytest.mark.parametrize("media_type", media.INDEXES)
def test_an_index_names_a_manifest_for_each_platform(media_type: str) -> None:
    platform = {"architecture": "arm64", "os": "linux", "os.version": "1"}
    entry = {"mediaType": media.OCI_MANIFEST, "size": 1, "digest": DIGEST, "platform": platform}
    written = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}).encode()
    read = documents.parse_manifest(written, media_type)
    assert isinstance(read, Index)
    assert read.manifests[0].platform == Platform("arm64", "linux", os_version="1")


def test_a_document_that_leaves_its_media_type_out_has_the_one_it_was_given_out_as_or_that_of_its_form() -> None:
    assert documents.parse_manifest(manifest(mediaType=None), media.DOCKER_MANIFEST).mediaType == media.DOCKER_MANIFEST
    assert documents.parse_manifest(manifest(mediaType=None)).mediaType == media.OCI_MANIFEST
    assert documents.parse_manifest(b'{"schemaVersion":2,"manifests":[]}').mediaType == media.OCI_INDEX


def test_a_document_that_is_another_than_it_was_given_out_as_is_refused() -> None:
    assert "was given out as" in refusal(manifest(), media.OCI_INDEX)


@pytest.mark.parametrize("layers", [None, []])
def test_an_image_may_have_no_layers(layers: object) -> None:
    read = documents.parse_manifest(manifest(layers=layers))
    assert isinstance(read, Manifest)
    assert read.layers == ()


def test_layers_and_config_must_be_of_one_image() -> None:
    read = documents.parse_manifest(manifest(layers=[]))
    assert isinstance(read, Manifest)
    with pytest.raises(InvalidInput, match=rf"^manifest\.layers: there are 0, but the config {DIGEST} has 1"):
        documents.check(read, documents.parse_config(config()))


def test_more_layers_than_can_be_stacked_are_refused() -> None:
    assert isinstance(documents.parse_manifest(manifest(layers=[LAYER] * 127)), Manifest)
    assert refusal(manifest(layers=[LAYER] * 10000)) == "manifest.layers: there are 10000, more than the 127 that can be stacked"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"schemaVersion": 3}, "manifest.schemaVersion: must be 2, not 3"),
        ({"schemaVersion": None}, "manifest.schemaVersion: is missing"),
        ({"config": None}, "manifest.config: is missing"),
        ({"config": {**CONFIG, "mediaType": "application/vnd.cncf.helm"}}, "manifest.config.mediaType: 'application/vnd.cncf.helm'"),
        ({"layers": [LAYER, {**LAYER, "mediaType": "application/x-secret"}]}, "manifest.layers[1].mediaType: 'application/x-secret'"),
        ({"layers": [{**LAYER, "size": -1}]}, "manifest.layers[0]: size: "),
        ({"layers": [{**LAYER, "size": 1 << 63}]}, "manifest.layers[0]: size: "),
        ({"layers": [{**LAYER, "size": "1"}]}, "manifest.layers[0].size: must be a whole number"),
        ({"layers": [{**LAYER, "size": True}]}, "manifest.layers[0].size: must be a whole number"),
        ({"layers": [{**LAYER, "digest": "sha256:../../etc"}]}, "manifest.layers[0]: digest: "),
        ({"layers": [{**LAYER, "digest": DIGEST.upper()}]}, "manifest.layers[0]: digest: "),
        ({"layers": {}}, "manifest.layers: must be an array"),
        ({"layers": "x"}, "manifest.layers: must be an array"),
        ({"mediaType": "text/html"}, "manifest.mediaType: 'text/html' is no image's"),
        ({"mediaType": 1}, "manifest.mediaType: "),
    ],
)
def test_a_mistake_is_named_with_its_field(fields: dict[str, object], complaint: str) -> None:
    assert refusal(manifest(**fields)).startswith(complaint)


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"schemaVersion": ' + b"1" * 9000 + b"}"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    assert refusal(data).startswith("manifest")


def test_a_document_without_end_is_not_read() -> None:
    assert "more than the 4194304" in refusal(b" " * (documents.MAX_DOCUMENT + 1))


@pytest.mark.parametrize("media_type", ["", *media.DOCKER_SCHEMA_1])
def test_schema_1_is_refused_by_its_name(media_type: str) -> None:
    assert "gave up in 2017" in refusal(b'{"schemaVersion": 1, "name": "web", "fsLayers": []}', media_type)


def test_a_config_is_read_with_all_that_a_container_gets() -> None:
    inner = {
        "User": "1000:1000", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"], "Entrypoint": ["/e"], "Cmd": None, "Volumes": {"/v": {}},
        "WorkingDir": "/w", "Labels": {"l": "m"}, "StopSignal": "SIGQUIT", "Shell": ["/bin/bash"], "OnBuild": ["RUN x"], "Hostname": "h",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000, "Retries": 3},
    }  # fmt: skip
    read = documents.parse_config(config(config=inner, created="2026-01-01T00:00:00Z", history=[{"created_by": "x", "empty_layer": True}]))
    assert read.config == ContainerConfig(
        User="1000:1000", ExposedPorts={"80/tcp": {}}, Env=("A=b",), Entrypoint=("/e",), Volumes={"/v": {}}, WorkingDir="/w",
        Labels={"l": "m"}, StopSignal="SIGQUIT", Shell=("/bin/bash",), OnBuild=("RUN x",),
        Healthcheck=Healthcheck(("CMD", "true"), Interval=1000000000, Retries=3),
    )  # fmt: skip
    assert read.history == (History(created_by="x", empty_layer=True),)


def test_a_config_may_say_nothing_to_containers() -> None:
    assert documents.parse_config(config(config=None)).config == ContainerConfig()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"rootfs": {"type": "windows", "diff_ids": []}}, "config.rootfs.type: must be 'layers', not 'windows'"),
        ({"rootfs": {"diff_ids": []}}, "config.rootfs.type: is missing"),
        ({"rootfs": {"type": "layers", "diff_ids": [DIGEST, "x"]}}, "config.rootfs.diff_ids[1]: 'x' must be a digest"),
        ({"architecture": None}, "config.architecture: is missing"),
        ({"config": {"Env": "A=b"}}, "config.config.Env: must be an array"),
    ],
)
def test_a_mistake_in_a_config_is_named_with_its_field(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        documents.parse_config(config(**fields))
    assert str(refused.value).startswith(complaint)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
rows = st.lists(texts, max_size=3).map(tuple)
sets = st.dictionaries(texts, st.just({}), max_size=2)
healthchecks = st.builds(Healthcheck, rows, st.integers(0), st.integers(0))
containers = st.builds(ContainerConfig, texts, sets, rows, rows, rows, st.none() | healthchecks, st.booleans(), sets, texts, rows, rows)
configs = st.builds(
    ImageConfig,
    texts,
    texts,
    st.builds(RootFS, st.just("layers"), st.lists(st.just(DIGEST), max_size=3).map(tuple)),
    texts,
    texts,
    texts,
    containers,
    st.lists(st.builds(History, texts, texts, texts, texts, st.booleans()), max_size=3).map(tuple),
)


@given(configs)
def test_what_we_make_is_read_back_as_it_was(made: ImageConfig) -> None:
    assert documents.parse_config(documents.encode(made)) == made


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@given(st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2), max_leaves=5))
def test_any_value_of_a_field_is_read_or_refused(value: object) -> None:
    for field in ("layers", "config", "annotations", "mediaType", "subject", "schemaVersion"):
        try:
            assert isinstance(documents.parse_manifest(manifest(**{field: value})), Manifest | Index)
        except InvalidInput as error:
            assert str(error).startswith(("manifest", "index"))


def test_a_document_that_we_make_says_what_must_be_said() -> None:
    made = documents.encode(Manifest(2, media.OCI_MANIFEST, Descriptor(media.OCI_CONFIG, 2, DIGEST), ()))
    assert set(json.loads(made)) == {"schemaVersion", "mediaType", "config", "layers"}
