"""The stack of layers: what each has, what hides what, and what one sees from above."""

import os

import pytest

from labkit.linux import overlays
from labkit.storage.snapshots import Snapshots
from labkit.views.layers import LayerStack


@pytest.fixture
def layers(tmp_path):
    layers = Snapshots(str(tmp_path / "layers"))
    _fill(layers.prepare("b").upper, {"etc/motd": "b", "etc/hosts": "b", "bin/sh": "b", "old/a": "b"})
    layers.commit("b", "base")
    _fill(layers.prepare("a", "base").upper, {"etc/hosts": "a", "bin/app": "a"})
    layers.commit("a", "app")
    _fill(layers.prepare("c1", "app").upper, {"etc/hosts": "c1", "etc/motd": "", "note": "c1"})
    return layers


@pytest.fixture(autouse=True)
def marks(monkeypatch):
    """Making a whiteout or an opaque directory takes root: here a file that is empty, and a directory called old, are marked."""
    monkeypatch.setattr(overlays, "is_whiteout", lambda path: os.path.isfile(path) and not os.path.getsize(path))
    monkeypatch.setattr(overlays, "is_opaque", lambda path: path.endswith("c1/upper/old"))


def _fill(directory, files):
    for name, text in files.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)


def test_the_text_shows_layers_from_the_top_down_and_what_is_seen_from_above(layers):
    assert str(LayerStack(layers, "c1")).splitlines() == [
        "               /bin/app  /etc/hosts  /etc/motd  /note",
        "you see        ●         ●           –          ●",
        "c1                       ●           ✗          ●",
        "app            ●         ○",
        "base                     ○           ○",
        "● seen from above · ○ hidden · ✗ whiteout: deleted · ⊘ opaque: hides what is below",
        "and all that nobody has touched, from base",
    ]


def test_an_opaque_directory_has_a_sign_of_its_own(layers):
    os.makedirs(layers.get("c1").upper + "/old")
    stack = LayerStack(layers, "c1")
    assert stack.rows["c1"]["/old"] == "⊘" and stack.rows["base"]["/old/a"] == "○"
    assert stack.seen["/old"] == "●" and stack.seen["/old/a"] == "–"
    assert "⊘" in str(stack).splitlines()[2]


def test_a_single_layer_shows_its_paths(layers):
    text = str(LayerStack(layers, "base"))
    assert "/bin/sh" in text and "and " not in text


def test_no_more_paths_than_fit_side_by_side(layers):
    _fill(layers.get("c1").upper, {f"many/{n}": "x" for n in range(20)})
    stack = LayerStack(layers, "c1")
    assert len(stack.paths) == 8 and "and 16 more paths" in str(stack)


def test_a_tick_shows_the_untouched_paths_too(layers):
    stack = LayerStack(layers, "c1")
    picture, buttons = stack.widget().children
    assert "/bin/sh" not in picture.value
    buttons.children[1].value = True
    assert "/bin/sh" in picture.value


def test_look_again_sees_what_has_been_written(layers):
    stack = LayerStack(layers, "c1")
    picture, buttons = stack.widget().children
    _fill(layers.get("c1").upper, {"late": "x"})
    assert "/late" not in picture.value
    buttons.children[0].click()
    assert "/late" in picture.value and "/late" in str(stack)


def test_the_picture_says_in_words_what_the_signs_mean(layers):
    html = LayerStack(layers, "c1").html()
    assert "title='whiteout'" in html and "title='hidden'" in html and "whiteout: deleted" in html


def test_the_figure_has_a_slab_for_each_layer(layers):
    figure = LayerStack(layers, "c1").figure()
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"you see", "c1", "app", "base", "/etc/motd", "✗"} <= set(words)
    assert figure._repr_png_().startswith(b"\x89PNG")
