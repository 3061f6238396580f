"""Digests: the names of contents. Who holds the name can check what he is given; two with the same contents have the same name.

    >>> from labkit.storage import digests
    >>> digests.of(b"hello")
    'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'
    >>> digests.short(digests.of(b"hello"))
    '2cf24dba5fb0'

    sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
    ──┬───  ─────┬──────
    how it      what it is: 32 bytes, in lower-case hexadecimal, so that nothing in it can lead to another directory
    was made

Source: OCI image-spec ``descriptor.md``, "Digests". Shown in notebook 05.
"""

from __future__ import annotations

import hashlib
import re

from labkit.errors import InvalidInput

# The algorithms that the specification registers, with the number of their hexadecimal digits.
ALGORITHMS = {"sha256": 64, "sha512": 128}


def of(data: bytes) -> str:
    """The sha256 digest of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check(digest: str, field: str = "digest") -> str:
    """``digest`` itself, if it is one; ``InvalidInput`` naming ``field`` if not: only a digest may become the name of a file."""
    algorithm, _, encoded = digest.partition(":")
    if algorithm not in ALGORITHMS:
        raise InvalidInput(f"{field}: {digest[:200]!r} must be sha256: or sha512: and the digest in hexadecimal")
    if not re.fullmatch(f"[0-9a-f]{{{ALGORITHMS[algorithm]}}}", encoded):
        raise InvalidInput(f"{field}: {digest[:200]!r} must have {ALGORITHMS[algorithm]} digits 0-9 and a-f after {algorithm}:")
    return digest


def short(digest: str) -> str:
    """The twelve digits that people are shown."""
    return digest.partition(":")[2][:12]


class Hasher:
    """A digest of what arrives piece by piece: ``update`` as often as needed, then ``digest()``."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self._algorithm = algorithm
        self._state = hashlib.new(algorithm)
        self.size = 0

    def update(self, chunk: bytes) -> None:
        """Go on with ``chunk``."""
        self._state.update(chunk)
        self.size += len(chunk)

    def digest(self) -> str:
        """The digest of all that came until now."""
        return f"{self._algorithm}:{self._state.hexdigest()}"
