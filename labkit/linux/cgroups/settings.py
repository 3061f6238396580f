"""From ``Limits`` to the files that the kernel reads: a pure function, for a container's plan is made of its answer."""

from __future__ import annotations

from collections.abc import Iterator

from labkit.errors import InvalidInput, Unsupported
from labkit.linux.cgroups import v1, v2
from labkit.linux.cgroups.files import missing
from labkit.linux.cgroups.layout import Layout, checked
from labkit.linux.cgroups.limits import Limits
from labkit.records import record

# Every v2 group gets these, limited or not: without the controller there are no accounts either. Others only when asked for.
_ALWAYS = frozenset({"cpuset", "memory", "cpu", "pids", "io"})


@record
class Setting:
    """One file of a group and what is to be written into it; an empty value is explained at ``write``."""

    file: str
    value: str
    why: str

    def shell(self) -> str:
        """The same for ``sh``."""
        if self.value:
            return f"echo '{self.value}' > {self.file}"
        directory, _, name = self.file.rpartition("/")
        return f"grep -q . {self.file} || cat {directory.rpartition('/')[0]}/{name} > {self.file}"


def settings(path: str, limits: Limits, layout: Layout) -> tuple[Setting, ...]:
    """What to write, in this order, for the group ``path`` to have ``limits``. Its directories are there already.

    ``Unsupported`` says which limit this machine cannot enforce, and why; ``InvalidInput`` which one cannot be right.
    """
    path = checked(path)
    found = [*_from_above(path, limits, layout)]
    for name, v2_lines in v2.SETTINGS.items():
        controller = layout.controllers.get(name)
        if controller is None:
            if any(v2_lines(limits, ())):
                raise Unsupported(f"{name} limit: no control group hierarchy that is mounted here has the controller {name}")
            continue
        lines = v1.SETTINGS[name] if controller.version == 1 else v2_lines
        for file, value, why in lines(limits, controller.files):
            if controller.files and file not in controller.files:
                raise Unsupported(missing(file))
            found.append(Setting(f"{controller.mountpoint}/{path}/{file}", value, why))
    for file, value in limits.unified.items():
        controller = layout.controllers.get(_controller(file))
        if not layout.unified or (controller and controller.version == 1):
            raise Unsupported(f"unified: {file} is a file of version 2, and this machine has that controller in version 1")
        if "/" in file or not value:
            raise InvalidInput(f"unified: {file!r}: {value!r} is not the name of a file in the group and what to write into it")
        found.append(Setting(f"{layout.unified}/{path}/{file}", value, "a file of version 2, as it was asked for"))
    return tuple(found)


def _from_above(path: str, limits: Limits, layout: Layout) -> Iterator[Setting]:
    """What the groups above must have before: CPUs and memory nodes in v1, the controllers in v2."""
    names = path.split("/")
    above = ["/".join(names[:depth]) for depth in range(1, len(names))]
    cpuset = layout.controllers.get("cpuset")
    if cpuset and cpuset.version == 1:
        for group in above:
            for file, _, why in v1.cpuset(Limits(), ()):
                yield Setting(f"{cpuset.mountpoint}/{group}/{file}", "", why)
    asked = {*_ALWAYS, *map(_controller, limits.unified)}
    asked |= {name for name, limit in (("hugetlb", limits.hugepages), ("rdma", limits.rdma)) if limit}
    words = [f"+{name}" for name, controller in layout.controllers.items() if controller.version == 2 and name in asked]
    if words:
        for directory in [layout.unified, *(f"{layout.unified}/{group}" for group in above)]:
            yield Setting(f"{directory}/cgroup.subtree_control", " ".join(words), "the controllers that the groups below it get")


def _controller(file: str) -> str:
    return file.partition(".")[0]
