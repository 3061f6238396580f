"""Pull an image: mirrors in their order, then the registry itself; manifest, config and layers; at last the name.

    ┌ mirror ┐  failed: a warning   ┌ mirror ┐   ┌ registry ┐  failed: that is the answer
    │        ├─────────────────────▶│        ├──▶│          ├────────────────────────────▶
    └───┬────┘  has it not: silence └────────┘   └────┬─────┘
        ▼                                             ▼
    manifest ─▶ config ─▶ layers ─▶ snapshots ─▶ index.json

    >>> from labkit.image import references
    >>> from labkit.image.registry import pull
    >>> pull.pull(Images(Store()), references.parse("nginx"), report=print).id
    latest: Pulling from library/nginx
    …
    Status: Downloaded newer image for nginx:latest

Whatever one mirror has given that was right is not fetched again from the next. A pull that was interrupted, by kill -9 or a power cut,
goes on where it was. Source: OCI distribution-spec 1.1, "Pulling manifests"; Docker Engine API, ``POST /images/create``. Shown in
notebook 05.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from labkit.errors import Denied, InvalidInput, LabError, NotFound, Unreachable
from labkit.image import documents, media, platforms
from labkit.image.documents import Descriptor, Index, Manifest
from labkit.image.images import Image, Images
from labkit.image.platforms import Platform
from labkit.image.progress import Progress, Report, silent
from labkit.image.references import Reference
from labkit.image.registry import credentials as stored
from labkit.image.registry import endpoints
from labkit.image.registry.auth import Credential
from labkit.image.registry.client import Client, Fetched
from labkit.image.registry.endpoints import Endpoint
from labkit.image.registry.fetching import Fetching
from labkit.image.registry.interest import Interest
from labkit.image.registry.settings import Settings, load
from labkit.image.registry.transport import DEFAULT_PATIENCE, Patience

Credentials = Callable[[str], Credential | None]
"""Who asks at a registry, called as in an image's name (``docker.io``)."""

_MAX_NESTING = 4  # indexes within indexes
_FAILURES = (Unreachable, Denied, NotFound, InvalidInput)  # of a registry; a full disk is none


def pull(
    images: Images,
    name: Reference,
    *,
    platform: Platform | None = None,
    settings: Settings | None = None,
    credentials: Credentials = stored.find,
    report: Report = silent,
    patience: Patience = DEFAULT_PATIENCE,
    interest: Interest | None = None,
) -> Image:
    """The image, fetched, unpacked and named; what was there already is not fetched.

    ``platform`` is this machine's unless said otherwise, ``settings`` those of /etc/labkit/daemon.json. Raises what the registry itself has
    answered; ``NotFound`` in Docker's words if nobody has the image. Once ``interest`` is lost, it ends.
    """
    name = replace(name, tag=None) if name.digest else name.tagged
    settings = load() if settings is None else settings
    fetch = _Pull(images, name, platform or platforms.host(), credentials, report, settings.max_layer_bytes, interest or Interest())
    with images.store.changing():
        *mirrors, registry = endpoints.of(name, settings)
        missing = []
        for mirror in mirrors:
            try:
                return fetch.from_(mirror, _less(patience))
            except _Missing:
                missing.append(str(mirror))
            except _FAILURES as error:
                report(Progress("", f"warning: {mirror}: {_without(error, mirror)}"))
        try:
            return fetch.from_(registry, patience)
        except _FAILURES as error:
            raise _told(error, name, registry, missing) from None


def tags(
    repository: Reference,
    *,
    settings: Settings | None = None,
    credentials: Credentials = stored.find,
    patience: Patience = DEFAULT_PATIENCE,
) -> tuple[str, ...]:
    """The tags of a repository; for names of Docker Hub, of the first mirror that has it."""
    *mirrors, registry = endpoints.of(repository, load() if settings is None else settings)
    for mirror in mirrors:
        try:
            return _tags(mirror, repository, credentials(mirror.host), _less(patience))
        except _FAILURES:
            continue  # whoever pulls one of the tags then is told
    return _tags(registry, repository, credentials(repository.domain), patience)


def _tags(endpoint: Endpoint, repository: Reference, credential: Credential | None, patience: Patience) -> tuple[str, ...]:
    with Client(endpoint, credential, patience) as client:
        return tuple(client.tags(repository.repository))


def _less(patience: Patience) -> Patience:
    """With a mirror: others are waiting."""
    return replace(patience, attempts=min(2, patience.attempts), silence=min(10.0, patience.silence))


class _Missing(NotFound):
    """The registry answers, and does not have what the name stands for."""


class _Pull:
    """One image, wherever it comes from."""

    def __init__(
        self,
        images: Images,
        name: Reference,
        platform: Platform,
        credentials: Credentials,
        report: Report,
        limit: int | None,
        interest: Interest,
    ) -> None:
        self._images, self._name, self._platform, self._credentials = images, name, platform, credentials
        self._report, self._limit, self._interest = report, limit, interest
        self._repository, self._wanted = name.repository, name.digest or name.tag or ""

    def from_(self, endpoint: Endpoint, patience: Patience) -> Image:
        """All of it from one place. ``_Missing`` if it is not there."""
        who = self._credentials(endpoint.host if endpoint.is_mirror else self._name.domain)
        with Client(endpoint, who, patience) as client, self._interest.in_(client):
            if (here := self._here()) and (digest := self._current(client)) in self._digests(here):
                self._report(Progress(self._wanted, f"Pulling from {self._repository}"))
                return self._named(here.descriptor, digest, here)
            found = self._find(client)
            self._report(Progress(self._wanted, f"Pulling from {self._repository}"))
            chosen, manifest = self._choose(client, found)
            fetching = Fetching(self._images.store, client, self._repository, self._report, self._limit)
            config = documents.parse_config(fetching.document(manifest.config))
            documents.check(manifest, config)
            fetching.layers(manifest, config)
            self._images.store.blobs.put(chosen.data)
            return self._named(Descriptor(manifest.mediaType, len(chosen.data), chosen.digest), found.digest, here)

    def _here(self) -> Image | None:
        """The image that has the name now."""
        try:
            return self._images.get(str(self._name))
        except LabError:  # there is none, or what it is made of is damaged
            return None

    def _digests(self, image: Image) -> frozenset[str]:
        """The digests under which a whole image of the right platform is here; none, if it is not whole."""
        store = self._images.store
        is_whole = all(store.layers.has(chain) for chain in image.chain_ids) and all(
            store.blobs.has(blob.digest) for blob in (image.descriptor, image.manifest.config, *image.manifest.layers)
        )
        if not is_whole or not platforms.suits(image.config.platform, self._platform):
            return frozenset()
        names = (name.digest for name in image.digests if name.digest and name.name == self._name.name)
        return frozenset((image.descriptor.digest, *names))

    def _current(self, client: Client) -> str:
        """The digest that the registry has under the name now, without fetching anything; a digest stands for itself."""
        if self._name.digest:
            return self._name.digest
        try:
            return client.manifest_digest(self._repository, self._wanted) or ""
        except NotFound as error:
            raise _Missing(str(error)) from None
        except InvalidInput:  # one that does not know HEAD: it has to be fetched
            return ""

    def _find(self, client: Client) -> Fetched:
        def waiting(left: int) -> None:
            self._report(Progress(self._wanted, f"Retrying in {left} second{'' if left == 1 else 's'}"))

        try:
            return client.manifest(self._repository, self._wanted, waiting)
        except NotFound as error:
            raise _Missing(str(error)) from None

    def _choose(self, client: Client, found: Fetched) -> tuple[Fetched, Manifest]:
        """The manifest of the platform."""
        for _ in range(_MAX_NESTING + 1):
            document = documents.parse_manifest(found.data, _media_type(found))
            if not isinstance(document, Index):
                return found, document
            wanted = platforms.choose(document, self._platform)
            found = client.manifest(self._repository, wanted.digest)
            if len(found.data) != wanted.size:
                raise InvalidInput(f"manifest {wanted.digest}: has {len(found.data)} bytes, not the {wanted.size} that its index says")
        raise InvalidInput(f"{self._name.familiar}: there are more than {_MAX_NESTING} indexes within each other")

    def _named(self, manifest: Descriptor, digest: str, before: Image | None) -> Image:
        """The last step: from here on the image is there."""
        image = self._images.add(manifest, None if self._name.digest else self._name, digest_name=self._name.with_digest(digest))
        self._report(Progress("", f"Digest: {digest}"))
        is_new = before is None or before.id != image.id
        status = "Downloaded newer image for" if is_new else "Image is up to date for"
        self._report(Progress("", f"Status: {status} {self._name.familiar}"))
        return image


def _media_type(found: Fetched) -> str:
    """What the registry says it is, if that is a manifest's; simple file servers say application/json or the like."""
    known = (*media.MANIFESTS, *media.INDEXES, *media.DOCKER_SCHEMA_1)
    return found.media_type if found.media_type in known else ""


def _told(error: LabError, name: Reference, registry: Endpoint, missing: list[str]) -> LabError:
    """The registry's own failure, in the words for whoever asked for an image."""
    complaint = _without(error, registry)
    if isinstance(error, _Missing):
        return NotFound(f"manifest for {name.familiar} not found: {complaint}")
    if isinstance(error, Denied):
        domain = "" if name.domain == endpoints.HUB else f" {name.domain}"
        return Denied(
            f"pull access denied for {name.familiar_name}, repository does not exist or may require 'labkit login{domain}': {complaint}"
        )
    if isinstance(error, Unreachable) and missing:
        return Unreachable(f"{error}; and there is no {name.familiar} on {', '.join(missing)}")
    return error


def _without(error: LabError, endpoint: Endpoint) -> str:
    """What it says, without the endpoint in front."""
    return str(error).removeprefix(f"{endpoint}: ")
