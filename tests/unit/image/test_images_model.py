"""Whatever is done to names in whatever order: each means the image that got it last, and no image is lost but by removal."""

from __future__ import annotations

import tempfile
from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from labkit.errors import Conflict, NotFound
from labkit.image.images import Images
from labkit.image.references import Reference, parse
from labkit.storage.store import Store
from tests.layouts import image, layer

NAMES = [parse(text) for text in ("web:latest", "web:2", "me/web:latest")]
names = st.sampled_from(NAMES)
numbers = st.integers(0, 1)


class Names(RuleBasedStateMachine):
    """The model: which image has which names."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        store = Store(self.directory.name)
        self.images = Images(store)
        self.manifests = [image(store, layer(store, {"a": bytes([number])})) for number in range(2)]
        self.ids = [self.images.of(manifest).id for manifest in self.manifests]
        self.model: dict[int, set[Reference]] = {}

    def teardown(self) -> None:
        self.directory.cleanup()

    def digest(self, name: Reference, number: int) -> Reference:
        return name.with_digest(self.manifests[number].digest)

    @rule(number=numbers, name=names, pulled=st.booleans())
    def add(self, number: int, name: Reference, pulled: bool) -> None:
        digest = self.digest(name, number) if pulled else None
        self.images.add(self.manifests[number], name, digest_name=digest)
        for held in self.model.values():
            held.discard(name)
        self.model.setdefault(number, set()).update(each for each in (name, digest) if each)

    @rule(number=numbers)
    def add_without_a_name(self, number: int) -> None:
        self.images.add(self.manifests[number])
        self.model.setdefault(number, set())

    @rule(name=names)
    def untag(self, name: Reference) -> None:
        self.images.untag(name)
        for held in self.model.values():
            held.discard(name)

    @rule(name=names)
    def remove(self, name: Reference) -> None:
        owner = next((number for number, held in self.model.items() if name in held), None)
        with suppress(NotFound):
            self.images.remove(str(name))
            assert owner is not None
        if owner is None:
            return
        held = self.model[owner] - {name}
        if not any(other.tag and other.name == name.name for other in held):
            held = {other for other in held if other.name != name.name}
        self.model[owner] = held
        if not held:
            del self.model[owner]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), force=st.booleans())
    def remove_by_id(self, data: st.DataObject, force: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.model)))
        held = self.model[number]
        several = len({name.name for name in held}) > 1 or sum(bool(name.tag) for name in held) > 1
        try:
            self.images.remove(self.ids[number], force)
        except Conflict:
            assert several and not force
        else:
            assert force or not several
            del self.model[number]

    @rule()
    def prune(self) -> None:
        self.images.prune()
        self.model = {number: held for number, held in self.model.items() if any(name.tag for name in held)}

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        assert {each.id: set(each.names) for each in self.images.list()} == {self.ids[number]: held for number, held in self.model.items()}
        for number, held in self.model.items():
            for name in held:
                assert self.images.get(name.familiar).id == self.ids[number]
        assert len(self.images.keep()[0]) == 3 * len(self.model)


Names.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_names = Names.TestCase
