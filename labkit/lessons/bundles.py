"""A ``config.json`` in one line, for the bundles of notebook 04.

    >>> hello = lesson.bundle("hello", config("hostname", hostname="hello", memory=64 << 20))
    >>> runtime.run(hello).stdout
    'hello\\n'

It is the runtime's own default with what a lesson wants to be another: Docker's fourteen capabilities, a root that may be
written to, no terminal. And no /sys/fs/cgroup, which is one mount where control groups are version 2 and ten where they are
version 1: so the plan of a lesson is nearly the same on every machine.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from labkit.linux.capabilities import DEFAULT
from labkit.linux.seccomp import Profile
from labkit.runtime import defaults
from labkit.runtime.spec import Capabilities, Spec, User
from labkit.runtime.spec_resources import Memory, Pids


def config(
    *args: str,
    hostname: str = "box",
    memory: int | None = None,
    pids: int | None = None,
    capabilities: Collection[str] = DEFAULT,
    seccomp: Profile | None = None,
    user: int = 0,
) -> Spec:
    """A configuration for the program ``args``; ``memory`` is in bytes, swap included, ``pids`` a number of processes."""
    base = defaults.spec()
    names = tuple(sorted(capabilities))
    process = replace(
        base.process,
        terminal=False,
        args=args,
        user=User(user, user),
        capabilities=Capabilities(bounding=names, effective=names, permitted=names),
    )
    resources = replace(
        base.linux.resources,
        memory=Memory(limit=memory, swap=memory) if memory else None,
        pids=Pids(pids) if pids else None,
    )
    return replace(
        base,
        hostname=hostname,
        process=process,
        root=replace(base.root, readonly=False),
        mounts=tuple(mount for mount in base.mounts if mount.type != "cgroup"),
        linux=replace(base.linux, resources=resources, seccomp=seccomp),
    )
