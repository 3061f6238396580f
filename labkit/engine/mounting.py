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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from labkit.engine.config import Config, HostConfig, Mount
from labkit.engine.container_file import MountPoint
from labkit.engine.hostconfig import BindOptions, TmpfsOptions, VolumeOptions
from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.records import record

if TYPE_CHECKING:
    from labkit.engine.engine import Engine

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_LABELS = ("z", "Z", "cached", "delegated", "consistent", "nocopy", "copy")


@record
class _Wanted:
    """A mount point and what is not seen of it any more when it is made."""

    point: MountPoint
    must_exist: bool = False
    copies: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)


def points(engine: Engine, config: Config, host: HostConfig, layers: Sequence[str]) -> tuple[MountPoint, ...]:
    """The mount points of a container whose root file system is a stack of ``layers``, topmost first. Volumes are made."""
    found: dict[str, _Wanted] = {}
    for wanted in _asked(host):
        path = wanted.point.Destination
        if path in found:
            raise InvalidInput(f"Duplicate mount point: {path}")
        found[path] = wanted
    for wanted in (*_from_others(engine, host), *_anonymous(config)):
        found.setdefault(wanted.point.Destination, wanted)
    return tuple(_made(engine, wanted, layers) for wanted in found.values())


def asked(config: Config, host: HostConfig) -> tuple[MountPoint, ...]:
    """The mount points that a container would have, with nothing made: a volume is a name, or none yet."""
    found = {wanted.point.Destination: wanted.point for wanted in (*_anonymous(config), *_asked(host))}
    return tuple(found.values())


def check(config: Config, host: HostConfig) -> None:
    """Refuse what cannot be right, before anything is made."""
    for wanted in (*_asked(host), *_anonymous(config)):
        if wanted.must_exist and not os.path.exists(wanted.point.Source):
            raise _invalid("bind", f"bind source path does not exist: {wanted.point.Source}")


def _asked(host: HostConfig) -> Iterator[_Wanted]:
    yield from _binds(host)
    yield from _mounts(host)
    yield from _tmpfs(host)


def _made(engine: Engine, wanted: _Wanted, layers: Sequence[str]) -> MountPoint:
    point = wanted.point
    if point.Type == "bind" and not wanted.must_exist and not os.path.exists(point.Source):
        try:
            os.makedirs(point.Source)
        except OSError as error:
            raise KernelError.of(error, "error while creating mount source path", point.Source) from None
    if point.Type != "volume":
        return point
    volume = engine.volumes.provide(point.Name, wanted.labels)
    if wanted.copies:
        engine.volumes.fill(volume, layers, point.Destination)
    return replace(point, Name=volume.Name, Source=volume.Mountpoint, Driver=volume.Driver)


def _binds(host: HostConfig) -> Iterator[_Wanted]:
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
            yield _Wanted(MountPoint("bind", path, bound, Mode=mode, RW=writable, Propagation=propagation or "rprivate"))
            continue
        if source.startswith((".", "~")) or "/" in source:
            names = 'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
            raise InvalidInput(f'create {source}: "{source}" includes invalid characters for a local volume name, {names}')
        _check_target(path, "volume", target, text)
        yield _Wanted(MountPoint("volume", path, Name=source, Driver="local", Mode=mode or "z", RW=writable), copies="nocopy" not in words)


def _mounts(host: HostConfig) -> Iterator[_Wanted]:
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


def _bind(mount: Mount, path: str) -> _Wanted:
    if not mount.Source:
        raise _invalid("bind", "field Source must not be empty")
    if not mount.Source.startswith("/"):
        raise _invalid("bind", f"invalid mount path: '{mount.Source}' mount path must be absolute")
    options = mount.BindOptions or BindOptions()
    propagation = options.Propagation or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise _invalid("bind", f"invalid propagation mode: {propagation}")
    alone = ("norecursive",) if options.NonRecursive else ()
    source = posixpath.normpath(mount.Source)
    point = MountPoint("bind", path, source, RW=not mount.ReadOnly, Propagation=propagation, Options=alone)
    return _Wanted(point, must_exist=not options.CreateMountpoint)


def _volume(mount: Mount, path: str) -> _Wanted:
    options = mount.VolumeOptions or VolumeOptions()
    if options.Subpath:
        raise _invalid("volume", "field VolumeOptions.Subpath is not supported: mount the whole volume")
    anonymous = not mount.Source
    point = MountPoint("volume", path, Name=mount.Source, Driver="local", Mode="z", RW=not mount.ReadOnly, Anonymous=anonymous)
    return _Wanted(point, copies=not options.NoCopy, labels=options.Labels)


def _memory(mount: Mount, path: str) -> _Wanted:
    if mount.Source:
        raise _invalid("tmpfs", "field Source must not be specified")
    options = mount.TmpfsOptions or TmpfsOptions()
    words = [f"size={options.SizeBytes}"] if options.SizeBytes else []
    words += [f"mode={options.Mode:o}"] if options.Mode else []
    words += ["ro"] if mount.ReadOnly else []
    return _Wanted(MountPoint("tmpfs", path, RW=not mount.ReadOnly, Options=tuple(words)))


def _tmpfs(host: HostConfig) -> Iterator[_Wanted]:
    for target, options in host.Tmpfs.items():
        path = posixpath.normpath(target)
        _check_target(path, "tmpfs", target)
        words = tuple(word for word in options.split(",") if word)
        yield _Wanted(MountPoint("tmpfs", path, Mode=options, RW="ro" not in words, Options=words))


def _from_others(engine: Engine, host: HostConfig) -> Iterator[_Wanted]:
    """``--volumes-from``: the same volumes and binds, at the same places."""
    for text in host.VolumesFrom:
        name, _, mode = text.partition(":")
        if mode not in ("", "ro", "rw", "z", "Z"):
            raise InvalidInput(f"invalid mode: {mode}")
        try:
            points = engine.containers.get(name).record.Mounts
        except NotFound as error:
            raise InvalidInput(str(error)) from None  # what is not found when a container is made is an image, for a client: it would pull
        for point in points:
            if point.Type != "tmpfs":
                yield _Wanted(replace(point, RW=point.RW and mode != "ro", Anonymous=False), copies=False)


def _anonymous(config: Config) -> Iterator[_Wanted]:
    """``-v /data``, and what the image's VOLUME says."""
    for said in config.Volumes:
        path = posixpath.normpath(said)
        _check_target(path, "volume", said)
        yield _Wanted(MountPoint("volume", path, Driver="local", Anonymous=True))


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
