"""Names, states and what a layer says, all without a mount: layers are made by hand, with the marks that overlayfs reads."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from labkit.errors import Conflict, InvalidInput, KernelError, NotFound, Unsupported
from labkit.linux import mounts
from labkit.storage.snapshots import Change, OverlayMount, Snapshot, Snapshots

DISK = mounts.parse("1 0 8:1 / / rw - ext4 /dev/sda1 rw")[0]
OVERLAY = mounts.parse("1 0 0:1 / / rw - overlay overlay rw")[0]


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snapshots:
    """Snapshots that are nowhere mounted, so that it does not matter whether these tests run on overlayfs, as in a container."""
    monkeypatch.setattr(mounts, "holding", lambda path: DISK)
    return Snapshots(str(tmp_path / "layers"))


def fill(snapshot: Snapshot, *paths: str) -> Path:
    """Put files into a layer; a path with a slash at its end is a directory."""
    upper = Path(snapshot.upper)
    for path in paths:
        (upper / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (upper / path).mkdir(exist_ok=True)
        else:
            (upper / path).write_text(snapshot.name)
    return upper


def whiteout(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.setxattr(path, "user.overlay.whiteout", b"y")


def opaque(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    os.setxattr(path, "user.overlay.opaque", b"y")


def changes(layers: Snapshots, name: str) -> list[str]:
    return [f"{change.kind} {change.path}" for change in layers.changes(name)]


@pytest.fixture
def on_image(layers: Snapshots) -> tuple[Snapshots, Path]:
    """An active snapshot c1 on a committed image, and its upper directory."""
    fill(layers.prepare("work"), "etc/hosts", "etc/motd", "bin/sh", "dir/a", "dir/b", "dir/sub/c", "file", "empty/")
    layers.commit("work", "image")
    return layers, Path(layers.prepare("c1", "image").upper)


def test_a_prepared_snapshot_is_active_and_empty(layers: Snapshots) -> None:
    made = layers.prepare("c1")
    assert made == Snapshot("c1", None, False, f"{layers.root}/active/c1/upper") == layers.get("c1")
    assert os.listdir(made.upper) == []
    assert layers.changes("c1") == ()


def test_a_committed_snapshot_has_its_new_name_alone(layers: Snapshots) -> None:
    layers.prepare("c1")
    made = layers.commit("c1", "image")
    assert (made.name, made.committed) == ("image", True)
    assert [each.name for each in layers.list()] == ["image"]
    assert sorted(os.listdir(f"{layers.root}/committed/image")) == ["upper"]
    with pytest.raises(NotFound, match="snapshot c1: there is none"):
        layers.get("c1")


def test_a_snapshot_may_keep_its_name_when_it_is_committed(layers: Snapshots) -> None:
    layers.prepare("base")
    assert layers.commit("base", "base").committed


def test_children_know_their_parents_down_to_the_lowest(layers: Snapshots) -> None:
    parent = None
    for name in "base", "middle", "top":
        layers.prepare("work", parent)
        parent = layers.commit("work", name).name
    layers.prepare("c1", "top")
    assert [each.name for each in layers.stack("c1")] == ["c1", "top", "middle", "base"]
    assert [each.parent for each in layers.stack("c1")] == ["top", "middle", "base", None]


def test_list_has_all_by_name(layers: Snapshots) -> None:
    assert layers.list() == ()
    for name in "b", "a", "c":
        layers.prepare(name)
    layers.commit("b", "b")
    assert [(each.name, each.committed) for each in layers.list()] == [("a", False), ("b", True), ("c", False)]


def test_the_overlay_of_an_active_snapshot_can_be_written_to_and_that_of_a_committed_one_cannot(layers: Snapshots) -> None:
    root = layers.root
    layers.prepare("base")
    assert layers.overlay("base") == OverlayMount((f"{root}/empty",), f"{root}/active/base/upper", f"{root}/active/base/work")
    layers.commit("base", "image")
    assert layers.overlay("image") == OverlayMount((f"{root}/committed/image/upper", f"{root}/empty"), None, None)
    layers.prepare("c1", "image")
    assert layers.overlay("c1").lower == (f"{root}/committed/image/upper", f"{root}/empty")


def test_the_options_of_an_overlay_keep_a_layer_free_of_what_other_kernels_may_not_read() -> None:
    assert OverlayMount(("/a", "/b"), "/u", "/w").options == (
        "lowerdir=/a:/b", "upperdir=/u", "workdir=/w", "index=off", "redirect_dir=off", "metacopy=off",
    )  # fmt: skip
    assert OverlayMount(("/a", "/b"), None, None).options == ("lowerdir=/a:/b",)


def test_the_root_directory_is_that_of_the_layer_below(layers: Snapshots) -> None:
    os.chmod(layers.prepare("base").upper, 0o1770)
    layers.commit("base", "image")
    assert os.stat(layers.prepare("c1", "image").upper).st_mode & 0o7777 == 0o1770


def test_a_name_is_taken_by_either_state(layers: Snapshots) -> None:
    layers.prepare("a")
    layers.prepare("b")
    layers.commit("b", "image")
    for name in "a", "image":
        with pytest.raises(Conflict, match=f"snapshot {name}: the name is taken"):
            layers.prepare(name)
    for name in "a", "image":
        layers.prepare("c") if name == "a" else None
        with pytest.raises(Conflict, match=f"snapshot {name}: the name is taken"):
            layers.commit("c", name)
    assert [each.name for each in layers.list()] == ["a", "c", "image"]


def test_only_an_active_snapshot_can_be_committed(layers: Snapshots) -> None:
    layers.prepare("a")
    layers.commit("a", "image")
    with pytest.raises(Conflict, match="committed already"):
        layers.commit("image", "other")
    with pytest.raises(NotFound):
        layers.commit("none", "other")


def test_only_a_committed_snapshot_can_be_a_parent(layers: Snapshots) -> None:
    layers.prepare("a")
    with pytest.raises(Conflict, match="parent a: is still active"):
        layers.prepare("b", "a")
    with pytest.raises(NotFound, match="snapshot none"):
        layers.prepare("b", "none")
    assert [each.name for each in layers.list()] == ["a"]


def test_remove_deletes_a_snapshot_once_and_succeeds_twice(layers: Snapshots) -> None:
    fill(layers.prepare("a"), "etc/hosts")
    for _ in range(2):
        layers.remove("a")
    assert layers.list() == ()
    assert os.listdir(f"{layers.root}/trash") == []


def test_a_parent_cannot_be_removed_before_its_children(layers: Snapshots) -> None:
    layers.prepare("a")
    layers.commit("a", "image")
    layers.prepare("c1", "image")
    layers.prepare("c2", "image")
    with pytest.raises(Conflict, match="snapshot image: is the parent of c1, c2"):
        layers.remove("image")
    for name in "c1", "c2", "image":
        layers.remove(name)
    assert layers.list() == ()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/etc", "-a", ".a", "a b", "a\n", "a\0", "é", "a" * 129])
def test_a_name_that_could_lead_elsewhere_is_refused(layers: Snapshots, name: str) -> None:
    layers.prepare("ok")
    for attempt in (
        lambda: layers.prepare(name),
        lambda: layers.commit("ok", name),
        lambda: layers.remove(name),
        lambda: layers.get(name),
        lambda: layers.overlay(name),
    ):
        with pytest.raises(InvalidInput, match="must be 1 to 128"):
            attempt()
    assert [each.name for each in layers.list()] == ["ok"]


@pytest.mark.parametrize("name", ["c1", "sha256:0a1b", "nginx_1.25-x+y@z", "a" * 128])
def test_digests_and_container_names_are_names(layers: Snapshots, name: str) -> None:
    assert layers.prepare(name).name == name


def test_a_change_that_died_half_way_leaves_nothing_in_the_way(layers: Snapshots) -> None:
    os.makedirs(f"{layers.root}/new/upper/junk")  # a prepare
    os.makedirs(f"{layers.root}/trash/old.1.ff/upper/junk")  # a remove
    assert layers.list() == ()
    made = layers.prepare("c1")
    assert os.listdir(made.upper) == []
    layers.remove("c1")
    assert os.listdir(f"{layers.root}/trash") == []


def test_a_full_disk_is_an_error_of_the_kernels_and_leaves_no_snapshot(layers: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(KernelError, match=r"change snapshots in .*: ENOSPC"):
        layers.prepare("c1")
    assert layers.list() == ()


def test_of_many_that_prepare_the_same_name_one_succeeds(layers: Snapshots) -> None:
    results: list[str] = []

    def prepare() -> None:
        try:
            results.append(layers.prepare("c1").name)
        except Conflict:
            results.append("conflict")

    threads = [threading.Thread(target=prepare) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["c1"] + ["conflict"] * 7


def test_a_root_on_overlayfs_is_unsupported_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "holding", lambda path: OVERLAY)
    with pytest.raises(Unsupported, match=r"cannot hold an upper directory: use a tmpfs, ext4 or xfs"):
        Snapshots(str(tmp_path))


def test_a_root_that_cannot_be_made_is_an_error_of_the_kernels(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernelError, match=r"make directories in .*: ENOTDIR"):
        Snapshots(f"{tmp_path}/file/layers")


def test_a_snapshots_root_shows_in_its_repr(layers: Snapshots) -> None:
    assert repr(layers) == f"Snapshots({layers.root!r})"
    assert str(Change("added", "/etc/hosts")) == "added   /etc/hosts"


def test_all_of_a_lowest_layer_is_added(layers: Snapshots) -> None:
    fill(layers.prepare("base"), "etc/hosts", "bin/")
    assert changes(layers, "base") == ["added /bin", "added /etc", "added /etc/hosts"]


def test_a_file_that_was_copied_up_is_changed_and_its_directory_is_not(on_image: tuple[Snapshots, Path]) -> None:
    layers, upper = on_image
    (upper / "etc").mkdir()
    (upper / "etc" / "hosts").touch()
    (upper / "etc" / "new").touch()
    assert changes(layers, "c1") == ["changed /etc/hosts", "added /etc/new"]


def test_a_directory_is_changed_when_its_own_mode_or_owner_is(on_image: tuple[Snapshots, Path]) -> None:
    layers, upper = on_image
    (upper / "etc").mkdir(mode=0o700)
    assert changes(layers, "c1") == ["changed /etc"]


def test_a_whiteout_deletes_and_one_over_nothing_says_nothing(on_image: tuple[Snapshots, Path]) -> None:
    layers, upper = on_image
    whiteout(upper / "etc" / "motd")
    whiteout(upper / "dir")
    whiteout(upper / "never-was")
    assert changes(layers, "c1") == ["deleted /dir", "deleted /etc/motd"]


def test_an_opaque_directory_deletes_what_was_in_it_and_is_not_in_it_again(on_image: tuple[Snapshots, Path]) -> None:
    layers, upper = on_image
    opaque(upper / "dir")
    fill(layers.get("c1"), "dir/b", "dir/new")
    assert changes(layers, "c1") == ["deleted /dir/a", "changed /dir/b", "added /dir/new", "deleted /dir/sub"]


def test_what_became_of_another_type_is_changed(on_image: tuple[Snapshots, Path]) -> None:
    layers, upper = on_image
    (upper / "dir").touch()
    opaque(upper / "file")
    (upper / "file" / "inside").touch()
    (upper / "etc").symlink_to("/bin")
    assert changes(layers, "c1") == ["changed /dir", "changed /etc", "changed /file", "added /file/inside"]


def test_changes_are_against_all_layers_below(on_image: tuple[Snapshots, Path]) -> None:
    layers, upper = on_image
    whiteout(upper / "file")
    opaque(upper / "dir")
    layers.commit("c1", "middle")
    fill(layers.prepare("c2", "middle"), "file", "dir/a", "bin/sh", "empty/x")
    assert changes(layers, "c2") == ["changed /bin/sh", "added /dir/a", "added /empty/x", "added /file"]
    assert changes(layers, "middle") == ["deleted /dir/a", "deleted /dir/b", "deleted /dir/sub", "deleted /file"]


def test_a_link_in_a_layer_is_not_followed_out_of_it(on_image: tuple[Snapshots, Path], tmp_path: Path) -> None:
    layers, upper = on_image
    (tmp_path / "outside" / "secret").mkdir(parents=True)
    (upper / "dir").symlink_to(tmp_path / "outside")
    assert changes(layers, "c1") == ["changed /dir"]
    layers.commit("c1", "middle")
    fill(layers.prepare("c2", "middle"), "dir/secret")
    assert changes(layers, "c2") == ["changed /dir", "added /dir/secret"]
    assert {path for path in layers.providers("c2") if path.startswith("/dir")} == {"/dir", "/dir/secret"}


def test_the_topmost_layer_that_has_a_path_provides_it(on_image: tuple[Snapshots, Path]) -> None:
    layers, upper = on_image
    fill(layers.get("c1"), "etc/hosts", "new")
    whiteout(upper / "file")
    opaque(upper / "dir")
    providers = layers.providers("c1")
    assert providers == {
        "/etc": "c1", "/etc/hosts": "c1", "/etc/motd": "image", "/bin": "image", "/bin/sh": "image", "/dir": "c1", "/empty": "image",
        "/new": "c1",
    }  # fmt: skip
    assert list(providers) == sorted(providers)
