"""What ``docker image inspect`` tells."""

from __future__ import annotations

import json

from labkit.image.documents import Healthcheck
from labkit.image.images import Images
from labkit.image.inspect import inspect
from labkit.image.references import parse
from labkit.storage.store import Store
from tests.layouts import image, layer


def test_an_image_is_told_as_docker_tells_it(images: Images, store: Store) -> None:
    manifest = image(
        store, layer(store, {"a": b"1"}), Cmd=("sh",), Env=("A=b",), ExposedPorts={"80/tcp": {}}, Labels={"l": "m"}, StopSignal="SIGQUIT",
        Healthcheck=Healthcheck(("CMD", "true"), Interval=1000000000),
    )  # fmt: skip
    digest = parse("web").with_digest(manifest.digest)
    added = images.add(manifest, parse("me/web:v1"), digest_name=digest)
    told = inspect(added, store)
    assert json.loads(json.dumps(told)) == told
    config = told.pop("Config")
    assert told == {
        "Id": added.id,
        "RepoTags": ["me/web:v1"],
        "RepoDigests": [digest.familiar],
        "Parent": "",
        "Comment": "",
        "Created": "2026-01-01T00:00:00Z",
        "DockerVersion": "",
        "Author": "",
        "Architecture": "amd64",
        "Os": "linux",
        "Size": added.size,
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": [added.config.rootfs.diff_ids[0]]},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "Descriptor": {"mediaType": manifest.mediaType, "size": manifest.size, "digest": manifest.digest},
    }
    assert isinstance(config, dict)
    assert {name: config[name] for name in ("Cmd", "Env", "ExposedPorts", "Labels", "StopSignal", "Entrypoint", "Volumes")} == {
        "Cmd": ["sh"], "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}}, "Labels": {"l": "m"}, "StopSignal": "SIGQUIT", "Entrypoint": None,
        "Volumes": None,
    }  # fmt: skip
    assert config["Healthcheck"] == {"Test": ["CMD", "true"], "Interval": 1000000000}


def test_what_an_image_does_not_say_is_there_and_empty_as_docker_has_it(images: Images, store: Store) -> None:
    config = inspect(images.add(image(store)))["Config"]
    assert isinstance(config, dict)
    assert {"Hostname", "Env", "Cmd", "Labels", "WorkingDir", "OnBuild"} <= set(config)
    assert not {"Healthcheck", "ExposedPorts", "StopSignal", "Shell", "ArgsEscaped"} & set(config)
