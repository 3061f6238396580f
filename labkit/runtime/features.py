"""What this runtime knows, for the tools that call it: the document of ``labkit runtime features``.

    >>> from labkit import codec
    >>> from labkit.runtime import features
    >>> features.features().linux.cgroup
    Cgroup(v1=True, v2=True, systemd=False, systemdUser=False, rdma=False)
    >>> json.dumps(codec.encode(features.features()))

OCI runtime-spec 1.1, features.md and features-linux.md; ``mountExtensions`` is of 1.2, and dockerd asks for it. The document
tells what the runtime was made for, not what this machine can do: that is ``labkit doctor``'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping

from labkit.records import record
from labkit.runtime.validate import NAMESPACES


@record
class Cgroup:
    """Which control groups it can drive."""

    v1: bool
    v2: bool
    systemd: bool
    systemdUser: bool
    rdma: bool


@record
class Seccomp:
    """Which words a seccomp profile may use."""

    enabled: bool
    actions: tuple[str, ...]
    operators: tuple[str, ...]
    archs: tuple[str, ...]
    knownFlags: tuple[str, ...]


@record
class Feature:
    """Something that is there or not."""

    enabled: bool


@record
class MountExtensions:
    """Mounts with id maps of their own."""

    idmap: Feature


@record
class Linux:
    """What it knows of Linux."""

    namespaces: tuple[str, ...]
    capabilities: tuple[str, ...]
    cgroup: Cgroup
    seccomp: Seccomp
    apparmor: Feature
    selinux: Feature
    intelRdt: Feature
    mountExtensions: MountExtensions


@record
class Features:
    """The document."""

    ociVersionMin: str
    ociVersionMax: str
    hooks: tuple[str, ...]
    mountOptions: tuple[str, ...]
    linux: Linux
    annotations: Mapping[str, str]


def features() -> Features:
    """What this version of labkit knows."""
    from labkit.linux import capabilities, mountoptions, seccomp

    return Features(
        ociVersionMin="1.0.0",
        ociVersionMax="1.1.0",
        hooks=("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"),
        mountOptions=mountoptions.OPTION_WORDS,
        linux=Linux(
            namespaces=NAMESPACES,
            capabilities=capabilities.NAMES,
            cgroup=Cgroup(v1=True, v2=True, systemd=False, systemdUser=False, rdma=False),
            seccomp=Seccomp(True, seccomp.ACTIONS, seccomp.OPERATORS, seccomp.ARCHITECTURES, seccomp.FLAGS),
            apparmor=Feature(enabled=False),
            selinux=Feature(enabled=False),
            intelRdt=Feature(enabled=False),
            mountExtensions=MountExtensions(Feature(enabled=True)),
        ),
        annotations={},
    )
