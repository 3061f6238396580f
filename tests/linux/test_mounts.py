from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import KernelError, Unsupported
from labkit.linux import mounts, namespaces, overlays, syscalls

InScratch = Callable[[Callable[[Path], None]], None]


@pytest.fixture
def in_scratch(in_child: Callable[[Callable[[], Any]], Any], tmp_path: Path) -> InScratch:
    """Call a function in a child with a mount namespace of its own and a fresh tmpfs, whose path it is given."""

    def call(function: Callable[[Path], None]) -> None:
        def child() -> None:
            namespaces.unshare("mnt")
            mounts.make_private()
            mounts.mount("tmpfs", str(tmp_path), "tmpfs", ["size=8m"])
            function(tmp_path)

        in_child(child)

    return call


def options(path: Path) -> tuple[str, ...]:
    mount = mounts.at(str(path))
    assert mount is not None
    return mount.options


def directories(parent: Path, *names: str) -> list[str]:
    for name in names:
        (parent / name).mkdir(parents=True)
    return [str(parent / name) for name in names]


def test_mount_gives_options_to_the_mount_and_to_the_file_system(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        mounts.mount("mine", str(scratch), "tmpfs", ["nosuid", "noexec", "mode=700", "size=64k"])
        mount = mounts.at(str(scratch))
        assert mount is not None
        assert (mount.source, mount.fstype) == ("mine", "tmpfs")
        assert {"nosuid", "noexec"} <= set(mount.options)
        assert {"mode=700", "size=64k"} <= set(mount.super_options)

    in_scratch(scene)


def test_a_bind_shows_the_same_files_and_a_readonly_one_refuses_writes(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        source, here, there = directories(scratch, "source", "here", "there")
        mounts.bind(source, here)
        mounts.bind(source, there, readonly=True)
        Path(here, "file").write_text("seen twice")
        assert Path(there, "file").read_text() == "seen twice"
        with pytest.raises(OSError, match="Read-only") as caught:
            Path(there, "other").touch()
        assert caught.value.errno == errno.EROFS

    in_scratch(scene)


def test_a_recursive_bind_takes_the_mounts_below_along_and_rro_protects_them_all(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        _, plain, flat, ro, rro = directories(scratch, "source/below", "plain", "flat", "ro", "rro")
        source = str(scratch / "source")
        mounts.mount("tmpfs", f"{source}/below", "tmpfs")
        mounts.bind(source, plain)
        mounts.bind(source, flat, recursive=False)
        mounts.bind(source, ro, readonly=True)
        mounts.mount(source, rro, None, ["rbind", "rro"])
        assert mounts.at(f"{plain}/below") is not None
        assert mounts.at(f"{flat}/below") is None
        assert ["ro" in options(Path(ro, below)) for below in (".", "below")] == [True, False]
        assert ["ro" in options(Path(rro, below)) for below in (".", "below")] == [True, True]

    in_scratch(scene)


def test_remount_readonly_keeps_the_other_flags_and_leaves_other_mounts_alone(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        source, target = directories(scratch, "source", "target")
        mounts.mount(source, target, "bind", ["nosuid", "nodev"])
        mounts.remount_readonly(target)
        assert {"ro", "nosuid", "nodev"} <= set(options(Path(target)))
        assert "rw" in options(scratch)
        with pytest.raises(KernelError, match="not a mount point"):
            mounts.remount_readonly(source)
        with pytest.raises(KernelError, match="ENOENT"):
            mounts.remount_readonly(f"{source}/none")

    in_scratch(scene)


def test_what_a_user_namespace_may_not_clear_it_keeps(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        source, target = directories(scratch, "source", "target")
        mounts.mount("tmpfs", source, "tmpfs", ["nosuid", "nodev"])
        namespaces.unshare("user", "mnt")  # all mounts of before are locked now
        mounts.bind(source, target, readonly=True)
        assert {"ro", "nosuid", "nodev"} <= set(options(Path(target)))
        with pytest.raises(KernelError, match="locked"):
            mounts.unmount(source)

    in_scratch(scene)


def test_tmpcopyup_starts_with_what_it_covers(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        (target,) = directories(scratch, "etc")
        file = Path(target, "sub", "file")
        file.parent.mkdir(mode=0o700)
        file.write_text("content")
        os.chown(file, 12, 34)
        Path(target, "link").symlink_to("sub/file")
        mounts.mount("tmpfs", target, "tmpfs", ["tmpcopyup", "ro"])
        mount = mounts.at(target)
        assert mount is not None and mount.fstype == "tmpfs" and mount.readonly
        assert (file.read_text(), file.stat().st_uid, file.stat().st_gid) == ("content", 12, 34)
        assert file.parent.stat().st_mode & 0o777 == 0o700
        assert os.readlink(Path(target, "link")) == "sub/file"

    in_scratch(scene)


def test_below_a_root_mount_points_are_made_and_links_do_not_lead_out(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        root, outside = (Path(path) for path in directories(scratch, "root", "outside"))
        (root / "link").symlink_to(outside)
        source = scratch / "file"
        source.write_text("bound")
        mounts.mount("tmpfs", "/link/data", "tmpfs", ["rslave"], root=str(root))
        mounts.mount(str(source), "/etc/conf/file", "bind", ["ro"], root=str(root))
        mounts.mount("tmpfs", "/up", "tmpfs", ["tmpcopyup"], root=str(root))
        below = f"{root}{outside}/data"
        assert mounts.at(below) is not None
        assert list(outside.iterdir()) == []
        assert (root / "etc" / "conf" / "file").read_text() == "bound"
        assert "ro" in options(root / "etc" / "conf" / "file")
        assert mounts.at(str(root / "up")) is not None
        with pytest.raises(KernelError, match="ENOENT"):
            mounts.bind("/no/such", "/never", root=str(root))
        assert not (root / "never").exists()

    in_scratch(scene)


def test_an_unknown_file_system_is_unsupported_and_an_unknown_option_is_named(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        with pytest.raises(Unsupported, match="no file system nofs"):
            mounts.mount("x", str(scratch), "nofs")
        with pytest.raises(KernelError, match="bogus=3 unknown to tmpfs"):
            mounts.mount("x", str(scratch), "tmpfs", ["bogus=3"])

    in_scratch(scene)


def test_without_root_the_error_says_so(in_child: Callable[[Callable[[], None]], None]) -> None:
    def scene() -> None:
        os.setuid(65534)
        for attempt in (
            lambda: mounts.mount("tmpfs", "/tmp", "tmpfs"),
            lambda: mounts.unmount("/proc"),
            lambda: mounts.overlay(["/etc", "/usr"], None, None, "/tmp"),
        ):
            with pytest.raises(KernelError, match=r"EPERM \(.*takes root"):
                attempt()

    in_child(scene)


def test_overlay_stacks_layers_and_writes_to_the_upper_alone(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        # Names with all that overlayfs's options give a meaning to.
        top, bottom, upper, work, target = directories(scratch, "top:1", "bottom,2", "up\\,p:er", "wo:rk", "target")
        Path(top, "name").write_text("top")
        Path(bottom, "name").write_text("bottom")
        Path(bottom, "gone").write_text("bottom")
        mounts.overlay([top, bottom], upper, work, target)
        assert Path(target, "name").read_text() == "top"
        Path(target, "new").touch()
        Path(target, "gone").unlink()
        assert sorted(os.listdir(upper)) == ["gone", "new"]
        assert overlays.is_whiteout(f"{upper}/gone") and not overlays.is_whiteout(f"{upper}/new")
        assert sorted(os.listdir(bottom)) == ["gone", "name"]

    in_scratch(scene)


def test_overlay_without_upper_is_read_only(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        one, two, target = directories(scratch, "one", "two", "target")
        mounts.overlay([one, two], None, None, target)
        with pytest.raises(OSError, match="Read-only"):
            Path(target, "file").touch()
        with pytest.raises(KernelError, match="two lower directories"):
            mounts.overlay([one], None, None, target)

    in_scratch(scene)


def test_overlay_takes_more_layers_than_fit_into_a_page(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        upper, work, target, *layers = directories(scratch, "upper", "work", "target", *(f"{index:0>120}" for index in range(127)))
        for layer in layers:
            Path(layer, os.path.basename(layer).lstrip("0") or "0").touch()
        mounts.overlay(layers, upper, work, target)
        assert len(os.listdir(target)) == 127

    in_scratch(scene)


def test_overlay_tells_why_the_kernel_refused(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        lower, upper, work, target, inner = directories(scratch, "lower", "upper", "work", "target", "inner")
        with pytest.raises(KernelError, match=rf"mount overlay on {target}: ENOENT \(upperdir {scratch}/no is not a directory"):
            mounts.overlay([lower], f"{scratch}/no", work, target)
        with pytest.raises(KernelError, match=r"EINVAL .*both must be on one"):
            mounts.overlay([lower], upper, "/dev/shm", target)
        mounts.overlay([lower], upper, work, target)
        directories(Path(target), "u", "w")
        with pytest.raises(KernelError, match=r"EINVAL .upperdir is itself on overlayfs: put it on a tmpfs, ext4 or xfs"):
            mounts.overlay([lower], f"{target}/u", f"{target}/w", inner)
        with pytest.raises(KernelError, match=r"EBUSY .upperdir or workdir is in use"):
            mounts.overlay([lower], upper, work, inner, ["index=on"])

    in_scratch(scene)


def test_private_mounts_do_not_spread_and_shared_ones_do(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        tree, twin = directories(scratch, "tree", "twin")
        mounts.bind(tree, tree)
        for propagation, spreads in [("shared", True), ("private", False)]:
            mounts.set_propagation(tree, propagation)
            directories(Path(tree), propagation)
            mounts.bind(tree, twin)
            mounts.mount("tmpfs", f"{tree}/{propagation}", "tmpfs")
            assert (mounts.at(f"{twin}/{propagation}") is not None) is spreads
            mounts.unmount(twin, lazy=True)
            mounts.unmount(f"{tree}/{propagation}")
        mounts.mount("tmpfs", tree, "tmpfs", ["rshared"])
        shared = mounts.at(tree)
        assert shared is not None and shared.propagation[0].startswith("shared:")
        with pytest.raises(KernelError, match="not a mount point"):
            mounts.set_propagation(f"{scratch}/twin", "private")

    in_scratch(scene)


def test_make_private_reaches_the_whole_tree_or_one_mount(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        mounts.set_propagation("/", "rshared")
        mounts.make_private("/", recursive=False)
        assert not mounts.holding("/").propagation and mounts.holding("/proc").propagation
        mounts.make_private()
        assert not any(mount.propagation for mount in mounts.table())

    in_scratch(scene)


def test_pivot_root_leaves_the_new_root_and_nothing_else(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        (root,) = directories(scratch, "root/proc")
        root = str(scratch / "root")
        with pytest.raises(KernelError, match=r"pivot_root to .*root: EINVAL \(new root must be a mount point"):
            mounts.pivot_root(root)
        before = os.getcwd()
        mounts.bind(root, root)
        mounts.mount("proc", f"{root}/proc", "proc")
        mounts.pivot_root(root)
        assert before != "/" and os.getcwd() == "/"
        assert os.listdir("/") == ["proc"]
        assert [mount.target for mount in mounts.table()] == ["/", "/proc"]

    in_scratch(scene)


def test_a_failed_pivot_root_changes_nothing(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        before = os.getcwd()
        for bad, code in [(str(scratch / "none"), "ENOENT"), ("/etc/passwd", "ENOTDIR"), ("/etc", "EBUSY .new root must be a mount point")]:
            with pytest.raises(KernelError, match=code):
                mounts.pivot_root(bad)
            assert os.getcwd() == before

    in_scratch(scene)


def test_the_unmounted_old_root_is_not_unmounted_on_the_host(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        root, proof = directories(scratch, "root", "proof")
        mounts.set_propagation("/", "rshared")
        mounts.mount("tmpfs", proof, "tmpfs")
        host = os.getpid()
        pid = os.fork()
        if pid == 0:
            namespaces.unshare("mnt")
            mounts.set_propagation("/", "rslave")
            mounts.bind(root, root)
            mounts.set_propagation(root, "private")
            mounts.pivot_root(root)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert mounts.at(proof, host) is not None

    in_scratch(scene)


def test_mask_hides_files_and_directories(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        directory, file = scratch / "directory", scratch / "file"
        directory.mkdir()
        (directory / "secret").write_text("secret")
        file.write_text("secret")
        for path in directory, file, scratch / "missing":
            mounts.mask(str(path))
        assert os.listdir(directory) == [] and "ro" in options(directory)
        assert file.read_bytes() == b""
        assert os.stat(file).st_rdev == os.stat("/dev/null").st_rdev

    in_scratch(scene)


def test_mask_refuses_a_null_device_that_is_none(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        fake, victim = scratch / "fake", scratch / "victim"
        fake.write_text("chosen by an attacker")
        victim.write_text("to be hidden")
        mounts.bind(str(fake), "/dev/null")
        with pytest.raises(KernelError, match="/dev/null is not the null device here"):
            mounts.mask(str(victim))
        assert victim.read_text() == "to be hidden"

    in_scratch(scene)


def test_unmount_takes_one_mount_and_succeeds_when_there_is_none(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        target = str(scratch / "target")
        mounts.unmount(target)
        os.mkdir(target)
        mounts.unmount(target)
        for name in "lower", "upper":
            mounts.mount(name, target, "tmpfs")
        mounts.unmount(target)
        left = mounts.at(target)
        assert left is not None and left.source == "lower"

    in_scratch(scene)


def test_unmount_of_a_busy_mount_is_an_error_unless_lazy(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        target = str(scratch / "target")
        os.mkdir(target)
        mounts.mount("tmpfs", target, "tmpfs")
        with open(f"{target}/file", "w"):
            with pytest.raises(KernelError, match=f"unmount {target}: EBUSY .*fuser -vm {target}"):
                mounts.unmount(target)
            mounts.unmount(target, lazy=True)
        assert mounts.at(target) is None

    in_scratch(scene)


def test_unmount_does_not_follow_a_link(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        (scratch / "link").symlink_to("/proc")
        with pytest.raises(KernelError, match="a symbolic link"):
            mounts.unmount(str(scratch / "link"))
        assert mounts.at("/proc") is not None

    in_scratch(scene)


def test_mounted_unmounts_on_the_way_out_even_after_an_error(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        target = str(scratch / "target")
        os.mkdir(target)
        with pytest.raises(ZeroDivisionError), mounts.mounted("mine", target, "tmpfs", ["ro"]) as where:
            assert where == target and "ro" in options(Path(target))
            raise ZeroDivisionError
        assert mounts.at(target) is None

    in_scratch(scene)


def test_at_sees_the_topmost_mount_and_none_that_is_covered(in_scratch: InScratch) -> None:
    def scene(scratch: Path) -> None:
        _, outer = directories(scratch, "outer/inner", "elsewhere")[0], str(scratch / "outer")
        mounts.mount("inner", f"{outer}/inner", "tmpfs")
        mounts.mount("first", outer, "tmpfs")
        mounts.mount("second", outer, "tmpfs")
        top = mounts.at(outer)
        assert top is not None and top.source == "second"
        assert mounts.at(f"{outer}/inner") is None
        assert mounts.holding(f"{outer}/").source == "second"

    in_scratch(scene)


def test_the_table_of_another_namespace_can_be_read_from_here(tmp_path: Path) -> None:
    with namespaces.new("mnt") as box:
        box.run(f"mount -t tmpfs inside {tmp_path}")
        seen = mounts.at(str(tmp_path), box.pid)
        assert seen is not None and seen.source == "inside"
        assert mounts.at(str(tmp_path)) is None
        assert mounts.holding(f"{tmp_path}/..", box.pid).target == mounts.holding(str(tmp_path.parent)).target


def test_syscalls_of_mounts_report_the_kernels_number() -> None:
    with pytest.raises(KernelError) as caught:
        syscalls.mount("none", "/no/such", "tmpfs")
    assert caught.value.errno == errno.ENOENT
