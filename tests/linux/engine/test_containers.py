"""Containers by name and ID: making, finding, listing, renaming, changing, pruning."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path

import pytest

from labkit.engine import names
from labkit.engine.config import Config, HostConfig, LogConfig, RestartPolicy, Update
from labkit.engine.engine import Engine
from labkit.errors import Conflict, InvalidInput, NotFound
from tests.containers import Make, create_in, ran

# Making


def test_an_image_that_is_not_there_is_not_found_in_dockers_words(engine: Engine) -> None:
    with pytest.raises(NotFound, match=r"^No such image: nosuch:latest$"):
        engine.containers.create("", Config(Image="nosuch"))
    with pytest.raises(NotFound, match=r"does not match the specified platform"):
        engine.containers.create("", Config(Image="busybox"), platform="linux/s390x")
    with pytest.raises(InvalidInput, match=r"^Config cannot be empty in order to create a container$"):
        engine.containers.create("box")
    assert engine.containers.list(all=True) == []


def test_a_container_without_a_name_gets_one_and_with_one_keeps_it(make: Make) -> None:
    assert re.fullmatch(r"[a-z]+_[a-z]+\d?", make("true").name)
    assert make("true", name="/box").name == "box"


def test_a_name_is_taken_once(engine: Engine, make: Make) -> None:
    box = make("true", name="box")
    message = (
        f'Conflict. The container name "/box" is already in use by container "{box.id}".'
        " You have to remove (or rename) that container to be able to reuse that name."
    )
    with pytest.raises(Conflict, match=f"^{re.escape(message)}$"):
        make("true", name="box")
    box.remove()
    make("true", name="box")


@pytest.mark.parametrize("name", ["bad name", "x", "-x", "a/b", "ä", "a" * 10_000 + "!"])
def test_a_name_that_cannot_be_one_is_refused(make: Make, name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^Invalid container name \(.*\), only \[a-zA-Z0-9\]\[a-zA-Z0-9_.-\] are allowed$"):
        make("true", name=name)


def test_of_many_who_want_one_name_one_gets_it(engine: Engine) -> None:
    won, lost = [], []

    def want() -> None:
        try:
            won.append(create_in(engine, "true", name="wanted"))
        except Conflict as error:
            lost.append(error)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)


def test_generated_names_that_are_taken_are_not_given_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "generate", lambda attempt=0: f"one_name{attempt or ''}")
    assert [make("true").name for _ in range(3)] == ["one_name", "one_name1", "one_name2"]


def test_what_cannot_be_made_leaves_nothing(engine: Engine, make: Make) -> None:
    snapshots = {snapshot.name for snapshot in engine.store.snapshots.list()}
    for fields in ({"Memory": 1 << 20}, {"Binds": ("a:/a", "b:/a")}, {"LogConfig": LogConfig("syslog")}, {"VolumesFrom": ("nosuch",)}):
        with pytest.raises((InvalidInput, NotFound)):
            make("true", name="box", **fields)
    assert engine.containers.list(all=True) == [] and os.listdir(engine.containers.directory) == []
    assert {snapshot.name for snapshot in engine.store.snapshots.list()} == snapshots
    make("true", name="box")


def test_what_the_user_leaves_out_is_said_in_the_record(make: Make) -> None:
    box = make("true", Memory=64 << 20)
    config, host = box.record.Config, box.record.HostConfig
    assert (config.Hostname, config.Labels, config.Env) == (box.short_id, {"of": "image"}, ("FROM=image", "BOTH=image"))
    assert (host.LogConfig.Type, host.RestartPolicy.Name, host.ShmSize, host.IpcMode) == ("json-file", "no", 64 << 20, "private")


# Finding


def test_a_container_is_found_by_name_id_and_the_beginning_of_its_id(engine: Engine, make: Make) -> None:
    box, get = make("true", name="box"), engine.containers.get
    assert get("box") is get("/box") is get(box.id) is get(box.short_id) is get(box.id[:9]) is box
    other = make("true", name=box.id[:4])  # a name wins over the beginning of an ID
    assert get(box.id[:4]) is other
    for missing in ("nosuch", "", "g" * 64, "a" * 10_000):
        with pytest.raises(NotFound, match=rf"^No such container: {missing}$"):
            get(missing)


def test_a_beginning_that_several_ids_have_is_refused(engine: Engine, make: Make) -> None:
    many = [make("true") for _ in range(17)]  # there are 16 digits
    digits = [box.id[0] for box in many]
    shared = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(InvalidInput, match=f"multiple IDs found with provided prefix: {shared}"):
        engine.containers.get(shared)


def test_lists_are_of_those_that_run_the_newest_first(engine: Engine, make: Make, start: Make) -> None:
    old, running, paused, new = make("true"), start(), start(), make("true")
    paused.pause()
    assert engine.containers.list() == [paused, running]
    assert engine.containers.list(all=True) == [new, paused, running, old]
    assert engine.containers.list(limit=1) == [new]
    assert engine.containers.list(limit=3) == [new, paused, running]


def test_lists_are_filtered_as_docker_does_it(engine: Engine, make: Make, start: Make, tmp_path: Path) -> None:
    web = start(name="web", Labels={"course": "os", "unit": "6"}, Binds=("kept:/data", f"{tmp_path}:/in"), ExposedPorts={"80/tcp": {}})
    db = make("sh", "-c", "exit 3", name="db", Labels={"course": "db"})
    ran(db)
    idle = make("true", name="idle")

    def filtered(**filters: tuple[str, ...]) -> list[str]:
        return [
            box.name for box in engine.containers.list(all=True, filters={key.replace("_", "-"): value for key, value in filters.items()})
        ]

    assert filtered(name=("w",)) == ["web"]
    assert filtered(name=("^/db$", "^idle$")) == ["idle", "db"]
    assert filtered(id=(web.short_id,)) == ["web"]
    assert filtered(label=("course",)) == ["db", "web"] and filtered(label=("course=os", "unit")) == ["web"]
    assert filtered(status=("exited", "created")) == ["idle", "db"] and filtered(exited=("3",)) == ["db"]
    assert filtered(ancestor=("busybox",)) == filtered(ancestor=(web.record.Image,)) == ["idle", "db", "web"]
    assert filtered(ancestor=("nosuch",)) == []
    assert filtered(before=("db",)) == ["web"] and filtered(since=("web",)) == ["idle", "db"]
    assert filtered(volume=("kept",)) == filtered(volume=("/in",)) == ["web"]
    assert filtered(network=("none",)) == ["idle", "db", "web"] and filtered(expose=("80",)) == ["web"]
    assert filtered(health=("none",)) == ["idle", "db", "web"] and filtered(is_task=("true",)) == []
    assert [box.name for box in engine.containers.list(filters={"status": ("exited",)})] == ["db"]
    assert [box.name for box in engine.containers.list(filters={"label": ("course",)})] == ["web"]
    for wrong in ({"bogus": ("x",)}, {"status": ("bogus",)}, {"exited": ("x",)}):
        with pytest.raises(InvalidInput, match=r"^Invalid filter '"):
            engine.containers.list(filters=wrong)
    with pytest.raises(NotFound):
        engine.containers.list(filters={"before": ("nosuch",)})
    assert idle.record.Image == web.record.Image
    web.remove(force=True)
    engine.volumes.discard("kept")


def test_who_uses_an_image_is_known(engine: Engine, make: Make) -> None:
    box = make("true")
    assert engine.containers.using_image(box.record.Image) == [box]
    assert engine.containers.using_image("sha256:nosuch") == []


# Changing


def test_a_container_is_renamed_and_its_old_name_is_free(engine: Engine, make: Make) -> None:
    box = make("true", name="old")
    other = make("true", name="taken")
    with engine.events.subscribe(filters={"event": ("rename",)}) as events:
        box.rename("new")
        event = events.take(1)
    assert event and (event.Attributes["name"], event.Attributes["oldName"]) == ("new", "/old")
    assert engine.containers.get("new") is box and json.loads(Path(box.directory, "container.json").read_text())["Name"] == "new"
    make("true", name="old")
    with pytest.raises(Conflict, match=r'^Error when allocating new name: Conflict. The container name "/taken" is already in use'):
        box.rename("taken")
    with pytest.raises(InvalidInput, match="Renaming a container with the same name as its current name"):
        box.rename("/new")
    with pytest.raises(InvalidInput, match="Neither old nor new names may be empty"):
        box.rename("")
    assert (box.name, other.name) == ("new", "taken")


def test_limits_are_changed_while_it_runs_and_others_stay(engine: Engine, start: Make) -> None:
    box = start(Memory=64 << 20, MemorySwap=64 << 20, PidsLimit=20)
    assert box.update(Update(PidsLimit=30, NanoCpus=250_000_000)) == ()
    limits = box.cgroup.limits_in_force()
    assert (limits.pids, limits.memory, limits.cpu_quota) == (30, 64 << 20, 25_000)
    box.update(Update(Memory=32 << 20, MemorySwap=48 << 20))
    assert box.cgroup.limits_in_force().memory == 32 << 20
    host = box.record.HostConfig
    assert (host.Memory, host.MemorySwap, host.PidsLimit, host.NanoCpus) == (32 << 20, 48 << 20, 30, 250_000_000)


def test_limits_that_are_changed_while_it_does_not_run_hold_when_it_does(make: Make) -> None:
    box = make("sleep", "1000", PidsLimit=20)
    box.update(Update(PidsLimit=33, RestartPolicy=RestartPolicy("on-failure", 2)))
    box.start()
    assert box.cgroup.limits_in_force().pids == 33
    assert box.record.HostConfig.RestartPolicy == RestartPolicy("on-failure", 2)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Update(Memory=1 << 20), "Minimum memory limit allowed is 6MB"),
        (Update(NanoCpus=99 * 10**9), "Range of CPUs is from 0.01 to"),
        (Update(CpuQuota=5000), "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"),
        (Update(Memory=128 << 20), "Memory limit should be smaller than already set memoryswap limit"),
        (Update(RestartPolicy=RestartPolicy("sometimes")), "invalid restart policy 'sometimes'"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(make: Make, wanted: Update, message: str) -> None:
    box = make("true", Memory=64 << 20, MemorySwap=96 << 20, NanoCpus=500_000_000)
    before = box.record
    with pytest.raises(InvalidInput, match=message):
        box.update(wanted)
    assert box.record is before


def test_those_that_do_not_run_are_pruned(engine: Engine, make: Make, start: Make) -> None:
    running = start()
    kept, done = make("true", Labels={"keep": "yes"}), make("sh", "-c", "echo 12345 > /file")
    ran(done)
    assert engine.containers.prune({"until": ("1h",)}).ContainersDeleted == ()
    pruned = engine.containers.prune({"label!": ("keep",)})
    assert pruned.ContainersDeleted == (done.id,) and pruned.SpaceReclaimed == 6
    assert engine.containers.prune().ContainersDeleted == (kept.id,)
    assert engine.containers.list(all=True) == [running]
    with pytest.raises(InvalidInput, match="Invalid filter 'name'"):
        engine.containers.prune({"name": ("x",)})


def test_a_container_costs_a_few_files_and_no_copy_of_its_image(engine: Engine, make: Make) -> None:
    box = make("true")
    assert sorted(os.listdir(box.directory)) == ["container.json", "rootfs"]
    base = engine.store.snapshots.get(box.record.Snapshot).parent
    assert base and base.endswith("-init")
    assert engine.store.snapshots.get(make("true").record.Snapshot).parent == base
    assert isinstance(box.record.HostConfig, HostConfig)
