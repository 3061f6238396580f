"""The steps that plans are made of, by subject, in the order in which a container meets them.

groups        MakeCgroup, SetCgroupFile, AllowDevices, JoinCgroup
birth         Clone, JoinNamespaces, UnshareTime, CloneSibling, UnshareCgroup, SetIdMaps, BecomeRoot
machine       BringUpLoopback, SetHostname, SetDomainname, SetSysctls
filesystem    SetPropagation, MountRoot, BindRoot, Mount, CloneMount, AttachMount, PivotRoot
contents      MakeDevices, MakeWorkingDirectory, ReadonlyPaths, MaskPaths, RemountReadonly
session       NewSession, SetRlimits, SetRlimitsFromHost, SetOomScore, SetOomScoreFromHost, OpenTerminal, SetScheduling
terminal      OpenTerminal
identity      DropBounding, SetUser, SetCapabilities, NoNewPrivileges
filter        LoadSeccomp
execution     ChangeDirectory, CheckCommand, AwaitStart, Exec
hooks         RunHooks, RunHostHooks
"""

from importlib import import_module

from labkit.runtime.plans import Step
from labkit.runtime.steps.groups import MakeCgroup

_UNDOABLE: dict[str, type[Step]] = {"MakeCgroup": MakeCgroup}


def undoable(name: str) -> type[Step]:
    """The class of a step that leaves something outside the container, by its name in the journal.

    A name with a module is that of a step that was made elsewhere, such as ``labkit.network.steps.veth.VethPair``.
    """
    module, _, kind = name.rpartition(".")
    if not module:
        return _UNDOABLE[name]
    found: type[Step] = getattr(import_module(module), kind)
    return found
