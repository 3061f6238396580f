"""Digests: what is one and what is not."""

from __future__ import annotations

import hashlib

import pytest

from labkit.errors import InvalidInput
from labkit.storage import digests

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_nothing_is_the_known_one() -> None:
    assert digests.of(b"") == EMPTY
    assert digests.short(EMPTY) == "e3b0c44298fc"


@pytest.mark.parametrize("digest", [EMPTY, "sha512:" + "0" * 128])
def test_what_is_one_is_given_back(digest: str) -> None:
    assert digests.check(digest) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        EMPTY[:-1],
        EMPTY + "0",
        EMPTY.upper(),
        EMPTY.replace("e3", "E3"),
        "md5:" + "0" * 32,
        "sha256:" + "../" * 21 + "x",
    ]
    + [EMPTY[7:], EMPTY + "\n", "sha512:" + "0" * 64, ":" + "0" * 64, "sha256:" + "٠" * 64],
)
def test_what_is_none_is_refused_naming_the_field(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^layers\[3\]\.digest: "):
        digests.check(text, "layers[3].digest")


def test_a_digest_may_be_made_piece_by_piece() -> None:
    hasher = digests.Hasher("sha512")
    for piece in (b"he", b"", b"llo"):
        hasher.update(piece)
    assert hasher.digest() == "sha512:" + hashlib.sha512(b"hello").hexdigest()
    assert hasher.size == 5
