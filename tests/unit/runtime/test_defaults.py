"""``labkit.runtime.defaults``: the configuration to start from."""

from __future__ import annotations

import json
import os

import pytest

from labkit import codec
from labkit.runtime import defaults, spec


@pytest.mark.parametrize("config", [defaults.spec, defaults.rootless])
def test_the_default_passes_its_own_check_and_survives_being_written(config: object) -> None:
    mine = config()  # type: ignore[operator]
    assert codec.encode(spec.parse(defaults.text(mine))) == json.loads(defaults.text(mine))


def test_root_gets_a_read_only_shell_with_three_capabilities() -> None:
    root = defaults.spec()
    assert (root.process.args, root.root.readonly, root.process.noNewPrivileges) == (("sh",), True, True)
    assert root.process.capabilities is not None
    assert root.process.capabilities.effective == ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
    assert [namespace.type for namespace in root.linux.namespaces] == ["pid", "network", "ipc", "uts", "mount"]


def test_without_root_it_is_a_user_namespace_with_the_caller_as_root_in_it() -> None:
    rootless = defaults.rootless()
    (uids,), (gids,) = rootless.linux.uidMappings, rootless.linux.gidMappings
    assert (uids.containerID, uids.hostID, uids.size) == (0, os.geteuid(), 1)
    assert (gids.containerID, gids.hostID, gids.size) == (0, os.getegid(), 1)
    assert [namespace.type for namespace in rootless.linux.namespaces] == ["pid", "ipc", "uts", "mount", "user"]
    assert rootless.linux.resources.devices == ()
    by_destination = {mount.destination: mount for mount in rootless.mounts}
    assert by_destination["/sys"].source == "/sys" and "rbind" in by_destination["/sys"].options
    assert "gid=5" not in by_destination["/dev/pts"].options


def test_with_cgroups_of_version_2_they_have_a_namespace_too() -> None:
    made = [defaults.with_cgroup_namespace(spec) for spec in (defaults.spec(), defaults.rootless())]
    kinds = [[namespace.type for namespace in spec.linux.namespaces] for spec in made]
    assert kinds == [["pid", "network", "ipc", "uts", "mount", "cgroup"], ["pid", "ipc", "uts", "mount", "cgroup", "user"]]


def test_the_text_is_indented_with_tabs_and_keeps_every_letter() -> None:
    text = defaults.text(defaults.spec())
    assert text.startswith('{\n\t"ociVersion": "1.1.0",\n\t"process": {\n\t\t"terminal": true,')
    assert text.endswith("}\n")
