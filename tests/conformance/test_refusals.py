"""What no container can be made of is refused by ``create``, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Container

IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
LET_PASS = pytest.mark.labkit_only("runc 1.1 lets it pass")

# What is changed, what to, and the field that labkit's message starts with. runc has words of its own.
REFUSED = [
    ("process.args", [], "process.args"),
    ("process.args", "sh", "process.args"),
    ("process", None, "process"),
    ("process.cwd", "", "process.cwd"),
    ("process.cwd", "relative", "process.cwd"),
    ("process.env", ["NO-EQUALS"], "process.env[0]"),
    ("process.user.uid", "root", "process.user.uid"),
    ("process.user.uid", -1, "process.user.uid"),
    ("process.rlimits[0].type", "RLIMIT_JOY", "process.rlimits[0].type"),
    ("process.rlimits[0].soft", 4096, "process.rlimits[0].soft"),
    pytest.param("process.rlimits", [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2, "process.rlimits[1].type", marks=LET_PASS),
    ("process.oomScoreAdj", 1001, "process.oomScoreAdj"),
    ("root", None, "root"),
    ("root.path", "no/such", "root.path"),
    ("mounts[+]", {"destination": "/x", "type": "no-such-filesystem", "source": "x"}, "mount"),
    ("mounts[+]", {"destination": "/x", "source": "/no/such", "options": ["bind"]}, ""),
    pytest.param("hooks", {"createRuntime": [{"path": "relative"}]}, "hooks.createRuntime[0].path", marks=LET_PASS),
    ("hooks", {"createRuntime": [{"path": "/no/such"}]}, ""),
    ("hooks", {"createRuntime": [{"path": "/bin/false"}]}, ""),
    ("hooks", {"prestart": [{"path": "/bin/false"}]}, ""),
    ("hooks", {"createContainer": [{"path": "/bin/false"}]}, ""),
    ("linux.namespaces[0].type", "space", "linux.namespaces[0].type"),
    ("linux.namespaces[+]", {"type": "pid"}, "linux.namespaces[5].type"),
    ("linux.namespaces", [{"type": "mount"}], "hostname"),
    pytest.param("linux.uidMappings", IDS, "linux.uidMappings", marks=LET_PASS),
    ("linux.sysctl", {"vm.swappiness": "1"}, "linux.sysctl['vm.swappiness']"),
    ("linux.sysctl", {"kernel.hostname": "x"}, "linux.sysctl['kernel.hostname']"),
    ("linux.sysctl", {"net.no.such": "1"}, ""),
    ("linux.rootfsPropagation", "loud", "linux.rootfsPropagation"),
    ("linux.devices", [{"path": "/dev/x", "type": "x", "major": 1, "minor": 1}], "linux.devices[0].type"),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_SING"}, "linux.seccomp.defaultAction"),
    ("linux.resources.memory", {"limit": "64M"}, "linux.resources.memory.limit"),
    ("linux.resources.unified", {"../memory.max": "1"}, "linux.resources.unified"),
    ("linux.resources.cpu", {"cpus": "999"}, ""),
    ("linux.resources.cpu", {"quota": 1}, ""),
    ("linux.resources.memory", {"limit": 64 << 20, "swap": 32 << 20}, ""),
    ("process.selinuxLabel", "system_u:object_r:x", "process.selinuxLabel"),
    ("process.apparmorProfile", "no-such-profile", "process.apparmorProfile"),
    ("linux.mountLabel", "system_u:object_r:x", "linux.mountLabel"),
]


@pytest.mark.parametrize(("path", "value", "field"), REFUSED)
def test_a_configuration_is_refused(container: Callable[..., Container], path: str, value: object, field: str) -> None:
    box = container({path: value})
    result = box.create()
    assert result.code == 1 and result.err
    if box.runtime.name == "labkit":
        assert result.err.startswith(f"labkit: {field}")
    assert box.runtime("state", box.id).code == 1
    assert box.cgroups() == []


def test_what_is_not_json_is_refused(container: Callable[..., Container]) -> None:
    box = container()
    (box.bundle / "config.json").write_text("{")
    assert box.create().code == 1
    (box.bundle / "config.json").unlink()
    assert box.create().code == 1
    assert box.runtime("state", box.id).code == 1
