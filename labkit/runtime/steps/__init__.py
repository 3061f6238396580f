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

from labkit.runtime.plans import Step
from labkit.runtime.steps.groups import MakeCgroup

UNDOABLE: dict[str, type[Step]] = {"MakeCgroup": MakeCgroup}
"""The steps that leave something outside the container, by the name that the journal knows them by."""
