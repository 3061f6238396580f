"""Push an image: its layers three at a time, its config, at last its manifest under the tag.

    the registry has the blob             ──▶ Layer already exists      HEAD
    it has it in another repository       ──▶ Mounted from library/…    POST ?mount=
    else                                  ──▶ Pushed                    POST, PUT, or in chunks

    >>> from labkit.image import references
    >>> from labkit.image.registry import push
    >>> push.push(Images(Store()), references.parse("127.0.0.1:5000/me/web:v1"), report=print)
    The push refers to repository [127.0.0.1:5000/me/web]
    …
    v1: digest: sha256:9834… size: 735

What arrives is byte for byte what is in the store, so that the digest stays. Source: OCI distribution-spec 1.1, "Push"; Docker Engine
API, ``POST /images/NAME/push``. Shown in notebook 05.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from labkit.errors import Denied, InvalidInput, LabError, NotFound
from labkit.image import media
from labkit.image.documents import Descriptor
from labkit.image.images import Image, Images
from labkit.image.progress import Progress, Report, silent
from labkit.image.references import Reference
from labkit.image.registry import credentials as stored
from labkit.image.registry import endpoints, upload
from labkit.image.registry.client import Client
from labkit.image.registry.interest import Interest
from labkit.image.registry.pull import Credentials
from labkit.image.registry.settings import Settings, load
from labkit.image.registry.transport import DEFAULT_PATIENCE, Patience
from labkit.storage import digests

_AT_ONCE = 3
_PIECE = 1 << 20
_REPORT_SECONDS = 0.1


def push(
    images: Images,
    name: Reference,
    *,
    settings: Settings | None = None,
    credentials: Credentials = stored.find,
    report: Report = silent,
    patience: Patience = DEFAULT_PATIENCE,
    interest: Interest | None = None,
) -> Descriptor:
    """Send the image that is called ``name`` to the registry in its name; the descriptor of what is there now.

    Once ``interest`` is lost, it ends.
    """
    if name.digest:
        raise InvalidInput(f"push {name.familiar}: cannot push a digest reference: say a tag")
    name = name.tagged
    report(Progress("", f"The push refers to repository [{name.name}]"))
    image = _find(images, name)
    endpoint = endpoints.registry(name.domain, load() if settings is None else settings)
    with Client(endpoint, credentials(name.domain), patience) as client, (interest or Interest()).in_(client):
        try:
            _Push(images, image, name, client, report).run()
        except Denied as error:
            domain = "" if name.domain == endpoints.HUB else f" {name.domain}"
            said = str(error).removeprefix(f"{endpoint}: ")
            raise Denied(f"push access denied for {name.familiar_name}: {said} (labkit login{domain})") from None
    manifest = image.descriptor
    images.add(manifest, digest_name=name.with_digest(manifest.digest))
    report(Progress("", f"{name.tag}: digest: {manifest.digest} size: {manifest.size}"))
    return manifest


def _find(images: Images, name: Reference) -> Image:
    try:
        return images.get(str(name))
    except NotFound:
        if any(each.name == name.name for image in images.list() for each in image.names):
            raise NotFound(f"tag does not exist: {name.familiar}") from None
        raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}") from None


class _Push:
    """One image to one registry."""

    def __init__(self, images: Images, image: Image, name: Reference, client: Client, report: Report) -> None:
        self._images, self._image, self._name, self._client, self._report = images, image, name, client, report
        self._blobs = images.store.blobs

    def run(self) -> None:
        manifest = self._image.manifest
        layers = {layer.digest: layer for layer in manifest.layers if layer.mediaType not in media.FOREIGN_LAYERS}
        for layer in layers.values():
            self._say(layer, "Preparing")
        sources = self._sources()
        threads = ThreadPoolExecutor(_AT_ONCE, "push")
        try:
            for done in [threads.submit(self._layer, layer, sources.get(layer.digest)) for layer in layers.values()]:
                done.result()
        except BaseException:
            self._client.abort()
            raise
        finally:
            threads.shutdown(cancel_futures=True)
        if self._client.blob_size(self._name.repository, manifest.config.digest) != manifest.config.size:
            self._upload(manifest.config, None)
        data = self._blobs.read(self._image.descriptor.digest)
        self._client.put_manifest(self._name.repository, self._name.tag or "", data, self._image.descriptor.mediaType)

    def _layer(self, layer: Descriptor, source: str | None) -> None:
        if self._client.blob_size(self._name.repository, layer.digest) == layer.size:
            self._say(layer, "Layer already exists")
        else:
            done = self._upload(layer, source)
            self._say(layer, f"Mounted from {source}" if done == "Mounted" else "Pushed")

    def _upload(self, blob: Descriptor, source: str | None) -> str:
        return upload.blob(
            self._client,
            self._name.repository,
            blob,
            lambda offset: self._pieces(blob, offset, is_shown=blob is not self._image.manifest.config),
            mount_from=source,
            waiting=lambda left: self._say(blob, f"Retrying in {left} second{'' if left == 1 else 's'}"),
        )

    def _pieces(self, blob: Descriptor, offset: int, *, is_shown: bool) -> Iterator[bytes]:
        said = 0.0
        with self._blobs.open(blob.digest) as file:
            file.seek(offset)
            while piece := file.read(_PIECE):
                yield piece
                if is_shown and (now := time.monotonic()) >= said + _REPORT_SECONDS:
                    said = now
                    self._say(blob, "Pushing", file.tell())

    def _sources(self) -> dict[str, str]:
        """For each layer another repository of the same registry that may have it: one under whose name it is known here by digest."""
        found: dict[str, str] = {}
        try:
            others = self._images.list()
        except LabError:
            return found
        for image in others:
            for name in image.digests:  # by digest: these were pulled from there or pushed to there
                if name.domain == self._name.domain and name.path != self._name.path:
                    found.update(dict.fromkeys((layer.digest for layer in image.manifest.layers), name.repository))
        return found

    def _say(self, blob: Descriptor, status: str, current: int | None = None) -> None:
        self._report(Progress(digests.short(blob.digest), status, current, None if current is None else blob.size))
