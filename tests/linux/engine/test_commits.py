"""docker commit: files, configuration and history of the image that a container becomes."""

from __future__ import annotations

import os

import pytest

from labkit.engine import commits, files
from labkit.engine.config import Config
from labkit.engine.container import Container
from labkit.engine.engine import Engine
from labkit.errors import Conflict, InvalidInput, NotFound
from labkit.linux import overlays
from tests.container_files import archive, until_said
from tests.containers import Make, ran, said


@pytest.fixture
def written(start: Make) -> Container:
    """A container that has added, changed and deleted, and runs."""
    script = "echo x > /new; chown 33:34 /new; echo y > /etc/motd; rm -r /data; rm /etc/passwd; mkdir /etc/passwd; touch /vol/no"
    box = start("sh", "-c", f"{script}; echo ready; sleep 1000", name="box", Binds=("vol:/vol",), Env=("OF=container",), WorkingDir="/tmp")
    until_said(box, "ready")
    return box


def ran_in(engine: Engine, image: str, script: str) -> str:
    made = engine.containers.get(engine.containers.create("", Config(Image=image, Cmd=("sh", "-c", script))).Id)
    assert ran(made) == 0, said(made)
    return said(made)


def test_what_the_container_has_written_is_in_the_image_and_what_it_deleted_is_not(engine: Engine, written: Container) -> None:
    image = commits.commit(written, "me/web:v2")
    assert str(image.names[0]) == "docker.io/me/web:v2" and engine.images.get("me/web:v2").id == image.id
    script = "cat /new /etc/motd; stat -c %u:%g /new; ls -d /data /etc/passwd /vol/no 2>&1 | grep -v No; ls /vol"
    assert ran_in(engine, "me/web:v2", script) == "x\ny\n33:34\n/etc/passwd\n"
    assert written.state.Status == "running" and not written.cgroup.frozen


def test_it_stands_on_the_layers_of_the_containers_image(engine: Engine, written: Container) -> None:
    base, image = engine.images.get("busybox"), commits.commit(written)
    assert image.manifest.layers[:-1] == base.manifest.layers and image.config.rootfs.diff_ids[:-1] == base.config.rootfs.diff_ids
    upper = engine.store.layers.get(image.chain_ids[-1]).upper
    assert overlays.is_whiteout(f"{upper}/data") and not os.path.lexists(f"{upper}/dev") and not os.path.lexists(f"{upper}/etc/hosts")


def test_configuration_is_the_containers_with_changes(engine: Engine, written: Container) -> None:
    changes = ('CMD ["x", "y"]', "ENV A=1", "LABEL k=v", "EXPOSE 80", "USER www", "ONBUILD RUN z", "WORKDIR /srv")
    config = commits.commit(written, changes=changes).config.config
    assert config.Cmd == ("x", "y") and config.Entrypoint == () and config.User == "www" and config.WorkingDir == "/srv"
    assert config.Env == ("OF=container", "FROM=image", "BOTH=image", "A=1")
    assert config.Labels == {"of": "image", "k": "v"} and config.ExposedPorts == {"80/tcp": {}} and config.OnBuild == ("RUN z",)


def test_what_is_not_changed_is_the_containers(engine: Engine, written: Container) -> None:
    config = commits.commit(written).config.config
    assert config.Cmd == written.record.Config.Cmd and config.WorkingDir == "/tmp" and config.Env == written.record.Config.Env
    config = commits.commit(written, config=Config(User="www", Cmd=("other",))).config.config
    assert (config.User, config.Cmd, config.WorkingDir) == ("www", ("other",), "/tmp")
    config = commits.commit(written, changes=('ENTRYPOINT ["run"]',)).config.config
    assert (config.Entrypoint, config.Cmd) == (("run",), ())


def test_the_history_tells_who_and_why(engine: Engine, written: Container) -> None:
    image = commits.commit(written, author="student", message="by hand")
    last = image.config.history[-1]
    assert (last.author, last.comment, last.empty_layer, image.config.author) == ("student", "by hand", False, "student")
    assert last.created_by == " ".join(written.record.Config.Cmd or ()) and last.created == image.config.created
    assert image.config.history[:-1] == engine.images.get("busybox").config.history


def test_a_container_that_wrote_nothing_adds_no_layer(engine: Engine, make: Make) -> None:
    box = make("true")
    image = commits.commit(box)
    assert image.manifest.layers == engine.images.get("busybox").manifest.layers
    assert image.config.history[-1].empty_layer and image.names == ()


def test_an_image_of_an_image_of_a_container(engine: Engine, make: Make) -> None:
    name = "busybox"
    for number in range(3):
        box = engine.containers.get(engine.containers.create("", Config(Image=name, Cmd=("true",))).Id)
        files.put_archive(box, "/", archive((f"file-{number}", f"{number}\n")))
        name = f"me/image:{number}"
        commits.commit(box, name)
    assert ran_in(engine, name, "cat /file-*") == "0\n1\n2\n"


def test_it_stands_still_meanwhile_unless_that_is_not_wanted(engine: Engine, written: Container) -> None:
    def told(**wanted: bool) -> list[str]:
        with engine.events.subscribe(filters={"type": ("container",)}) as events:
            commits.commit(written, **wanted)
            actions = []
            while "commit" not in actions:
                actions.append(next(events).Action)
            return actions

    assert told() == ["pause", "unpause", "commit"]
    assert told(pause=False) == ["commit"]
    written.pause()
    assert told() == ["commit"] and written.state.paused
    written.unpause()


def test_what_cannot_be_committed_is_told_and_leaves_nothing(engine: Engine, written: Container) -> None:
    blobs = set(engine.store.blobs.list())
    for changes, why in ((("RUN x",), "RUN is not a valid change command"), (("FOO x",), "FOO"), (("ENV",), "ENV")):
        with pytest.raises(InvalidInput, match=why):
            commits.commit(written, changes=changes)
    with pytest.raises(InvalidInput, match="must be lowercase"):
        commits.commit(written, "BAD:x")
    assert set(engine.store.blobs.list()) == blobs and written.state.Status == "running"
    written.remove(force=True)
    with pytest.raises((Conflict, NotFound)):
        commits.commit(written)


def test_what_is_removed_frees_the_disk_once_no_container_stands_on_it(engine: Engine, make: Make) -> None:
    box = make("true")
    files.put_archive(box, "/", archive(("big", os.urandom(1 << 20))))
    image = commits.commit(box, "me/big:1")
    child = engine.containers.get(engine.containers.create("", Config(Image="me/big:1", Cmd=("true",))).Id)
    engine.images.remove(image.id, force=True)
    assert engine.store.layers.has(image.chain_ids[-1]) and ran(child) == 0
    child.remove()
    engine.images.prune()
    assert not engine.store.layers.has(image.chain_ids[-1])
    assert not any(snapshot.parent == image.chain_ids[-1] for snapshot in engine.store.snapshots.list())
