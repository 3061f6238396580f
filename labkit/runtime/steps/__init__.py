"""The steps that plans are made of, by subject.

groups        MakeCgroup, SetCgroupFile, AllowDevices, JoinCgroup
birth         Fork, JoinNamespaces, UnshareTime, Clone, SetIdMaps, BecomeRoot
machine       BringUpLoopback, SetHostname, SetDomainname, SetSysctls
filesystem    SetPropagation, MountRoot, BindRoot, Mount, MakeDevices, PivotRoot, ReadonlyPaths, MaskPaths, RemountReadonly
process       NewSession, OpenTerminal, SetRlimits, …, DropBounding, SetUser, SetCapabilities, LoadSeccomp, AwaitStart, Exec
hooks         RunHooks
"""

from labkit.runtime.plan import Step
from labkit.runtime.steps.groups import MakeCgroup

UNDOABLE: dict[str, type[Step]] = {"MakeCgroup": MakeCgroup}
"""The steps that leave something outside the container, by the name that the journal knows them by."""
