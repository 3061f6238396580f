"""From a bundle's ``config.json`` to the plan of the container: pure, but for looking at the machine's cgroup mounts.

    bundle ── spec.load ──▶ Spec ── create_plan ──▶ Plan: MakeCgroup … Clone … Mount … PivotRoot … AwaitStart, Exec
                             Process ── exec_plan ──▶ Plan: Clone, JoinCgroup, JoinNamespaces, CloneSibling … Exec

The order of the steps is the lesson; the comments below say why each stands where it does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from labkit.errors import InvalidInput
from labkit.linux import capabilities, cgroups, namespaces
from labkit.runtime.plans import Plan, Step
from labkit.runtime.spec import Hooks
from labkit.runtime.state import State
from labkit.runtime.steps import birth, contents, execution, filesystem, groups, identity, machine, session
from labkit.runtime.steps.filesystem import MountRoot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labkit.linux.devices import Device
    from labkit.runtime import spec as oci


def create_plan(spec: oci.Spec, id: str, bundle: str, root: str, rootfs: Sequence[MountRoot] = (), network: Sequence[Step] = ()) -> Plan:
    """The plan of a container. ``rootfs``: mounts that make its root directory, such as an overlay of an image's layers.

    ``network``: steps that connect its network namespace, made elsewhere; the host's are done as soon as there is one.
    """
    planner = _Planner(spec, id, os.path.abspath(bundle), rootfs, network)
    later = Hooks(poststart=spec.hooks.poststart, poststop=spec.hooks.poststop)
    container = State(id, planner.bundle, planner.rootfs, planner.cgroup_path, annotations=spec.annotations, hooks=later)
    return Plan(container, root, tuple(planner.steps()), tuple(planner.warnings))


def exec_plan(spec: oci.Spec, program: oci.Process, container: State, root: str) -> Plan:
    """The plan of one more process in a running container: it enters what that container's init was born into."""
    planner = _Planner(spec, container.id, container.bundle)
    unified, moved = _split(cgroups.directories(container.cgroup, cgroups.detect()))
    differing = [kind for kind, shared in namespaces.compare(container.pid).items() if not shared]
    steps: list[Step] = [birth.Clone((), unified)]
    if moved:
        steps.append(groups.JoinCgroup(moved))
    steps.append(birth.JoinNamespaces(tuple((kind, f"/proc/{container.pid}/ns/{kind}") for kind in differing)))
    steps.append(birth.CloneSibling(()))
    if "user" in differing:
        steps += [*_from_host(program), birth.BecomeRoot()]
    steps += planner.identity(program, in_new_container=False, in_user_namespace="user" in differing)
    steps += planner.last(program)
    return Plan(container, root, tuple(steps), tuple(planner.warnings))


def cgroup_path(spec: oci.Spec, id: str) -> str:
    """The group of a container: what the bundle says, or labkit's own."""
    path = spec.linux.cgroupsPath
    if ":" in path:
        raise InvalidInput(
            f"linux.cgroupsPath: {path} is systemd's notation (slice:prefix:name); labkit makes the groups itself: name a directory"
        )
    return path.strip("/") if path.startswith("/") else f"labkit/{path or id}"


class _Planner:
    def __init__(self, spec: oci.Spec, id: str, bundle: str, rootfs: Sequence[MountRoot] = (), network: Sequence[Step] = ()) -> None:
        self.spec, self.id, self.bundle, self.mounted, self.network = spec, id, bundle, rootfs, network
        self.rootfs = os.path.normpath(os.path.join(bundle, spec.root.path))
        self.cgroup_path = cgroup_path(spec, id)
        self.warnings: list[str] = []
        self.new = [namespaces.kind(each.type).name for each in spec.linux.namespaces if not each.path]
        self.joined = [(namespaces.kind(each.type).name, each.path) for each in spec.linux.namespaces if each.path]

    def steps(self) -> Iterator[Step]:
        spec, linux = self.spec, self.spec.linux
        # What a network needs, and what stays when the container goes, comes before anything that is the container's.
        yield from (step for step in self.network if step.side == "host" and not step.undoable)
        yield from self.cgroup()
        for mount in spec.mounts:
            if mount.uidMappings:
                recursive = "rbind" in mount.options
                yield filesystem.CloneMount(self.source(mount), mount.destination, recursive, mount.uidMappings, mount.gidMappings)
        yield from self.births()
        own_users = "user" in self.new or "user" in dict(self.joined)
        if "user" in self.new:
            yield birth.SetIdMaps(linux.uidMappings, linux.gidMappings)
        # Here the host is at work anyway, and the namespace is there: no turn more between the two sides.
        yield from (step for step in self.network if step.side == "host" and step.undoable)
        if own_users:
            yield from _from_host(spec.process)
            yield birth.BecomeRoot()
        if "net" in self.new:
            yield machine.BringUpLoopback()
        yield from (step for step in self.network if step.side == "container")
        if "uts" in self.new + [kind for kind, _ in self.joined]:
            if spec.hostname:
                yield machine.SetHostname(spec.hostname)
            if spec.domainname:
                yield machine.SetDomainname(spec.domainname)
        yield from self.filesystem()
        if linux.sysctl:
            yield machine.SetSysctls(tuple(linux.sysctl.items()))
        # After the sysctls, which lie below a path that is now made read-only.
        if linux.readonlyPaths:
            yield contents.ReadonlyPaths(linux.readonlyPaths)
        if linux.maskedPaths:
            yield contents.MaskPaths(linux.maskedPaths)
        yield from self.identity(spec.process, in_user_namespace=own_users)
        yield execution.AwaitStart()
        yield from self.hooks("startContainer", "container", "created")
        yield from self.last(spec.process)

    def births(self) -> Iterator[Step]:
        """Init, or a stage and then init, in the container's group: born there in version 2, moved there in version 1."""
        unified, moved = _split(self.directories)
        needs_stage = bool(self.joined) or "time" in self.new
        born_into = () if needs_stage else tuple(kind for kind in self.new if kind != "cgroup")
        yield birth.Clone(born_into, unified)
        if moved:
            yield groups.JoinCgroup(moved)
        if self.joined:
            yield birth.JoinNamespaces(tuple(self.joined))
        if "time" in self.new:
            offsets = ((clock, offset.secs, offset.nanosecs) for clock, offset in self.spec.linux.timeOffsets.items())
            yield birth.UnshareTime(tuple(offsets))
        if needs_stage:
            yield birth.CloneSibling(tuple(kind for kind in self.new if kind != "time"))
        elif "cgroup" in self.new:
            yield birth.UnshareCgroup()

    def cgroup(self) -> Iterator[Step]:
        from labkit.linux.cgroups import devices
        from labkit.runtime.limits import limits

        layout = cgroups.detect()
        path = self.cgroup_path
        self.directories = cgroups.directories(path, layout)
        yield groups.MakeCgroup(path, self.directories)
        for setting in cgroups.settings(path, limits(self.spec.linux.resources), layout):
            yield groups.SetCgroupFile(setting)
        # With or without rules in the bundle: what no rule allows is denied, or root could make a node of the host's disk.
        asked = (devices.Rule(each.allow, each.type, each.major, each.minor, each.access) for each in self.spec.linux.resources.devices)
        rules = (*asked, *devices.ALWAYS)
        lines = devices.settings(path, rules, layout)
        yield groups.AllowDevices(lines) if lines else groups.AllowDevices((), self.directories[-1], devices.program(rules))

    def filesystem(self) -> Iterator[Step]:
        spec, rootfs = self.spec, self.rootfs
        if "mnt" not in self.new and "mnt" not in dict(self.joined):
            raise InvalidInput("linux.namespaces: must contain mount, or the container's mounts would be the host's")
        # First of all, or the mounts that follow appear on the host wherever / is shared.
        yield filesystem.SetPropagation("/", "rslave")
        yield from self.mounted
        if not self.mounted:
            yield filesystem.BindRoot(rootfs)
        binds_dev = False
        later: list[Step] = []
        for mount in spec.mounts:
            destination = os.path.join("/", mount.destination)
            if mount.type == "cgroup" or mount.type == "cgroup2":
                yield from self.cgroup_mounts(destination, mount.options, later)
                continue
            if mount.uidMappings:
                yield filesystem.AttachMount(rootfs, destination, mount.options)
                continue
            options = mount.options
            if destination == "/dev" and "ro" in options and mount.type == "tmpfs":
                options = tuple(word for word in options if word != "ro")
                later.append(contents.RemountReadonly(destination))
            step = filesystem.Mount(rootfs, destination, mount.type, self.source(mount), options)
            binds_dev = binds_dev or (step.is_bind and destination.rstrip("/") == "/dev")
            yield step
        yield from self.hooks("prestart", "host", "creating")
        yield from self.hooks("createRuntime", "host", "creating")
        yield from self.hooks("createContainer", "container", "creating")
        if not binds_dev:
            yield contents.MakeDevices(rootfs, self.devices())
        yield filesystem.PivotRoot(rootfs)
        if spec.process.cwd != "/":
            yield contents.MakeWorkingDirectory(spec.process.cwd)
        # A terminal comes from the container's own /dev/pts, and /dev/console is bound before / may be read-only.
        yield session.NewSession()
        if spec.process.terminal:
            yield self.terminal(spec.process, console=True)
        yield from later
        if spec.linux.rootfsPropagation:
            yield filesystem.SetPropagation("/", spec.linux.rootfsPropagation)
        if spec.root.readonly:
            yield contents.RemountReadonly("/")

    def cgroup_mounts(self, destination: str, options: tuple[str, ...], later: list[Step]) -> Iterator[Step]:
        """In version 2 one mount; in version 1 a tmpfs with a mount for each controller, as under the host's /sys/fs/cgroup."""
        layout = cgroups.detect()
        own = "cgroup" in self.new
        if layout.mode == "v2":
            # All mounts of version 2 are one file system, which the kernel mounts on itself no second time (EBUSY): so where the
            # host's is there already, bound with its /sys, the container's own group is bound over it.
            new = own and not any(
                "rbind" in mount.options and destination.startswith(f"{mount.destination.rstrip('/')}/") for mount in self.spec.mounts
            )
            source = "cgroup" if new else self.directories[0]
            yield filesystem.Mount(self.rootfs, destination, "cgroup2", source, options if new else ("bind", *options))
            return
        writable = tuple(word for word in options if word != "ro")
        yield filesystem.Mount(self.rootfs, destination, "tmpfs", "tmpfs", (*writable, "mode=755"))
        for controller in layout.controllers.values():
            if controller.version == 2:
                continue
            v1_name = "blkio" if controller.name == "io" else controller.name
            together = [each.name for each in layout.controllers.values() if each.mountpoint == controller.mountpoint]
            words = ["blkio" if name == "io" else name for name in together]
            source = "cgroup" if own else f"{controller.mountpoint}/{self.cgroup_path}"
            how = (*options, *words) if own else ("bind", *options)
            yield filesystem.Mount(self.rootfs, f"{destination}/{v1_name}", "cgroup", source, how)
        if "ro" in options:
            later.append(contents.RemountReadonly(destination))

    def identity(self, program: oci.Process, in_new_container: bool = True, in_user_namespace: bool = False) -> Iterator[Step]:
        """From root of the container to the user that was asked for."""
        if not in_new_container:
            yield session.NewSession()
            if program.terminal:
                yield self.terminal(program, console=False)
        if program.rlimits and not in_user_namespace:
            yield session.SetRlimits(_rlimits(program))
        if program.oomScoreAdj is not None and not in_user_namespace:
            yield session.SetOomScore(program.oomScoreAdj)
        yield from self.scheduling(program)
        if not self.filter_last(program):
            yield from self.seccomp()
        sets = self.capabilities(program)
        user = program.user
        yield execution.ChangeDirectory(program.cwd)
        yield identity.DropBounding(sets.bounding)
        yield identity.SetUser(user.uid, user.gid, user.additionalGids, user.umask, keep=bool(user.uid and sets.permitted))
        yield identity.SetCapabilities(sets)
        if program.noNewPrivileges:
            yield identity.NoNewPrivileges()
        yield execution.CheckCommand(program.args[0], _search_path(program.env))

    def last(self, program: oci.Process) -> Iterator[Step]:
        """What happens between the start and the program."""
        if self.filter_last(program):
            yield from self.seccomp()
        yield execution.Exec(program.args, program.env)

    def capabilities(self, program: oci.Process) -> capabilities.Capabilities:
        """The five sets, without what no process can have: the kernel would refuse all of them for one."""
        wanted = program.capabilities
        if wanted is None:
            return capabilities.Capabilities()
        known = frozenset(capabilities.NAMES)
        asked = [frozenset(names) for names in (wanted.bounding, wanted.effective, wanted.permitted, wanted.inheritable, wanted.ambient)]
        unknown = sorted(frozenset[str]().union(*asked) - known)
        if unknown:
            self.warnings.append(f"process.capabilities: {', '.join(unknown)} unknown, ignored")
        bounding, effective, permitted, inheritable, ambient = (names & known for names in asked)
        return capabilities.Capabilities(bounding, effective & permitted, permitted, inheritable, ambient & permitted & inheritable)

    def filter_last(self, program: oci.Process) -> bool:
        """With no_new_privs a filter may come last and forbid all that was needed before. Without, loading one takes
        CAP_SYS_ADMIN, so it comes while that is there; and a filter with a listener comes while the host side listens."""
        profile = self.spec.linux.seccomp
        return program.noNewPrivileges and not (profile and profile.listenerPath)

    def seccomp(self) -> Iterator[Step]:
        profile = self.spec.linux.seccomp
        if profile:
            from labkit.linux import seccomp
            from labkit.runtime.steps.filter import LoadSeccomp

            yield LoadSeccomp(seccomp.compile(profile), profile.flags, profile.listenerPath, profile.listenerMetadata)

    def scheduling(self, program: oci.Process) -> Iterator[Step]:
        domain = self.spec.linux.personality
        if program.scheduler or program.ioPriority or domain:
            from labkit.runtime.limits import io_priority, scheduling_attributes

            yield session.SetScheduling(
                scheduling_attributes(program.scheduler) if program.scheduler else None,
                io_priority(program.ioPriority) if program.ioPriority else None,
                {"LINUX": 0, "LINUX32": 8}[domain.domain] if domain else None,
            )

    def terminal(self, program: oci.Process, console: bool) -> Step:
        from labkit.runtime.steps.terminal import OpenTerminal

        size = program.consoleSize
        return OpenTerminal((size.height, size.width) if size else None, console, program.user.uid)

    def devices(self) -> tuple[Device, ...]:
        from labkit.linux import devices

        wanted = {device.path: device for device in (*devices.DEFAULT, *self.spec.linux.devices)}
        return tuple(wanted.values())

    def source(self, mount: oci.Mount) -> str:
        is_bind = mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options
        return os.path.join(self.bundle, mount.source) if is_bind else mount.source

    def hooks(self, moment: str, side: str, status: str) -> Iterator[Step]:
        found = getattr(self.spec.hooks, moment)
        if found:
            from labkit.runtime.steps.hooks import RunHooks, RunHostHooks

            yield (RunHostHooks if side == "host" else RunHooks)(moment, status, found)


def _split(directories: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The directory in the version 2 hierarchy, "" if there is none, and those of version 1."""
    unified = cgroups.detect().unified
    found = [directory for directory in directories if unified and directory.startswith(f"{unified}/")]
    return (found[0] if found else ""), tuple(directory for directory in directories if directory not in found)


def _from_host(program: oci.Process) -> Iterator[Step]:
    """What takes a right that a process in a user namespace of its own does not have any more."""
    if program.rlimits:
        yield session.SetRlimitsFromHost(_rlimits(program))
    if program.oomScoreAdj is not None:
        yield session.SetOomScoreFromHost(program.oomScoreAdj)


def _rlimits(program: oci.Process) -> tuple[tuple[str, int, int], ...]:
    return tuple((limit.type, limit.soft, limit.hard) for limit in program.rlimits)


def _search_path(env: Sequence[str]) -> str:
    return next((entry[5:] for entry in reversed(env) if entry.startswith("PATH=")), "")
