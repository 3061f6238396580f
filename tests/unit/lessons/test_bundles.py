"""A lesson's config.json: a valid one, with what was asked for."""

import pytest

from labkit.errors import InvalidInput
from labkit.lessons import config
from labkit.linux import capabilities, seccomp
from labkit.runtime import defaults
from labkit.runtime.spec import parse


def read(*args, **wanted):
    """As the runtime reads it, validation included."""
    return parse(defaults.text(config(*args, **wanted)))


def test_by_default_it_has_dockers_capabilities_and_a_root_that_may_be_written_to():
    spec = read("sh")
    assert spec.process.args == ("sh",)
    sets = spec.process.capabilities
    assert set(sets.bounding) == set(sets.effective) == set(sets.permitted) == capabilities.DEFAULT
    assert not spec.root.readonly and not spec.process.terminal
    assert spec.process.noNewPrivileges


def test_no_control_group_is_mounted_in_it_so_that_plans_are_the_same_in_both_versions():
    assert [mount.destination for mount in read("sh").mounts if "cgroup" in mount.destination] == []


def test_memory_is_limited_with_swap_and_processes_by_number():
    resources = read("sh", memory=1 << 20, pids=9).linux.resources
    assert (resources.memory.limit, resources.memory.swap, resources.pids.limit) == (1 << 20, 1 << 20, 9)
    assert read("sh").linux.resources.memory is None


def test_host_name_user_filter_and_no_capability_at_all():
    profile = seccomp.Profile("SCMP_ACT_ALLOW", syscalls=(seccomp.Rule(("mkdir",), "SCMP_ACT_ERRNO"),))
    spec = read("sh", hostname="shop", user=1000, capabilities=(), seccomp=profile)
    assert spec.hostname == "shop"
    assert (spec.process.user.uid, spec.process.user.gid) == (1000, 1000)
    assert spec.process.capabilities.bounding == ()
    assert spec.linux.seccomp == profile


def test_a_program_is_needed():
    with pytest.raises(InvalidInput, match=r"process\.args"):
        read()
