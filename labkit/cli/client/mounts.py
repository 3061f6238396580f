"""``--mount`` and ``--volume``: what is mounted in a container.

    --mount type=bind,src=/srv,dst=/data,ro      a directory of the host's
    --mount type=volume,src=v1,dst=/data         a volume; without src a new one
    --mount type=tmpfs,dst=/run,tmpfs-size=1m    memory
    -v /srv:/data:ro   -v v1:/data   -v /data    the first two, and a new volume, in the older form

    >>> MOUNT.read("dst=/data,src=v1")
    {'Type': 'volume', 'Source': 'v1', 'Target': '/data'}

Source: docker-run(1), ``--mount`` and ``--volume``; github.com/docker/cli, ``opts/mount.go``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from labkit.cli.client.values import Kind, fields, size
from labkit.errors import InvalidInput

_NAMES = {"type": "Type", "source": "Source", "src": "Source", "target": "Target", "dst": "Target", "destination": "Target",
          "consistency": "Consistency"}  # fmt: skip
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def _mount(text: str) -> dict[str, object]:
    mount: dict[str, object] = {"Type": "volume"}
    parts: dict[str, dict[str, object]] = {}

    def part(name: str) -> dict[str, object]:
        return parts.setdefault(name, {})

    for written in fields(text):
        key, equals, value = written.partition("=")
        key = key.lower()
        if not equals and key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive"):
            raise ValueError(f"invalid field '{written}' must be a key=value pair")
        if key in _NAMES:
            mount[_NAMES[key]] = value.lower() if key == "type" else value
        elif key in ("readonly", "ro"):
            mount["ReadOnly"] = _truth(key, value, equals)
        elif key == "bind-propagation":
            part("BindOptions")["Propagation"] = value.lower()
        elif key == "bind-nonrecursive":
            part("BindOptions")["NonRecursive"] = _truth(key, value, equals)
        elif key == "bind-recursive":
            part("BindOptions").update(_recursive(value))
        elif key == "volume-nocopy":
            part("VolumeOptions")["NoCopy"] = _truth(key, value, equals)
        elif key == "volume-subpath":
            part("VolumeOptions")["Subpath"] = value
        elif key in ("volume-label", "volume-opt"):
            owner = part("VolumeOptions") if key == "volume-label" else _driver(part("VolumeOptions"))
            name, _, given = value.partition("=")
            owner["Labels" if key == "volume-label" else "Options"] = {**_mapping(owner, key), name: given}
        elif key == "volume-driver":
            _driver(part("VolumeOptions"))["Name"] = value
        elif key == "tmpfs-size":
            part("TmpfsOptions")["SizeBytes"] = _size(value)
        elif key == "tmpfs-mode":
            part("TmpfsOptions")["Mode"] = _mode(value)
        else:
            raise ValueError(f"unexpected key '{key}' in '{written}'")
    if not mount.get("Target"):
        raise ValueError("target is required")
    source = str(mount.get("Source", ""))
    if mount["Type"] == "bind" and source.startswith("."):
        mount["Source"] = os.path.abspath(source)
    for kind, name in (("volume", "VolumeOptions"), ("bind", "BindOptions"), ("tmpfs", "TmpfsOptions")):
        if name in parts and mount["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
    return mount | parts


def _mapping(owner: dict[str, object], key: str) -> dict[str, object]:
    found = owner.get("Labels" if key == "volume-label" else "Options")
    return found if isinstance(found, dict) else {}


def _driver(options: dict[str, object]) -> dict[str, object]:
    driver = options.setdefault("DriverConfig", {})
    assert isinstance(driver, dict)
    return driver


def _truth(key: str, value: str, equals: str) -> bool:
    if not equals or value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ValueError(f"invalid value for {key}: {value}")


def _recursive(value: str) -> dict[str, object]:
    known: dict[str, dict[str, object]] = {
        "enabled": {}, "disabled": {"NonRecursive": True}, "writable": {"ReadOnlyNonRecursive": True},
        "readonly": {"ReadOnlyForceRecursive": True},
    }  # fmt: skip
    if value not in known:
        raise ValueError(f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable", or "readonly")')
    return known[value]


def _size(value: str) -> int:
    try:
        return size(value)
    except ValueError:
        raise ValueError(f"invalid value for tmpfs-size: {value}") from None


def _mode(value: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise ValueError(f"invalid value for tmpfs-mode: {value}") from None


MOUNT = Kind("mount", _mount)


def volumes(given: Sequence[str]) -> tuple[list[str], dict[str, object]]:
    """All ``-v`` as ``HostConfig.Binds``, and as ``Volumes``, where those are that have no name yet."""
    binds: list[str] = []
    anonymous: dict[str, object] = {}
    for text in given:
        source, colon, rest = text.partition(":")
        if not colon:
            anonymous[text] = {}
            continue
        if not source or not rest.partition(":")[0]:
            if source:  # `-v /data:` is docker's way to write `-v /data`
                anonymous[text] = {}
                continue
            raise InvalidInput(f"invalid spec: {text}: empty section between colons")
        binds.append(f"{os.path.abspath(source)}:{rest}" if source.startswith(".") else text)
    return binds, anonymous
