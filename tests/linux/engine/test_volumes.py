"""Volumes: named and anonymous, filled from the image, in use, pruned; and what an engine that was killed has left of them."""

from __future__ import annotations

import os
import re
import stat
import threading
from pathlib import Path

import pytest

from labkit.engine import commits, volume_filling
from labkit.engine.config import Config, HostConfig
from labkit.engine.engine import Engine
from labkit.engine.hostconfig import Mount, VolumeOptions
from labkit.errors import Conflict, InvalidInput, LabError, NotFound, Unsupported
from labkit.image.container_config import ContainerConfig
from tests.containers import Make, ran


def there(engine: Engine) -> list[str]:
    return [volume.Name for volume in engine.volumes.list()]


# Making


def test_a_volume_is_made_once_and_found_by_its_name(engine: Engine) -> None:
    with engine.events.subscribe(filters={"type": ("volume",)}) as events:
        made = engine.volumes.create("site", labels={"of": "web"})
        assert (next(events).Action, made.Labels, made.Driver, made.Scope) == ("create", {"of": "web"}, "local", "local")
    assert made.Mountpoint == f"{engine.root}/volumes/site/_data" and os.listdir(made.Mountpoint) == []
    assert engine.volumes.create("site", labels={"of": "other"}) == made == engine.volumes.get("site")
    assert there(engine) == ["site"]


def test_one_without_a_name_is_anonymous(engine: Engine) -> None:
    made = engine.volumes.create()
    assert re.fullmatch("[0-9a-f]{64}", made.Name) and made.anonymous and not engine.volumes.create("named").anonymous


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x", "create x: volume name is too short, names should be at least two alphanumeric characters"),
        ("a b", 'create a b: "a b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed'),
        ("../x", 'create ../x: "../x" includes invalid characters'),
        ("..", 'create ..: ".." includes invalid characters'),
        ("-x", 'create -x: "-x" includes invalid characters'),
        ("n" * 10_000, "a volume name of 10000 characters is too long"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(engine: Engine, name: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(why)):
        engine.volumes.create(name)
    with pytest.raises(NotFound, match=re.escape(f"get {name}: no such volume")):
        engine.volumes.get(name)
    assert os.listdir(engine.volumes.directory) == []


def test_drivers_and_options_that_there_are_not_are_told(engine: Engine) -> None:
    with pytest.raises(NotFound, match=r'^create site: error looking up volume plugin nfs: plugin "nfs" not found$'):
        engine.volumes.create("site", "nfs")
    with pytest.raises(Unsupported, match=r"^create site: options of a volume \(device, type\)"):
        engine.volumes.create("site", options={"type": "tmpfs", "device": "tmpfs"})


def test_of_many_who_make_one_volume_all_get_the_same(engine: Engine) -> None:
    made = []
    threads = [threading.Thread(target=lambda: made.append(engine.volumes.create("shared"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and len(set(map(str, made))) == 1


# Filling


def test_an_empty_volume_begins_with_what_the_image_has_there(engine: Engine, make: Make) -> None:
    make("true", Binds=("site:/data",))
    data = Path(engine.volumes.get("site").Mountpoint)
    assert (data / "seed").read_text() == "from the image\n"
    (data / "seed").write_text("changed")
    make("true", Binds=("site:/data",))
    make("true", Binds=("site:/bin",))
    assert os.listdir(data) == ["seed"] and (data / "seed").read_text() == "changed"


def test_owners_modes_links_and_times_come_along(engine: Engine, make: Make) -> None:
    script = "mkdir /www; cd /www; echo x > a; ln a b; ln -s a c; mkfifo d; touch -d @1000000000 a; chown -R 33:34 /www"
    box = make("sh", "-c", f"{script}; chmod 2750 /www; chmod 4711 a")
    assert ran(box) == 0
    commits.commit(box, "me/www:1")
    engine.containers.create("", Config(Image="me/www:1", Volumes={"/www": {}}), HostConfig(NetworkMode="none"))
    (name,) = there(engine)
    data = engine.volumes.get(name).Mountpoint
    top, a, b = (os.lstat(f"{data}{path}") for path in ("", "/a", "/b"))
    assert (stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid) == (0o2750, 33, 34)
    assert (stat.S_IMODE(a.st_mode), a.st_uid, a.st_mtime, a.st_ino) == (0o4711, 33, 1_000_000_000, b.st_ino)
    assert os.readlink(f"{data}/c") == "a" and stat.S_ISFIFO(os.lstat(f"{data}/d").st_mode)


def test_links_lead_to_the_images_own_directories_and_to_nothing_of_the_host(engine: Engine, make: Make, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    box = make("sh", "-c", f"ln -s /data /good; ln -s {tmp_path} /bad; ln -s ../../../../../../{tmp_path} /worse")
    assert ran(box) == 0
    commits.commit(box, "me/links:1")
    binds = ("good:/good", "bad:/bad", "worse:/worse", "file:/etc/motd", "none:/nosuch")
    engine.containers.create("", Config(Image="me/links:1"), HostConfig(NetworkMode="none", Binds=binds))
    found = {name: os.listdir(engine.volumes.get(name).Mountpoint) for name in there(engine)}
    assert found == {"good": ["seed"], "bad": [], "worse": [], "file": [], "none": []}


def test_who_wants_no_copy_gets_none(engine: Engine, make: Make) -> None:
    make("true", Binds=("one:/data:nocopy",))
    make("true", Mounts=(Mount("volume", "two", "/data", VolumeOptions=VolumeOptions(NoCopy=True, Labels={"a": "b"})),))
    assert [os.listdir(engine.volumes.get(name).Mountpoint) for name in ("one", "two")] == [[], []]
    assert engine.volumes.get("two").Labels == {"a": "b"}


# Taking away


def test_a_volume_that_a_container_has_stays(engine: Engine, make: Make) -> None:
    boxes = [make("true", Binds=("site:/data",)) for _ in range(2)]
    with pytest.raises(Conflict, match=r"^remove site: volume is in use - \[[0-9a-f]{64}, [0-9a-f]{64}\]$"):
        engine.volumes.remove("site")
    with pytest.raises(Conflict):
        engine.volumes.remove("site", force=True)
    for box in boxes:
        box.remove(volumes=True)
    assert there(engine) == ["site"]
    with engine.events.subscribe(filters={"type": ("volume",)}) as events:
        engine.volumes.remove("site")
        assert next(events).Action == "destroy"
    assert os.listdir(engine.volumes.directory) == []


def test_one_that_is_not_there_is_told_unless_forced(engine: Engine) -> None:
    with pytest.raises(NotFound, match=r"^get nosuch: no such volume$"):
        engine.volumes.remove("nosuch")
    engine.volumes.remove("nosuch", force=True)


def test_anonymous_ones_go_with_their_container_if_so_asked(engine: Engine, make: Make) -> None:
    first, second = make("true", Volumes={"/data": {}}), make("true", Volumes={"/data": {}})
    first.remove(volumes=True)
    assert there(engine) == [second.record.Mounts[0].Name]
    second.remove()
    assert len(there(engine)) == 1


def test_a_container_that_cannot_be_made_leaves_no_anonymous_volume(engine: Engine, make: Make) -> None:
    for fields in ({"VolumesFrom": ("nosuch",)}, {"Binds": ("site:/a", "other:/a")}):
        with pytest.raises(LabError):
            make("true", Volumes={"/data": {}}, **fields)
    assert [name for name in there(engine) if len(name) == 64] == []


def test_one_is_not_taken_away_under_a_container_that_is_being_made(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []

    def interfere(*_arguments: object) -> bool:
        with pytest.raises(Conflict) as failure:
            engine.volumes.remove("site")
        refused.append(str(failure.value))
        assert engine.volumes.prune(all=True).VolumesDeleted == ()
        return False

    monkeypatch.setattr(volume_filling, "copied", interfere)
    engine.containers.create("", Config(Image="busybox"), HostConfig(NetworkMode="none", Binds=("site:/data",)))
    assert refused == ["remove site: volume is in use - []"] and engine.volumes._claims == {}


def test_a_prune_takes_the_anonymous_ones_that_nobody_has(engine: Engine, make: Make) -> None:
    make("true", Volumes={"/data": {}}, Binds=("site:/home",))
    free, labelled = engine.volumes.create(), engine.volumes.create(labels={"keep": "me"})
    engine.volumes.create("named")
    Path(free.Mountpoint, "file").write_bytes(bytes(5000))
    pruned = engine.volumes.prune({"label!": ["keep=me"]})
    assert (pruned.VolumesDeleted, pruned.SpaceReclaimed) == ((free.Name,), 5000)
    assert engine.volumes.prune({"label": ["keep"]}).VolumesDeleted == (labelled.Name,)
    assert engine.volumes.prune().VolumesDeleted == ()
    assert engine.volumes.prune(all=True).VolumesDeleted == ("named",)
    assert len(there(engine)) == 2
    with pytest.raises(InvalidInput, match=r"^Invalid filter 'dangling'$"):
        engine.volumes.prune({"dangling": ["true"]})


def test_what_a_killed_engine_has_left_half_done_is_gone(engine_root: Path, tmp_path: Path) -> None:
    place = engine_root / "volumes"
    with Engine(str(engine_root), str(tmp_path / "run")) as engine:
        engine.volumes.create("whole")
    for half in (".half.new/_data", ".gone.12345678.removing/_data/deep", "whole/_data.12345678"):
        (place / half).mkdir(parents=True)
    with Engine(str(engine_root), str(tmp_path / "run")) as engine:
        assert there(engine) == ["whole"] and os.listdir(place) == ["whole"]
        assert sorted(os.listdir(place / "whole")) == ["_data", "volume.json"]
        (place / "whole/volume.json").write_text("{")
        assert there(engine) == []
        with pytest.raises(InvalidInput, match="is not JSON"):
            engine.volumes.get("whole")
        (place / "whole/volume.json").unlink()


def test_the_image_says_which_volumes_there_are(engine: Engine, make: Make) -> None:
    commits.commit(make("true"), "me/volume:1", changes=("VOLUME /data",))
    assert engine.images.get("me/volume:1").config.config.Volumes == ContainerConfig(Volumes={"/data": {}}).Volumes
    made = engine.containers.get(engine.containers.create("", Config(Image="me/volume:1"), HostConfig(NetworkMode="none")).Id)
    (point,) = made.record.Mounts
    assert point.Anonymous and engine.volumes.holders(point.Name) == (made.id,)
    assert os.listdir(engine.volumes.get(point.Name).Mountpoint) == ["seed"]
