"""RUN: a container that has the image so far as its root, and writes into the layer of the step.

    >>> from labkit.engine.build import running
    >>> running.run(store, layer, running.Command(("/bin/sh", "-c", "make"), ("PATH=/bin",)), report)

    lower   the image's layers
            a layer of mount points: /proc /sys /dev /etc/hosts /etc/hostname /etc/resolv.conf, empty, in no image
    upper   the step's own layer                              so that what is mounted on them leaves no trace

Docker's default capabilities and system call filter, masked paths, no terminal, no input. Network: the machine's own, or ``none``.
It ends with the command; a code other than 0 is ``CommandFailed``. Source: Dockerfile reference, "RUN". Shown in notebook 09.
"""

from __future__ import annotations

import codecs
import os
import select
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from labkit.engine import users
from labkit.engine.build.output import Output, Report
from labkit.engine.build.working import Layer
from labkit.errors import LabError
from labkit.linux import capabilities, paths, seccomp
from labkit.records import record
from labkit.runtime import client, container, defaults, planner, spawner, state, validate
from labkit.runtime.spec import Capabilities, Mount, Process, Root, Spec, User
from labkit.runtime.spec_linux import Linux, Namespace
from labkit.runtime.steps.filesystem import MountRoot
from labkit.storage.store import Store

STATE = "/run/labkit/build"
NETWORKS = ("default", "host", "none")
_SILENCE = 500  # milliseconds
_FILES = ("hosts", "hostname", "resolv.conf")
_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"


class CommandFailed(LabError):
    """A RUN ended with another exit ``code`` than 0."""

    def __init__(self, args: Sequence[str], code: int) -> None:
        super().__init__(f"The command '{' '.join(args)}' returned a non-zero code: {code}")
        self.code = code


@record
class Command:
    """What to run: ``user`` and ``cwd`` as the image's config has them; ``volumes`` are paths where nothing that is written stays."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    user: str = ""
    cwd: str = "/"
    volumes: tuple[str, ...] = ()
    network: str = "default"


def new_id() -> str:
    """A name for a container."""
    return os.urandom(32).hex()


def run(store: Store, layer: Layer, command: Command, id: str, report: Report) -> None:
    """Run it in a container called ``id``; what it writes is reported as it comes."""
    with _bundle(store, id) as bundle:
        volumes = [f"{bundle}/volumes/{number}" for number in range(len(command.volumes))]
        with layer.mounted() as root:
            user = users.find(root, command.user)
            with paths.inside(root, command.cwd, create="dir"):
                pass
            for path, copy in zip(command.volumes, volumes, strict=True):
                _fill_volume(root, path, copy)
        _write_files(bundle, id)
        wanted = spec(command, id, user, dict(zip(command.volumes, volumes, strict=True)))
        overlay = layer.overlay
        overlay = replace(overlay, lower=(_mount_points(store), *overlay.lower))
        rootfs = MountRoot("overlay", "overlay", f"{bundle}/rootfs", overlay.options)
        validate.spec(wanted)
        code = _carry_out(spawner.Request(planner.create_plan(wanted, id, bundle, STATE, (rootfs,)), remove=True), report)
    if code:
        raise CommandFailed(command.args, code)


def spec(command: Command, id: str, user: User, volumes: dict[str, str]) -> Spec:
    """The container's configuration: as Docker's with no option given."""
    base = defaults.spec()
    granted = tuple(sorted(capabilities.DEFAULT))
    inherited = granted if user.uid == 0 else ()  # another user's program gains none: Docker gives no ambient ones
    binds = {**{f"/etc/{name}": name for name in _FILES}, **volumes}
    new = ("pid", "ipc", "uts", "mount", *(("network",) if command.network == "none" else ()))
    return Spec(
        ociVersion=base.ociVersion,
        process=Process(
            user=user,
            args=command.args,
            env=command.env,
            cwd=command.cwd,
            capabilities=Capabilities(bounding=granted, effective=inherited, permitted=inherited),
        ),
        root=Root("rootfs"),
        hostname=id[:12],
        mounts=(*base.mounts, *(Mount(target, "bind", source, ("rbind", "rprivate")) for target, source in binds.items())),
        linux=Linux(
            resources=base.linux.resources,
            namespaces=tuple(map(Namespace, new)),
            seccomp=seccomp.default_profile(capabilities.DEFAULT),
            maskedPaths=base.linux.maskedPaths,
            readonlyPaths=base.linux.readonlyPaths,
        ),
    )


@contextmanager
def _bundle(store: Store, id: str) -> Iterator[str]:
    place = f"{store.root}/build/run/{id[:12]}"
    os.makedirs(f"{place}/rootfs")
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _mount_points(store: Store) -> str:
    place = f"{store.root}/build/mount-points"
    for directory in "proc", "sys", "dev", "etc":
        os.makedirs(f"{place}/{directory}", 0o755, exist_ok=True)
    for name in _FILES:
        with open(f"{place}/etc/{name}", "a"):
            pass
    return place


def _write_files(bundle: str, id: str) -> None:
    try:
        with open("/etc/resolv.conf") as file:
            resolver = file.read()
    except OSError:
        resolver = ""
    for name, text in zip(_FILES, (f"{_HOSTS}127.0.1.1\t{id[:12]}\n", f"{id[:12]}\n", resolver), strict=True):
        with open(f"{bundle}/{name}", "w") as file:
            file.write(text)


def _fill_volume(root: str, path: str, copy: str) -> None:
    """A volume of a container begins with what the image has there, and ends with the container."""
    from labkit.storage.pack import pack
    from labkit.storage.unpack import unpack

    os.makedirs(copy)
    with paths.inside(root, path, create="dir") as spot:
        unpack(pack(os.readlink(spot)), copy, overlay=False)


def _carry_out(request: spawner.Request, report: Report) -> int:
    """From the start to the end; its exit code. If we are interrupted, the container is killed."""
    job = client.Job(request)
    try:
        job.hear("created")
        _pass_on(job, report)
        return job.hear("ended")
    except BaseException:
        container.delete(request.plan.root, request.plan.id, force=True)
        raise
    finally:
        job.close()


def _pass_on(job: client.Job, report: Report) -> None:
    """Report what is written, piece by piece; a character may be cut in two."""
    stdout, stderr = job.outputs
    decoder = codecs.getincrementaldecoder("utf-8")
    sinks: dict[int, Callable[[bytes, bool], str]] = {output.fileno(): decoder("replace").decode for output in (stdout, stderr)}
    poll = select.poll()
    for fd in sinks:
        poll.register(fd, select.POLLIN)
    while sinks:
        ready = poll.poll(_SILENCE)
        if not ready:
            report(Output(""))
        for fd, _ in ready:
            data = os.read(fd, 65536)
            if text := sinks[fd](data, not data):
                report(Output(text, is_error=fd == stderr.fileno()))
            if not data:
                poll.unregister(fd)
                del sinks[fd]


def tidy(store: Store) -> None:
    """Take away containers that builds of this store have left that were killed. Whoever calls holds the store's lock."""
    for id in state.ids(STATE):
        try:
            if state.load(STATE, id).bundle.startswith(f"{store.root}/build/run/"):
                container.delete(STATE, id, force=True)
        except LabError:
            continue
    shutil.rmtree(f"{store.root}/build/run", ignore_errors=True)
