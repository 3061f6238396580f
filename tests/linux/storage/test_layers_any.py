"""Any layers at all: what the kernel shows of them stacked is what applying them one after the other gives, and nothing leaves."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import InvalidInput, LabError
from labkit.storage.diff import diff
from labkit.storage.layers import snapshot_name
from labkit.storage.pack import pack
from labkit.storage.store import Store
from labkit.storage.unpack import unpack
from tests.archives import Entry, Member, anything, archive, directory, file, made, opaque, whiteout
from tests.trees import Node, Tree, look, make, trees


@settings(max_examples=40)
@given(trees(), trees(), trees())
def test_the_kernel_shows_what_applying_the_layers_one_after_the_other_gives(a: Tree, b: Tree, c: Tree) -> None:
    with tempfile.TemporaryDirectory() as place:
        store = Store(f"{place}/store")
        before, chain = None, None
        for number, tree in enumerate((a, b, c)):
            make(tree, after := f"{place}/{number}")
            chain = store.layers.commit(store.layers.unpack(diff(before, after)), chain)
            before = after
        os.mkdir(f"{place}/seen")
        with store.snapshots.mounted(snapshot_name(chain or ""), f"{place}/seen"):
            assert look(f"{place}/seen") == look(f"{place}/2")


@settings(max_examples=40)
@given(trees(), trees())
def test_what_a_container_did_becomes_a_layer_that_does_the_same(a: Tree, b: Tree) -> None:
    """From one tree to another by hand in a mounted overlay; packed; unpacked on a copy of the first, and as a layer."""
    with tempfile.TemporaryDirectory() as place:
        store = Store(f"{place}/store")
        make(a, f"{place}/a")
        make(b, f"{place}/b")
        base = store.layers.commit(store.layers.unpack(diff(None, f"{place}/a")), None)
        store.snapshots.prepare("c1", snapshot_name(base))
        os.mkdir(f"{place}/seen")
        with store.snapshots.mounted("c1", f"{place}/seen"):
            unpack(diff(f"{place}/a", f"{place}/b"), f"{place}/seen", overlay=False)
        upper, *below = [layer.upper for layer in store.snapshots.stack("c1")]
        layer = b"".join(pack(upper, below))
        unpack([layer], f"{place}/a", overlay=False)
        assert look(f"{place}/a") == look(f"{place}/b")
        chain = store.layers.commit(store.layers.unpack([layer]), base)
        with store.snapshots.mounted(snapshot_name(chain), f"{place}/seen"):
            assert look(f"{place}/seen") == look(f"{place}/b")


_PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
_MEMBERS = st.one_of(
    st.builds(file, _PATHS, st.sampled_from([b"", b"one", b"two"])),
    st.builds(directory, _PATHS),
    st.builds(whiteout, _PATHS),
    st.builds(opaque, st.one_of(st.just(""), _PATHS)),
)


@settings(max_examples=100)
@given(st.lists(st.lists(_MEMBERS, max_size=6), min_size=2, max_size=3))
def test_any_layers_give_in_a_plain_directory_what_the_kernel_shows_of_them_stacked(layers: list[list[Member]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        store, chain = Store(f"{place}/store"), None
        os.mkdir(f"{place}/plain")
        os.mkdir(f"{place}/seen")
        for members in layers:
            data = archive(*members)
            try:
                chain = store.layers.commit(store.layers.unpack([data]), chain)
            except InvalidInput:
                with pytest.raises(InvalidInput):
                    unpack([data], f"{place}/plain", overlay=False)
                return
            unpack([data], f"{place}/plain", overlay=False)
        with store.snapshots.mounted(snapshot_name(chain or ""), f"{place}/seen"):
            assert _without_times(f"{place}/seen") == _without_times(f"{place}/plain")
            for here, directories, names in os.walk(f"{place}/seen"):
                assert all(os.path.lexists(f"{here}/{name}") for name in directories + names), "each name that is listed is there"


@settings(max_examples=100)
@given(st.lists(anything(), min_size=1, max_size=3))
def test_nothing_outside_is_touched_by_any_stack_of_layers(layers: list[list[Entry]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        make({"secret": Node("file", b"untouched"), "a/b": Node("file")}, f"{place}/outside")
        before, above = look(f"{place}/outside"), set(os.listdir("/"))
        store, chain = Store(f"{place}/store"), None
        for entries in layers:
            pending = None
            try:
                pending = store.layers.unpack([archive(*map(made, entries))])
                chain = store.layers.commit(pending, chain)
            except LabError:
                if pending:
                    store.layers.discard(pending)
        assert look(f"{place}/outside") == before
        assert set(os.listdir("/")) == above
        assert all(snapshot.committed for snapshot in store.snapshots.list())
        os.mkdir(f"{place}/seen")
        if chain:
            with store.snapshots.mounted(snapshot_name(chain), f"{place}/seen"):
                look(f"{place}/seen")


def _without_times(root: str) -> dict[str, tuple[object, ...]]:
    """A plain directory forgets when it was changed, which a stack of layers does not."""
    return {path: (facts[0], facts[5]) for path, facts in look(root).items()}
