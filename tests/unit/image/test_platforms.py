"""Which manifest of an index is for a machine."""

from __future__ import annotations

import os

import pytest

from labkit.errors import InvalidInput, NotFound
from labkit.image import media, platforms
from labkit.image.documents import Descriptor, Index
from labkit.image.platforms import Platform


def index(*names: str | None) -> Index:
    """An index with a manifest for each platform; its size is its place."""
    entries = []
    for number, name in enumerate(names):
        parts = (name or "").split("/")
        platform = Platform(parts[1], parts[0], "".join(parts[2:])) if name else None
        entries.append(Descriptor(media.OCI_MANIFEST, number, f"sha256:{number:064}", platform=platform))
    return Index(2, media.OCI_INDEX, tuple(entries))


def chosen(offered: Index, wanted: str) -> int:
    return platforms.choose(offered, platforms.parse(wanted)).size


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"), ("x86_64", "linux/amd64"), ("linux/x86_64", "linux/amd64"), ("amd64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"), ("linux/amd64/v3", "linux/amd64/v3"), ("aarch64", "linux/arm64"), ("arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"), ("linux/arm64/8", "linux/arm64"), ("linux/arm", "linux/arm/v7"), ("armhf", "linux/arm/v7"),
        ("armel", "linux/arm/v6"), ("linux/arm/v6", "linux/arm/v6"), ("Linux/ARM64", "linux/arm64"), ("i386", "linux/386"),
        ("windows/amd64", "windows/amd64"),
    ],
)  # fmt: skip
def test_a_platform_has_one_spelling(text: str, normal: str) -> None:
    assert str(platforms.parse(text)) == normal


@pytest.mark.parametrize("text", ["", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "nosuch", "linux"])
def test_what_cannot_be_a_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^platform: "):
        platforms.parse(text)


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("riscv64", "linux/riscv64")])
def test_the_hosts_platform_is_what_its_kernel_says(machine: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "lab", "6.1", "#1", machine)))
    assert str(platforms.host()) == name


def test_the_manifest_of_the_platform_is_chosen() -> None:
    offered = index("linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "windows/amd64")
    assert [chosen(offered, name) for name in ("amd64", "arm64", "linux/arm/v6", "linux/arm", "windows/amd64")] == [0, 3, 1, 2, 4]


def test_the_best_variant_that_the_machine_can_run_is_chosen() -> None:
    offered = index("linux/amd64", "linux/amd64/v2", "linux/amd64/v4", "linux/arm/v5", "linux/arm/v6")
    assert [chosen(offered, f"linux/amd64/v{level}") for level in (1, 2, 3, 4)] == [0, 1, 1, 2]
    assert chosen(offered, "linux/arm/v7") == 4


def test_of_two_that_fit_alike_the_first_is_chosen() -> None:
    assert chosen(index("linux/arm64", "linux/amd64", "linux/amd64"), "amd64") == 1


def test_attestations_are_no_images() -> None:
    offered = index("unknown/unknown", None)
    attestation = Descriptor(media.OCI_MANIFEST, 9, f"sha256:{9:064}", annotations={"vnd.docker.reference.type": "attestation-manifest"})
    with pytest.raises(NotFound):
        platforms.choose(Index(2, media.OCI_INDEX, (offered.manifests[0], attestation)), platforms.parse("amd64"))
    assert chosen(offered, "amd64") == 1


def test_a_manifest_that_says_no_platform_is_taken_if_none_fits() -> None:
    assert chosen(index(None, "linux/arm64"), "amd64") == 0
    assert chosen(index(None, "linux/amd64"), "amd64") == 1


def test_what_there_is_is_named_where_nothing_fits() -> None:
    with pytest.raises(NotFound, match=r"^no matching manifest for linux/amd64 .*: there is linux/arm/v7, linux/arm64$"):
        platforms.choose(index("linux/arm64/v8", "linux/arm", "unknown/unknown"), platforms.parse("amd64"))
    with pytest.raises(NotFound, match=r"there is none$"):
        platforms.choose(index(), platforms.parse("amd64"))
