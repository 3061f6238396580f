"""What the user wants mounted in a container, in the four ways there are to say it, as a list of mount points.

    -v /srv:/data:ro   -v data:/data   Binds         a path is bound (and made if it is missing), a name is a volume
    --mount type=…                     Mounts        likewise, said in full; a source that is missing is an error
    -v /data, VOLUME /data             Volumes       an anonymous volume, unless something else is mounted there
    --tmpfs /run                       Tmpfs
    --volumes-from web                 VolumesFrom   what another container has

    points ──▶ tuple[MountPoint, …], with volumes made and filled with what the image has there

Source: moby's ``volume/mounts``; Docker Engine API v1.47, Mount. Shown in notebook 09.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.engine.config import Config, HostConfig, Mount
from labkit.engine.container_file import MountPoint
from labkit.errors import InvalidInput, KernelError

if TYPE_CHECKING:
    from labkit.engine.engine import Engine

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_LABELS = ("z", "Z", "cached", "delegated", "consistent", "nocopy", "copy")


def points(engine: Engine, config: Config, host: HostConfig, layers: Sequence[str]) -> tuple[MountPoint, ...]:
    """The mount points of a container whose root file system is a stack of ``layers``, topmost first. Volumes are made."""
    found: dict[str, MountPoint] = {}
    for point in (*_from_others(engine, host), *_binds(host), *_mounts(host), *_tmpfs(host)):
        path = point.Destination
        if path in found and not found[path].Mode.startswith("from "):
            raise InvalidInput(f"Duplicate mount point: {path}")
        found[path] = point
    for path in config.Volumes:
        anonymous = posixpath.normpath(path)
        _check_target(anonymous, "volume", path)
        if anonymous not in found:
            found[anonymous] = MountPoint("volume", anonymous, Driver="local", Anonymous=True)
    return tuple(_made(engine, point, layers) for point in found.values())


def check(config: Config, host: HostConfig) -> None:
    """Refuse what cannot be right, before anything is made."""
    for point in (*_binds(host), *_mounts(host), *_tmpfs(host)):
        if point.Type == "bind" and point.Mode == "mount" and not os.path.exists(point.Source):
            raise _invalid("bind", f"bind source path does not exist: {point.Source}")
    for path in config.Volumes:
        _check_target(posixpath.normpath(path), "volume", path)


def _made(engine: Engine, point: MountPoint, layers: Sequence[str]) -> MountPoint:
    if point.Type == "bind" and point.Mode != "mount" and not os.path.exists(point.Source):
        try:
            os.makedirs(point.Source)
        except OSError as error:
            raise KernelError.of(error, "error while creating mount source path", point.Source) from None
    if point.Type != "volume":
        return replace(point, Mode="" if point.Mode == "mount" else point.Mode)
    volume = engine.volumes.provide(point.Name)
    if "nocopy" not in point.Options:
        engine.volumes.fill(volume, layers, point.Destination)
    options = tuple(word for word in point.Options if word not in ("nocopy", "copy"))
    return replace(point, Name=volume.Name, Source=volume.Mountpoint, Driver=volume.Driver, Options=options)


def _binds(host: HostConfig) -> Iterator[MountPoint]:
    """``SOURCE:TARGET[:MODE]``."""
    for text in host.Binds:
        source, _, rest = text.partition(":")
        target, _, mode = rest.partition(":")
        if not source or not target or ":" in mode:
            raise InvalidInput(f"invalid volume specification: '{text}'")
        path = posixpath.normpath(target)
        words = [word for word in mode.split(",") if word]
        if any(word not in ("ro", "rw", *_PROPAGATIONS, *_LABELS) for word in words):
            raise InvalidInput(f"invalid mode: {mode}")
        propagation = next((word for word in words if word in _PROPAGATIONS), "")
        writable = "ro" not in words
        if source.startswith("/"):
            _check_target(path, "bind", target, text)
            bound = posixpath.normpath(source)
            yield MountPoint("bind", path, bound, Mode=mode, RW=writable, Propagation=propagation or "rprivate")
            continue
        if source.startswith((".", "~")) or "/" in source:
            names = 'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
            raise InvalidInput(f'create {source}: "{source}" includes invalid characters for a local volume name, {names}')
        _check_target(path, "volume", target, text)
        options = ("nocopy",) if "nocopy" in words else ()
        yield MountPoint("volume", path, Name=source, Driver="local", Mode=mode or "z", RW=writable, Options=options)


def _mounts(host: HostConfig) -> Iterator[MountPoint]:
    """``--mount``."""
    for mount in host.Mounts:
        kind = mount.Type
        if kind not in ("bind", "volume", "tmpfs"):
            raise _invalid(kind, f"mount type unknown: {kind!r}" if kind else "mount type unknown")
        if not mount.Target:
            raise _invalid(kind, "field Target must not be empty")
        path = posixpath.normpath(mount.Target)
        _check_target(path, kind, mount.Target)
        yield {"bind": _bind, "volume": _volume, "tmpfs": _memory}[kind](mount, path)


def _bind(mount: Mount, path: str) -> MountPoint:
    if not mount.Source:
        raise _invalid("bind", "field Source must not be empty")
    if not mount.Source.startswith("/"):
        raise _invalid("bind", f"invalid mount path: '{mount.Source}' mount path must be absolute")
    options = mount.BindOptions
    propagation = (options and options.Propagation) or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise _invalid("bind", f"invalid propagation mode: {propagation}")
    mode = "" if options and options.CreateMountpoint else "mount"
    return MountPoint("bind", path, posixpath.normpath(mount.Source), Mode=mode, RW=not mount.ReadOnly, Propagation=propagation)


def _volume(mount: Mount, path: str) -> MountPoint:
    options = mount.VolumeOptions
    words = ("nocopy",) if options and options.NoCopy else ()
    return MountPoint(
        "volume", path, Name=mount.Source, Driver="local", Mode="z", RW=not mount.ReadOnly, Anonymous=not mount.Source, Options=words
    )


def _memory(mount: Mount, path: str) -> MountPoint:
    if mount.Source:
        raise _invalid("tmpfs", "field Source must not be specified")
    options = mount.TmpfsOptions
    words = [f"size={options.SizeBytes}"] if options and options.SizeBytes else []
    words += [f"mode={options.Mode:o}"] if options and options.Mode else []
    return MountPoint("tmpfs", path, RW=not mount.ReadOnly, Options=(*words, *(("ro",) if mount.ReadOnly else ())))


def _tmpfs(host: HostConfig) -> Iterator[MountPoint]:
    for target, options in host.Tmpfs.items():
        path = posixpath.normpath(target)
        _check_target(path, "tmpfs", target)
        words = tuple(word for word in options.split(",") if word)
        yield MountPoint("tmpfs", path, Mode=options, RW="ro" not in words, Options=words)


def _from_others(engine: Engine, host: HostConfig) -> Iterator[MountPoint]:
    for text in host.VolumesFrom:
        name, _, mode = text.partition(":")
        if mode not in ("", "ro", "rw", "z", "Z"):
            raise InvalidInput(f"invalid mode: {mode}")
        for point in engine.containers.get(name).record.Mounts:
            writable = point.RW and mode != "ro"
            yield replace(point, RW=writable, Mode=f"from {name}", Anonymous=False)


def _check_target(path: str, kind: str, said: str, specification: str = "") -> None:
    if not said.startswith("/"):
        problem = f"invalid mount path: '{said}' mount path must be absolute"
    elif path == "/":
        problem = "invalid specification: destination can't be '/'"
    else:
        return
    error = _invalid(kind, problem)
    raise InvalidInput(f"invalid volume specification: '{specification}': {error}") if specification else error


def _invalid(kind: str, problem: str) -> InvalidInput:
    return InvalidInput(f'invalid mount config for type "{kind}": {problem}')
