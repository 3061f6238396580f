"""Media types: the name that a descriptor gives to the kind of thing it points at.

    >>> from labkit.image import media
    >>> media.DOCKER_MANIFEST in media.MANIFESTS
    True

Docker's schema 2 came first, OCI took it over with names of its own; what they name is the same, so each kind is a group here.
Source: OCI image-spec 1.1, media-types.md, "Compatibility Matrix"; distribution's manifest-v2-2.md. Shown in notebook 05.
"""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"

# Layers that a registry may not hand on; where they come from is in the descriptor's urls.
FOREIGN_LAYERS = (_OCI_FOREIGN, f"{_OCI_FOREIGN}+gzip", f"{_OCI_FOREIGN}+zstd", _DOCKER_FOREIGN, f"{_DOCKER_FOREIGN}.gzip")

INDEXES = (OCI_INDEX, DOCKER_INDEX)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
LAYERS = (OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER_ZSTD, *FOREIGN_LAYERS)

# What registries have given out before 2017; an image of that kind has no config and so no ID.
DOCKER_SCHEMA_1 = ("application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws")
