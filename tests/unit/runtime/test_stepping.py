"""What the stepper says of two observations of a container's process."""

from dataclasses import replace

from labkit.linux.capabilities import Capabilities
from labkit.linux.namespaces import Namespace
from labkit.runtime.stepping import Observation, differences

HOST = {"mnt": Namespace("mnt", 1), "uts": Namespace("uts", 2)}
INIT = Observation(
    7,
    "python3",
    HOST,
    mounts={1: ("/", "ext4 (rw)"), 2: ("/root", "ext4 (rw)"), 3: ("/root/proc", "proc (rw)")},
    links=("lo (down)",),
    hostname="lab",
    cgroup="/",
    capabilities=Capabilities(bounding=frozenset({"CAP_KILL", "CAP_CHOWN", "CAP_SYSLOG", "CAP_BPF", "CAP_MKNOD"})),
    user="0",
    cwd="/somewhere",
)


def test_nothing_changed():
    assert differences(INIT, INIT) == []


def test_of_a_newborn_its_namespaces_are_named_and_not_what_it_has_from_its_parent():
    born = replace(INIT, namespaces={**HOST, "uts": Namespace("uts", 9)}, cwd="/elsewhere")
    assert differences(replace(INIT, pid=0), born) == [
        "+ init, a copy of labkit for now: it will become the container",
        "another uts namespace: the host name and the domain name",
    ]


def test_a_new_network_namespace_shows_its_links():
    assert differences(replace(INIT, pid=0, links=("lo (up)", "eth0 (up)")), INIT)[-1] == "network is now lo (down)"


def test_a_stage_that_gave_birth_to_init_is_gone():
    assert differences(INIT, replace(INIT, pid=8)) == ["+ init; the process that it was born from has ended"]


def test_a_mount_that_came():
    more = {**INIT.mounts, 4: ("/root/dev", "tmpfs (rw)")}
    assert differences(INIT, replace(INIT, mounts=more)) == ["+ mount tmpfs on /root/dev"]


def test_a_new_mount_namespace_is_a_copy_in_which_nothing_came_or_went():
    copied = replace(INIT, namespaces={**HOST, "mnt": Namespace("mnt", 9)}, mounts={11: ("/", "ext4 (rw)")})
    assert differences(INIT, copied) == ["another mnt namespace: the mounts: which file system is where"]


def test_after_pivot_root_the_mounts_of_the_root_have_moved_and_the_hosts_are_gone():
    host = {**INIT.mounts, 5: ("/home", "ext4 (rw)")}
    pivoted = replace(INIT, mounts={2: ("/", "ext4 (rw)"), 3: ("/proc", "proc (rw)")}, cwd="/")
    assert differences(replace(INIT, mounts=host), pivoted) == [
        "2 mounts moved from /root to /",
        "− every mount of the host",
        "working directory is now /",
    ]


def test_a_mount_that_became_read_only():
    frozen = {**INIT.mounts, 3: ("/root/proc", "proc (ro)")}
    assert differences(INIT, replace(INIT, mounts=frozen)) == ["mount /root/proc is now proc (ro)"]


def test_few_capabilities_are_named_and_many_counted():
    few = replace(INIT, capabilities=Capabilities(bounding=frozenset({"CAP_KILL", "CAP_CHOWN"})))
    assert differences(INIT, few) == ["bounding set is now CHOWN, KILL"]
    assert differences(few, INIT) == ["bounding set is now 5 capabilities"]
    assert differences(few, replace(INIT, capabilities=Capabilities())) == ["bounding set is now empty"]


def test_a_control_group_that_came_and_a_file_of_it_that_was_written():
    made = replace(INIT, group_files={"labkit/c1": "there", "/sys/fs/cgroup/x/pids.max": "max"})
    assert differences(INIT, made) == ["+ control group labkit/c1"]
    limited = replace(made, group_files={**made.group_files, "/sys/fs/cgroup/x/pids.max": "20"})
    assert differences(made, limited) == ["/sys/fs/cgroup/x/pids.max is now 20"]


def test_of_a_process_that_has_ended_only_that_is_said():
    assert differences(INIT, Observation(7, "(ended)")) == ["the process has ended"]
