"""An image as ``docker image inspect`` tells it.

    >>> from labkit.image.inspect import inspect
    >>> inspect(images.get("nginx"), images.store)["RootFS"]
    {'Type': 'layers', 'Layers': ['sha256:c6f9…', 'sha256:5f70…']}

Source: Docker Engine API, ``GET /images/NAME/json``. Shown in notebook 05.
"""

from __future__ import annotations

from labkit import codec
from labkit.errors import LabError
from labkit.image.documents import ContainerConfig
from labkit.image.image import Image
from labkit.storage.layers import snapshot_name
from labkit.storage.store import Store


def inspect(image: Image, store: Store | None = None) -> dict[str, object]:
    """JSON for one image; with the store that it is in, also where its layers are unpacked."""
    config = image.config
    told: dict[str, object] = {
        "Id": image.id,
        "RepoTags": [tag.familiar for tag in image.tags],
        "RepoDigests": [digest.familiar for digest in image.digests],
        "Parent": "",
        "Comment": config.history[-1].comment if config.history else "",
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author,
        "Config": _container_config(config.config),
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "OsVersion": config.os_version,
        "Size": image.size,
        "GraphDriver": {"Data": _directories(image, store) if store else None, "Name": "overlay2"},
        "RootFS": {"Type": config.rootfs.type, "Layers": [*config.rootfs.diff_ids]},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "Descriptor": codec.encode(image.descriptor),
    }
    return {name: value for name, value in told.items() if value != "" or name not in ("Variant", "OsVersion")}


def _container_config(config: ContainerConfig) -> dict[str, object]:
    """As the API has it: what is a container's alone is there, too, and empty; what is not set is null."""
    told: dict[str, object] = {
        "Hostname": "",
        "Domainname": "",
        "User": config.User,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "ExposedPorts": dict(config.ExposedPorts),
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": [*config.Env] or None,
        "Cmd": [*config.Cmd] or None,
        "Healthcheck": codec.encode(config.Healthcheck),
        "ArgsEscaped": config.ArgsEscaped,
        "Image": "",
        "Volumes": dict(config.Volumes) or None,
        "WorkingDir": config.WorkingDir,
        "Entrypoint": [*config.Entrypoint] or None,
        "OnBuild": [*config.OnBuild] or None,
        "Labels": dict(config.Labels) or None,
        "StopSignal": config.StopSignal,
        "Shell": [*config.Shell],
    }
    left_out_if_empty = ("ExposedPorts", "Healthcheck", "ArgsEscaped", "StopSignal", "Shell")
    return {name: value for name, value in told.items() if value or name not in left_out_if_empty}


def _directories(image: Image, store: Store) -> dict[str, str] | None:
    """Where the layers lie, topmost first; nothing as long as they are not unpacked."""
    if not image.chain_ids:
        return None
    try:
        top, *below = store.snapshots.stack(snapshot_name(image.chain_ids[-1]))
    except LabError:
        return None
    lower = {"LowerDir": ":".join(layer.upper for layer in below)} if below else {}
    return {**lower, "UpperDir": top.upper}
