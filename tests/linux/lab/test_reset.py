"""Reset takes back what bears labkit's mark, all of it, and nothing else. (With marks of its own: see ``Marks``.)"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.errors import Conflict
from labkit.lab import mirrors, registry
from labkit.lab import reset as reset_module
from labkit.lab.reset import Marks, reset
from labkit.lessons.rootfs import busybox_root
from labkit.linux import cgroups, links, mounts, nftables, processes
from labkit.network import nat
from labkit.runtime import defaults, state


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(
        group="labkit-reset",
        link_prefix="lkreset",
        bridge="lkreset0",
        table="lkreset",
        places=(f"{tmp_path}/run", f"{tmp_path}/lib"),
        settings=f"{tmp_path}/daemon.json",
    )


def test_on_a_clean_machine_there_is_nothing_to_take_back(marks: Marks) -> None:
    assert reset(marks) == ()


def test_containers_are_deleted_whatever_state_they_are_in(marks: Marks, tmp_path: Path) -> None:
    root = f"{marks.places[0]}/runtime"
    labkit = [sys.executable, "-m", "labkit", "runtime", "--root", root]
    bundle = tmp_path / "bundle"
    busybox_root(str(bundle / "rootfs"))
    config = json.loads(defaults.text(defaults.spec()))
    config["process"].update(terminal=False, args=["sleep", "infinity"])
    (bundle / "config.json").write_text(json.dumps(config))
    for id in ("created", "running", "paused"):
        subprocess.run([*labkit, "create", "--bundle", str(bundle), id], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for command in (["start", "running"], ["start", "paused"], ["pause", "paused"]):
        subprocess.run([*labkit, *command], check=True)
    pids = [state.load(root, id).pid for id in ("created", "running", "paused")]
    assert all(map(processes.alive, pids))
    os.makedirs(f"{marks.places[0]}/lessons/01/merged")

    taken = reset(marks)

    assert {f"deleted the container {id}" for id in ("created", "running", "paused")} <= set(taken)
    assert not any(map(processes.alive, pids))
    assert not os.path.exists(marks.places[0])


def test_processes_in_the_cgroups_are_killed_and_the_groups_removed(marks: Marks) -> None:
    cgroups.create("labkit-reset/a/b")
    child = subprocess.Popen(["sleep", "infinity"])
    cgroups.open("labkit-reset/a/b").add(child.pid)
    assert reset(marks) == ("killed 1 process in the cgroup labkit-reset", "removed the cgroup labkit-reset and those below it")
    assert child.wait() == -9
    assert not any(map(os.path.isdir, cgroups.Cgroup("labkit-reset").directories))


def test_a_frozen_process_is_killed_too(marks: Marks) -> None:
    group = cgroups.create("labkit-reset/frozen")
    child = subprocess.Popen(["sleep", "infinity"])
    group.add(child.pid)
    group.freeze()
    reset(marks)
    assert child.wait() == -9


def test_mounts_are_taken_off_even_those_that_lie_on_each_other_or_are_in_use(marks: Marks) -> None:
    run = marks.places[0]
    os.makedirs(f"{run}/a")
    mounts.mount("tmpfs", f"{run}/a", "tmpfs")
    os.mkdir(f"{run}/a/b")
    mounts.mount("tmpfs", f"{run}/a/b", "tmpfs")
    mounts.mount("tmpfs", f"{run}/a/b", "tmpfs")
    with open(f"{run}/a/b/open", "w"):
        taken = reset(marks)
    assert taken == (f"unmounted {run}/a/b", f"unmounted {run}/a/b", f"unmounted {run}/a", f"removed {run}/a")
    assert not os.path.exists(run)


def test_what_a_mount_shows_is_not_deleted_with_the_directory_it_is_mounted_on(marks: Marks, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("four years")
    os.makedirs(f"{marks.places[1]}/c1")
    mounts.bind(str(precious), f"{marks.places[1]}/c1")
    reset(marks)
    assert (precious / "thesis").read_text() == "four years"


def test_a_disk_that_somebody_mounted_for_the_lab_stays_mounted(marks: Marks) -> None:
    lib = marks.places[1]
    os.makedirs(lib)
    with mounts.mounted("tmpfs", lib, "tmpfs"):
        os.makedirs(f"{lib}/registry")
        os.makedirs(f"{lib}/lessons")
        assert reset(marks) == (f"removed {lib}/lessons",)
        assert os.listdir(lib) == ["registry"]
        assert reset(marks, all=True) == (f"removed {lib}/registry",)
        assert mounts.at(lib) is not None


def test_links_are_removed_by_their_prefix_and_a_pair_is_one(marks: Marks) -> None:
    before = links.names()
    subprocess.run(["ip", "link", "add", "lkreset0", "type", "veth", "peer", "name", "lkreset1"], check=True)
    subprocess.run(["ip", "link", "add", "lkreset2", "type", "bridge"], check=True)
    either_end, bridge = reset(marks)
    assert either_end in ("removed the link lkreset0", "removed the link lkreset1")
    assert bridge == "removed the link lkreset2"
    assert links.names() == before


def test_a_network_namespace_that_is_kept_by_name_is_let_go(marks: Marks) -> None:
    name = f"{marks.places[0]}/netns/n1"
    os.makedirs(os.path.dirname(name))
    Path(name).touch()
    subprocess.run(["unshare", f"--net={name}", "true"], check=True)
    assert mounts.at(name) is not None
    reset(marks)
    assert not os.path.exists(name)


def test_what_bears_no_mark_stays(marks: Marks, tmp_path: Path) -> None:
    neighbour = tmp_path / "run-of-somebody-else"
    neighbour.mkdir()
    with mounts.mounted("tmpfs", str(neighbour), "tmpfs"):
        os.makedirs(f"{marks.places[0]}/x")
        reset(marks)
        assert mounts.at(str(neighbour)) is not None


def test_images_stay_and_what_was_being_made_of_them_goes(marks: Marks) -> None:
    lib = marks.places[1]
    for path in ("images/blobs", "build", "registry/docker", "snapshots/committed/a", "snapshots/active/b", "seed/store", "lessons/05"):
        os.makedirs(f"{lib}/{path}")
    assert reset(marks) == tuple(f"removed {lib}/{path}" for path in ("lessons", "seed", "snapshots/active/b"))
    assert sorted(os.listdir(lib)) == ["build", "images", "registry", "snapshots"]
    assert sorted(os.listdir(f"{lib}/snapshots")) == ["active", "committed"]
    assert reset(marks) == ()


def test_all_takes_images_and_settings_too(marks: Marks) -> None:
    lib = marks.places[1]
    os.makedirs(f"{lib}/images/blobs")
    os.makedirs(f"{lib}/registry/docker")
    mirrors.name("http://127.0.0.1:5000", marks.settings)
    assert reset(marks, all=True) == (f"removed {lib}/images", f"removed {lib}/registry", f"removed {marks.settings}")
    assert not os.path.exists(lib)


def test_settings_of_somebody_s_own_stay(marks: Marks) -> None:
    Path(marks.settings).write_text('{"registry-mirrors": []}')
    assert reset(marks, all=True) == ()
    assert os.path.exists(marks.settings)


def test_a_registry_that_runs_goes_on_running_and_all_stops_it(marks: Marks) -> None:
    run, lib = marks.places
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = registry.up(port, f"{run}/registry", f"{lib}/registry")
    assert reset(marks) == ()
    assert registry.running(f"{run}/registry") == server
    taken = reset(marks, all=True)
    assert taken == ("stopped the registry", f"removed {run}/registry", f"removed {lib}/registry")
    assert not processes.alive(server.pid, server.start_time)


def test_nothing_is_taken_from_a_pull_that_is_under_way(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reset_module, "_PATIENCE", 0.0)
    os.makedirs(f"{marks.places[1]}/snapshots/active/b")
    with open(f"{marks.places[1]}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="another labkit is busy with images"):
            reset(marks)
    assert os.path.exists(f"{marks.places[1]}/snapshots/active/b")


def test_twice_is_as_good_as_once(marks: Marks) -> None:
    os.makedirs(f"{marks.places[0]}/x")
    assert reset(marks) == (f"removed {marks.places[0]}/x",)
    assert reset(marks) == ()


def test_it_does_not_kill_the_process_that_runs_it(marks: Marks) -> None:
    group = cgroups.create("labkit-reset/self")
    child = os.fork()
    if child == 0:
        group.add()
        try:
            reset(marks)
        except Conflict:
            os._exit(42)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert processes.exit_code(status) == 42
    reset(marks)


@pytest.mark.skipif(not nftables.available(), reason="nft is not installed")
def test_tables_of_the_firewall_are_removed_and_those_of_others_stay(marks: Marks) -> None:
    for table in ("lkreset", "lkreset_second", "lkresetters"):
        nftables.run([{"add": {"table": {"family": "inet", "name": table}}}])
    try:
        assert set(reset(marks)) == {f"removed the table {table} of the firewall" for table in ("lkreset", "lkreset_second")}
        assert "lkresetters" in nat.tables()
    finally:
        nat.remove("lkresetters")
