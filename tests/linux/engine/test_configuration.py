"""What a container gets unasked, and what it gets when it asks: seen from inside."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.engine.config import Device, LogConfig, Mount, Ulimit
from labkit.engine.engine import Engine
from labkit.engine.hostconfig import BindOptions, VolumeOptions
from labkit.errors import Conflict, InvalidInput, LabError, NotFound
from labkit.linux import capabilities, mounts
from tests.containers import SECONDS, Make, ran, said

Run = Callable[..., tuple[int, str]]
Out = Callable[..., str]

SETS = "while read name value; do case $name in Cap*|NoNewPrivs:|Seccomp:) echo $name $value;; esac; done < /proc/self/status"


def sets(text: str) -> dict[str, int]:
    return {name.rstrip(":"): int(value, 16) for name, value in (line.split() for line in text.splitlines())}


# Who it is


def test_its_name_is_the_beginning_of_its_id_in_every_place(make: Make) -> None:
    box = make("sh", "-c", "hostname; cat /etc/hostname; echo $HOSTNAME; head -1 /etc/hosts")
    assert ran(box) == 0
    assert said(box).split("\n")[:4] == [box.short_id] * 3 + ["127.0.0.1\tlocalhost"]


def test_a_host_name_and_more_hosts_can_be_asked_for(out: Out) -> None:
    text = out(
        "hostname; cat /etc/hosts /etc/resolv.conf", Hostname="web", ExtraHosts=("db:10.0.0.7",), Dns=("9.9.9.9",), DnsSearch=("lab",)
    )
    assert text.startswith("web\n") and "10.0.0.7\tdb\n" in text
    assert "nameserver 9.9.9.9\nsearch lab" in text and text.count("nameserver") == 1


def test_its_three_files_of_etc_are_its_own_to_edit_and_in_no_layer(engine: Engine, make: Make) -> None:
    box = make("sh", "-c", "cat /etc/hosts | tail -1; echo 10.0.0.8 mine >> /etc/hosts")
    assert ran(box) == 0 and ran(box) == 0
    assert said(box).splitlines()[-1] == "10.0.0.8 mine"
    assert engine.store.snapshots.changes(box.record.Snapshot) == ()


def test_the_environment_is_dockers_then_the_images_then_the_users(out: Out) -> None:
    text = out("env", Env=("BOTH=user", "MINE=1"), Hostname="web")
    lines = {line for line in text.splitlines() if not line.startswith(("SHLVL", "PWD"))}
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert lines == {path, "HOSTNAME=web", "HOME=/root", "FROM=image", "BOTH=user", "MINE=1"}


def test_command_entry_point_and_directory_are_what_was_asked_for(make: Make) -> None:
    box = make("two", "three", Entrypoint=("echo", "one"))
    assert (ran(box), said(box), box.record.path, box.record.args) == (0, "one two three\n", "echo", ("one", "two", "three"))
    box = make("pwd", WorkingDir="/made/for/it")
    assert (ran(box), said(box)) == (0, "/made/for/it\n")


@pytest.mark.parametrize(
    ("user", "seen"),
    [
        ("", "uid=0(root) gid=0(root) groups=0(root),4(adm)"),
        ("www", "uid=33(www) gid=34(web) groups=4(adm),34(web)"),
        ("33", "uid=33(www) gid=34(web) groups=4(adm),34(web)"),
        ("www:staff", "uid=33(www) gid=50(staff) groups=50(staff)"),
        ("1234", "uid=1234 gid=0(root) groups=0(root)"),
        ("1234:5678", "uid=1234 gid=5678 groups=5678"),
    ],
)
def test_users_are_those_of_the_image(out: Out, user: str, seen: str) -> None:
    assert out("id", User=user) == seen


def test_more_groups_can_be_asked_for(out: Out) -> None:
    assert set(out("id -G", User="www", GroupAdd=("staff", "777")).split()) == {"34", "4", "50", "777"}


def test_a_user_that_the_image_does_not_know_is_told(make: Make) -> None:
    with pytest.raises(LabError, match="unable to find user nosuch: no matching entries in passwd file"):
        make("true", User="nosuch").start()
    with pytest.raises(LabError, match="unable to find group nosuch: no matching entries in group file"):
        make("true", User="www:nosuch").start()


def test_a_user_who_came_into_being_in_the_container_is_found_at_its_next_start(make: Make) -> None:
    box = make("sh", "-c", "echo 'new:x:77:88::/:/bin/sh' >> /etc/passwd; id -u")
    assert ran(box) == 0
    box.save(Config=type(box.record.Config)(**{**vars(box.record.Config), "User": "new"}))
    assert ran(box) == 0
    lines = said(box).splitlines()
    assert lines[0] == "0" and "77" in lines


# What it may do


def test_it_has_dockers_fourteen_capabilities_and_its_filter(out: Out) -> None:
    have = sets(out(SETS))
    ours = capabilities.of().bounding
    assert have["CapBnd"] == have["CapEff"] == have["CapPrm"] == capabilities.mask(capabilities.DEFAULT & ours)
    assert (have["CapInh"], have["CapAmb"], have["NoNewPrivs"], have["Seccomp"]) == (0, 0, 0, 2)


def test_capabilities_are_added_and_dropped(out: Out) -> None:
    have = sets(out(SETS, CapDrop=("ALL",), CapAdd=("kill", "CAP_CHOWN")))
    assert have["CapBnd"] == capabilities.mask(("CAP_KILL", "CAP_CHOWN"))
    have = sets(out(SETS, CapAdd=("ALL",), CapDrop=("MKNOD",), SecurityOpt=("no-new-privileges", "seccomp=unconfined")))
    assert have["CapBnd"] == capabilities.mask(capabilities.of().bounding - {"CAP_MKNOD"})
    assert (have["NoNewPrivs"], have["Seccomp"]) == (1, 0)


def test_a_privileged_one_has_all_that_we_have(out: Out) -> None:
    text = out(
        f"{SETS}; test -c /dev/kmsg || test -c /dev/fuse && echo device 1; : > /proc/sys/vm/overcommit_memory && echo sys 1",
        Privileged=True,
    )
    have = sets(text)
    assert have["CapEff"] == capabilities.mask(capabilities.of().bounding)
    assert (have["Seccomp"], have["device"], have["sys"]) == (0, 1, 1)


def test_a_filter_of_the_users_own_is_loaded(run: Run) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    code, text = run("mkdir /new", SecurityOpt=(f"seccomp={profile}",))
    assert code == 1 and "Permission denied" in text


def test_paths_of_the_kernels_are_hidden_or_read_only_unless_asked_otherwise(out: Out) -> None:
    script = (
        "for f in /proc/keys /proc/timer_list; do test -s $f && echo seen; done; echo > /proc/sys/kernel/core_pattern || echo read-only"
    )
    assert out(f"({script}) 2>/dev/null") == "read-only"
    assert out("cat /data/seed | wc -c", MaskedPaths=("/data/seed",), ReadonlyPaths=()) == "0"


# What it sees


def test_it_sees_itself_as_process_1_and_no_other(out: Out) -> None:
    assert out("echo $$; ps -o pid | wc -l").split()[0] == "1"
    assert out("ls /sys/class/net; cat /proc/net/dev | wc -l").split() == ["lo", "3"]


def test_init_reaps_for_it(out: Out) -> None:
    if not any(os.path.exists(path) for path in ("/usr/bin/docker-init", "/usr/bin/tini-static")):
        pytest.skip("neither docker-init nor tini-static is installed")
    assert out("echo $$; head -1 /proc/1/cmdline | tr '\\0' ' '", Init=True).split()[1].endswith("docker-init")


def test_namespaces_are_the_hosts_where_that_is_asked_for(out: Out) -> None:
    script = "for kind in pid ipc uts net; do readlink /proc/self/ns/$kind; done"
    host = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "ipc", "uts", "net")]
    seen = out(script, PidMode="host", IpcMode="host", UTSMode="host", NetworkMode="host").split()
    assert seen == host
    assert not set(out(script).split()) & set(host)


def test_namespaces_are_shared_with_another_container(start: Make, out: Out) -> None:
    first = start("sh", "-c", "echo shared > /dev/shm/note; exec sleep 1000", name="first", Hostname="shared", IpcMode="shareable")
    script = "hostname; ps | grep -c 'sleep [1]000'; cat /dev/shm/note; ls /proc/1/root >/dev/null; head -1 /etc/hostname"
    joined = {"PidMode": "container:first", "IpcMode": f"container:{first.id}", "NetworkMode": "container:first"}
    assert out(script, **joined).split("\n")[:3] == ["shared", "1", "shared"]
    first.remove(force=True)


def test_one_who_would_join_what_does_not_run_or_does_not_share_is_told(make: Make, start: Make) -> None:
    stopped, private = make("true", name="stopped"), start(name="private")
    with pytest.raises(Conflict, match=f"cannot join network of a non running container: {stopped.id}"):
        make("true", NetworkMode="container:stopped").start()
    shared = ({"PidMode": "container:nosuch"}, {"IpcMode": "container:nosuch"})
    for fields in (*shared, {"Links": ("nosuch:x",)}, {"VolumesFrom": ("nosuch",)}):
        with pytest.raises(InvalidInput, match="No such container: nosuch"):  # no NotFound: a client would pull the image
            make("true", **fields)
    with pytest.raises(NotFound, match="No such container: nosuch"):
        make("true", NetworkMode="container:nosuch").start()
    with pytest.raises(InvalidInput, match=f"cannot join IPC of container {private.id}: non-shareable IPC"):
        make("true", IpcMode="container:private").start()


def test_shared_memory_that_was_mounted_for_it_is_gone_when_it_ends(make: Make) -> None:
    box = make("sh", "-c", "df -k /dev/shm | tail -1", IpcMode="shareable", ShmSize=8 << 20)
    assert ran(box) == 0 and "8192" in said(box)
    assert not os.path.ismount(f"{box.directory}/shm")


def test_the_size_of_shared_memory_is_64_megabytes_or_what_was_asked_for(out: Out) -> None:
    assert "65536" in out("df -k /dev/shm | tail -1")
    assert "8192" in out("df -k /dev/shm | tail -1", ShmSize=8 << 20)


# Limits


def test_limits_of_the_group_and_of_each_process_are_in_force(start: Make, out: Out) -> None:
    box = start(Memory=64 << 20, NanoCpus=500_000_000, PidsLimit=20, CpuShares=512, CpusetCpus="0")
    limits = box.cgroup.limits_in_force()
    assert (limits.memory, limits.pids, limits.cpu_quota, limits.cpu_period, limits.cpus) == (64 << 20, 20, 50_000, 100_000, "0")
    assert box.record.HostConfig.MemorySwap in (0, 128 << 20)
    script = "ulimit -n; cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj"
    text = out(script, Ulimits=(Ulimit("nofile", 77, 88),), Sysctls={"net.ipv4.ip_forward": "1"}, OomScoreAdj=321)
    assert text.split() == ["77", "1", "321"]


def test_devices_are_those_that_were_asked_for(run: Run) -> None:
    code, text = run("ls -l /dev/mine; head -c 1 /dev/mine | wc -c", Devices=(Device("/dev/zero", "/dev/mine", "r"),))
    assert code == 0 and text.split()[-1] == "1"
    assert run("echo x > /dev/other", Devices=(Device("/dev/null", "/dev/other", "r"),))[0] != 0 or os.geteuid() == 0


def test_a_device_that_is_none_is_told(make: Make, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match='gathering device information while adding custom device "/dev/nosuch": no such file or directory'):
        make("true", Devices=(Device("/dev/nosuch"),)).start()
    with pytest.raises(InvalidInput, match="not a device node"):
        make("true", Devices=(Device("/etc/passwd"),)).start()


# Files


def test_a_read_only_root_can_still_be_written_where_something_is_mounted(out: Out) -> None:
    script = "for f in /new /scratch/new /tmp/new; do (echo > $f) 2>/dev/null && echo $f; done; mount | grep /scratch"
    text = out(script, ReadonlyRootfs=True, Tmpfs={"/scratch": "size=1m,mode=700"})
    assert text.startswith("/scratch/new\n") and "nosuid,nodev,noexec" in text and "size=1024k" in text and "mode=700" in text


def test_binds_show_the_hosts_files(out: Out, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    script = "cat /in/file; (echo x > /in/new) 2>/dev/null || echo no; echo y > /out/new; cat /one"
    binds = (f"{tmp_path}:/in:ro", f"{tmp_path}/made/for/it:/out", f"{tmp_path}/file:/one")
    assert out(script, Binds=binds).split("\n") == ["from the host", "no", "from the host"]
    assert (tmp_path / "made/for/it/new").read_text() == "y\n"


def test_a_bind_that_is_said_in_full_wants_its_source_to_be_there(make: Make, out: Out, tmp_path: Path) -> None:
    assert out("test -d /data && echo yes", Mounts=(Mount("bind", str(tmp_path), "/data", True),)) == "yes"
    message = f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}/nosuch'
    with pytest.raises(InvalidInput, match=message):
        make("true", Mounts=(Mount("bind", f"{tmp_path}/nosuch", "/data"),))


def test_a_volume_outlives_its_container_and_begins_with_what_the_image_has_there(engine: Engine, make: Make, out: Out) -> None:
    assert out("cat /data/seed; echo more > /data/more", Binds=("kept:/data",)) == "from the image"
    assert out("cat /elsewhere/seed /elsewhere/more", Mounts=(Mount("volume", "kept", "/elsewhere"),)) == "from the image\nmore"
    box = make("true", Binds=("kept:/data:ro",))
    point = box.record.Mounts[0]
    assert (point.Type, point.Name, point.Destination, point.RW) == ("volume", "kept", "/data", False)
    assert engine.containers.using_volume("kept") == [box]
    box.remove(volumes=True)
    assert engine.volumes.get("kept").Name == "kept"
    engine.volumes.discard("kept")


def test_anonymous_volumes_go_with_their_container_if_they_are_told_to(engine: Engine, make: Make) -> None:
    kept, going = make("true", Volumes={"/data": {}}), make("true", Volumes={"/data": {}})
    names = [box.record.Mounts[0].Name for box in (kept, going)]
    assert all(len(name) == 64 for name in names)
    kept.remove()
    going.remove(volumes=True)
    assert engine.volumes.get(names[0]).Name == names[0]
    with pytest.raises(NotFound):
        engine.volumes.get(names[1])
    engine.volumes.discard(names[0])


def test_volumes_of_another_container_can_be_had(make: Make, out: Out) -> None:
    make("true", name="owner", Volumes={"/data": {}})
    assert out("cat /data/seed; (echo x > /data/x) 2>/dev/null || echo no", VolumesFrom=("owner:ro",)) == "from the image\nno"


def test_what_it_writes_is_in_its_own_layer_and_what_is_mounted_is_not(engine: Engine, make: Make) -> None:
    box = make("sh", "-c", "echo x > /new; rm /etc/motd; echo y > /dev/shm/y", Tmpfs={"/scratch": ""})
    assert ran(box) == 0
    changes = [str(change) for change in engine.store.snapshots.changes(box.record.Snapshot)]
    assert "added   /new" in changes and "deleted /etc/motd" in changes
    assert not [change for change in changes if "/dev" in change or "/proc" in change or "hosts" in change]


def test_the_log_is_written_unless_nobody_wants_one(make: Make) -> None:
    quiet = make("echo", "hello", LogConfig=LogConfig("none"))
    assert ran(quiet) == 0 and quiet.log_path == "" and not [name for name in os.listdir(quiet.directory) if "log" in name]


def test_its_configuration_is_a_bundle_that_the_runtime_reads(make: Make) -> None:
    from labkit import runtime

    box = make("true")
    ran(box)
    assert "execve true" in str(runtime.plan(box.directory))
    assert stat.S_IMODE(os.stat(box.directory).st_mode) == 0o710


def test_a_terminal_is_one(make: Make) -> None:
    box = make("sh", "-c", "tty; test -t 0 && test -t 2 && echo yes; echo $TERM", Tty=True)
    ended = box.wait("next-exit")
    box.start()
    assert ended.result(SECONDS).StatusCode == 0
    assert said(box).split() == ["/dev/pts/0", "yes", "xterm"]


def test_what_the_user_mounts_wins_over_the_images_volumes_and_those_of_others(make: Make, out: Out, tmp_path: Path) -> None:
    (tmp_path / "seed").write_text("mine\n")
    make("true", name="owner", Volumes={"/data": {}, "/other": {}})
    bind = (f"{tmp_path}:/data",)
    assert out("cat /data/seed; test -d /other && echo other", Binds=bind, Volumes={"/data": {}}, VolumesFrom=("owner",)) == "mine\nother"
    with pytest.raises(InvalidInput, match="Duplicate mount point: /data"):
        make("true", Binds=bind, Tmpfs={"/data/": ""})


def test_labels_of_a_volume_that_is_made_are_kept(engine: Engine, make: Make) -> None:
    options = VolumeOptions(NoCopy=True, Labels={"course": "os"})
    box = make("ls", "/data", Mounts=(Mount("volume", "labelled", "/data", VolumeOptions=options),))
    assert (ran(box), said(box)) == (0, "")
    assert engine.volumes.get("labelled").Labels == {"course": "os"}
    box.remove()
    engine.volumes.discard("labelled")


def test_a_bind_shows_what_is_mounted_below_it_unless_it_shall_not(out: Out, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    mounts.mount("tmpfs", f"{tmp_path}/below", "tmpfs", ())
    try:
        (tmp_path / "below/file").touch()
        both, alone = (Mount("bind", str(tmp_path), "/in", BindOptions=BindOptions(NonRecursive=alone)) for alone in (False, True))
        assert out("ls /in/below", Mounts=(both,)) == "file"
        assert out("ls /in/below", Mounts=(alone,)) == ""
    finally:
        mounts.unmount(f"{tmp_path}/below")
