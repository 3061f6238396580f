"""What one registry can do: manifests by tag or digest, blobs by digest, lists of tags and repositories.

    >>> from labkit.image.registry.client import Client
    >>> with Client(endpoints.registry("127.0.0.1:5000", Settings())) as registry:
    ...     found = registry.manifest("library/nginx", "latest")
    ...     list(registry.tags("library/nginx"))
    ['latest']

``repository`` is a name without its domain, as the registry knows it. A registry is not trusted: what is asked for by digest is
checked against it, documents have a size limit, an answer in HTML is none. ``push`` uploads through upload.py. Raises ``NotFound``,
``Denied``, ``Unreachable`` or ``InvalidInput``. Source: OCI distribution-spec 1.1. Shown in notebook 05.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from labkit.errors import InvalidInput, NotFound, Unreachable
from labkit.image import media
from labkit.image.registry.auth import Credential
from labkit.image.registry.endpoints import Endpoint
from labkit.image.registry.refusals import Passing
from labkit.image.registry.transport import DEFAULT_PATIENCE, Answer, Patience, Transport, Waiting
from labkit.storage import digests

_ACCEPTED = ", ".join((*media.MANIFESTS, *media.INDEXES))
_PROGRESS = 64 << 10  # bytes before a connection broke, for which it was worth trying
_PAGE = 1000  # names
_MAX_PAGES = 1000


@dataclass(frozen=True)
class Fetched:
    """A manifest or an index as it came: what is hashed and stored."""

    data: bytes
    media_type: str
    digest: str


class Client:
    """One registry. Any number of threads may use it at once."""

    def __init__(self, endpoint: Endpoint, credential: Credential | None = None, patience: Patience = DEFAULT_PATIENCE) -> None:
        self.endpoint = endpoint
        self.transport = Transport(endpoint, credential, patience)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.__exit__()

    def abort(self) -> None:
        """Break all connections at once; whoever waits for one gets ``Unreachable``."""
        self.transport.abort()

    def ping(self) -> None:
        """Whether it is a registry, and whether it knows whoever asks. Raises if not."""
        self._refuse_html(self.transport.fetch("GET", "/v2/", scope="").headers, "the API of a registry")

    def manifest(self, repository: str, reference: str, waiting: Waiting | None = None) -> Fetched:
        """The manifest or index that a tag or a digest stands for."""
        headers = {"Accept": _ACCEPTED}
        answer = self.transport.fetch("GET", _manifest(repository, reference), scope=pulling(repository), headers=headers, waiting=waiting)
        self._refuse_html(answer.headers, "a manifest")
        promised = reference if ":" in reference else answer.headers.get("docker-content-digest", "")
        # Docker's header may use an algorithm that we do not know; what was asked for by digest never does.
        expected = promised if promised.startswith(("sha256:", "sha512:")) else digests.of(answer.data)
        hasher = digests.Hasher(expected.partition(":")[0])
        hasher.update(answer.data)
        if hasher.digest() != expected:
            raise InvalidInput(f"{self.endpoint}: manifest {repository}:{reference}: has the digest {hasher.digest()}, not {expected}")
        return Fetched(answer.data, _media_type(answer.headers), expected)

    def manifest_digest(self, repository: str, reference: str) -> str | None:
        """The digest of the manifest that a tag stands for now, without fetching it; None if the registry does not tell."""
        headers = {"Accept": _ACCEPTED}
        answer = self.transport.fetch("HEAD", _manifest(repository, reference), scope=pulling(repository), headers=headers)
        return answer.headers.get("docker-content-digest")

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str, waiting: Waiting | None = None) -> None:
        """Store a manifest under a tag or its digest; the registry must have its blobs already."""
        path, headers = _manifest(repository, reference), {"Content-Type": media_type}
        self.transport.fetch("PUT", path, scope=pushing(repository), headers=headers, body=data, waiting=waiting)

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Delete a manifest by its digest, with all its tags, or a tag alone where the registry knows how; gone is fine."""
        self._delete(_manifest(repository, reference), repository)

    def blob_size(self, repository: str, digest: str) -> int | None:
        """The size of a blob in bytes; None if the repository has none of this digest."""
        try:
            answer = self.transport.fetch("HEAD", _blob(repository, digest), scope=pulling(repository))
        except NotFound:
            return None
        length = answer.headers.get("content-length", "")
        return int(length) if length.isascii() and length.isdecimal() else None

    def blob(self, repository: str, digest: str, size: int, offset: int = 0, waiting: Waiting | None = None) -> Iterator[bytes]:
        """The bytes of a blob from ``offset`` on, as they arrive.

        A connection that breaks is made anew and goes on where it broke. The digest is for the receiver to check; that there are
        neither more nor fewer than ``size`` bytes is checked here.
        """
        failures = 0
        while offset < size:
            before = offset
            try:
                for chunk in self._blob_part(repository, digest, size, offset):
                    offset += len(chunk)
                    yield chunk
                return
            except Passing as failure:
                failures = 1 if offset - before >= _PROGRESS else failures + 1  # patience grows back with what arrives
                self.transport.bear(failure, failures, waiting)

    def delete_blob(self, repository: str, digest: str) -> None:
        """Delete a blob from a repository; gone is fine."""
        self._delete(_blob(repository, digest), repository)

    def tags(self, repository: str) -> Iterator[str]:
        """The tags of a repository."""
        return self._listed(f"/v2/{repository}/tags/list?n={_PAGE}", "tags", pulling(repository))

    def catalogue(self) -> Iterator[str]:
        """The repositories of the registry; Docker Hub and others keep theirs to themselves."""
        return self._listed(f"/v2/_catalog?n={_PAGE}", "repositories", "registry:catalog:*")

    def _blob_part(self, repository: str, digest: str, size: int, offset: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self.transport.open("GET", _blob(repository, digest), scope=pulling(repository), headers=headers) as response:
            self._refuse_html(response.headers, "a layer")
            at = offset if response.status_code == 206 else 0
            start = re.match(r"bytes ([0-9]+)-", response.headers.get("content-range", ""))
            length = response.headers.get("content-length", "")
            if (start and int(start[1]) != at) or (length.isdecimal() and at + int(length) != size):
                raise InvalidInput(f"{self.endpoint}: blob {digest}: the registry has {at} + {length} bytes, not the {size} it promised")
            for chunk in self.transport.chunks(response):
                at += len(chunk)
                if at > size:
                    raise InvalidInput(f"{self.endpoint}: blob {digest}: is longer than the {size} bytes promised")
                fresh = at - offset
                if fresh > 0:  # else a registry without Range: what is here already comes again
                    yield chunk if fresh >= len(chunk) else chunk[-fresh:]
            if at < size:
                raise Passing(f"{self.endpoint}: blob {digest}: the connection ended after {at} of {size} bytes")

    def _delete(self, path: str, repository: str) -> None:
        try:
            self.transport.fetch("DELETE", path, scope=f"repository:{repository}:delete")
        except NotFound:
            return

    def _listed(self, path: str, key: str, scope: str) -> Iterator[str]:
        """The names on one page after the other, until there is no ``Link`` to a next one."""
        for _ in range(_MAX_PAGES):
            answer = self.transport.fetch("GET", path, scope=scope)
            yield from self._names(answer, key)
            link = re.match(r'\s*<([^>]*)>\s*;.*\brel="?next"?', answer.headers.get("link", ""))
            if not link or link[1] == path:
                return
            path = link[1]
        raise Unreachable(f"{self.endpoint}: lists {key} without end")

    def _names(self, answer: Answer, key: str) -> list[str]:
        try:
            names = json.loads(answer.data)[key] or []  # null where there are none
        except (ValueError, LookupError, TypeError, RecursionError):
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Unreachable(f"{self.endpoint}: answers without {key!r} where a list of them was asked for")
        return names

    def _refuse_html(self, headers: Mapping[str, str], what: str) -> None:
        if _media_type(headers) in ("text/html", "application/xhtml+xml"):
            raise Unreachable(f"{self.endpoint}: answers with a page of HTML where {what} was asked for: is this a registry?")


def pulling(repository: str) -> str:
    """The scope of a token to read a repository with."""
    return f"repository:{repository}:pull"


def pushing(repository: str) -> str:
    """The scope of a token to write to a repository with."""
    return f"repository:{repository}:pull,push"


def _manifest(repository: str, reference: str) -> str:
    return f"/v2/{repository}/manifests/{quote(reference, safe=':')}"


def _blob(repository: str, digest: str) -> str:
    return f"/v2/{repository}/blobs/{digest}"


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
