"""Images taken apart: which blobs there are, which are shared, whether they are what they are called, and what is in them."""

import io
import tarfile

import pytest

from labkit.errors import NotFound
from labkit.image import documents, media, references
from labkit.image.documents import ContainerConfig, Descriptor, History, ImageConfig, Manifest, RootFS
from labkit.image.images import Images
from labkit.storage import compression, digests
from labkit.storage.store import Store
from labkit.views import image as view
from labkit.views.image import ImageTree


def _tar(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


BASE, PAGE, CLOCK = _tar(sh="shell" * 5000), _tar(**{"www/index.html": "hi", "etc/.wh.motd": ""}), _tar(tick="tick")


def _add(images, name, command, **layers):
    """An image with a layer for each of ``layers``: what the history says, and the archive."""

    def put(kind, data):
        return Descriptor(kind, len(data), images.store.blobs.put(data))

    config = ImageConfig(
        "amd64", "linux", RootFS("layers", tuple(map(digests.of, layers.values()))),
        config=ContainerConfig(Cmd=command), history=tuple(History(created_by=step) for step in layers),
    )  # fmt: skip
    blobs = tuple(put(media.OCI_LAYER_GZIP, b"".join(compression.gzipped([layer]))) for layer in layers.values())
    manifest = Manifest(2, media.OCI_MANIFEST, put(media.OCI_CONFIG, documents.encode(config)), blobs)
    images.add(put(media.OCI_MANIFEST, documents.encode(manifest)), references.parse(name))


@pytest.fixture
def images(tmp_path):
    images = Images(Store(str(tmp_path / "store")))
    _add(images, "site:v1", ("httpd", "-f"), **{f"/bin/sh -c #(nop) COPY dir:{'8' * 64} in / ": BASE, "/bin/sh -c rm motd": PAGE})
    _add(images, "clock:v1", (), **{"COPY dir:… in /": BASE, "COPY tick /bin/": CLOCK})
    return images


def test_the_text_has_a_line_for_each_blob_from_the_top_down_and_tells_what_is_shared(images):
    lines = str(ImageTree(images, "site:v1", "clock:v1")).splitlines()
    assert [line.split("  sha256:")[0].strip() for line in lines] == [
        "site:v1", "manifest", "config", "layer 2", "layer 1",
        "clock:v1", "manifest", "config", "layer 2", "layer 1",
        "named 8 times, kept 7 times",
    ]  # fmt: skip
    assert lines[4].endswith("═ also in clock:v1") and lines[9].endswith("═ also in site:v1")
    assert "═" not in "".join(lines[:4] + lines[5:9])


def test_a_part_is_named_by_its_digest_and_measured(images):
    site = images.get("site:v1")
    line = str(ImageTree(images, "site:v1")).splitlines()[1].split()
    assert line[:4] == ["manifest", site.descriptor.digest[:19], str(site.descriptor.size), "B"]


def test_it_says_what_an_image_starts_and_how_its_layers_came_about(images):
    text = str(ImageTree(images))
    for words in "starts httpd -f", "starts nothing by itself", "RUN rm motd", "COPY dir:… in /  ", "names the 3 below by digest":
        assert words in text
    assert "#(nop)" not in text


def test_without_names_all_images_are_shown(images):
    assert set(ImageTree(images).parts) == {"site:v1", "clock:v1"}


def test_recompute_marks_each_blob_and_finds_the_one_that_was_changed(images):
    tree = ImageTree(images, "site:v1")
    assert "✔" not in str(tree)
    config = images.get("site:v1").manifest.config.digest
    with open(images.store.blobs.path(config), "r+b") as file:
        file.write(b"[")
    tree.widget().children[1].children[1].click()
    assert [line.split()[0] for line in str(tree).splitlines()[1:5]] == ["✔", "✘", "✔", "✔"]
    assert "title='its bytes have another digest'" in tree.html()


def test_a_blob_that_is_gone_has_a_sign_of_its_own(images):
    tree = ImageTree(images, "site:v1")
    images.store.blobs.remove(tree.parts["site:v1"][2].digest)
    tree.recompute()
    assert str(tree).splitlines()[3].startswith("  – layer 2")
    assert "title='it is gone'" in tree.html()


def test_an_image_that_is_removed_meanwhile_is_said_to_be_gone(images):
    tree = ImageTree(images, "site:v1", "clock:v1")
    picture, buttons = tree.widget().children
    images.remove("site:v1")
    buttons.children[0].click()
    assert str(tree).splitlines()[0] == "clock:v1" and str(tree).endswith("No such image: site:v1")
    assert "No such image: site:v1" in picture.value
    images.remove("clock:v1")
    buttons.children[0].click()
    assert str(tree).splitlines() == ["named 0 times, kept 0 times", "No such image: site:v1", "No such image: clock:v1"]
    assert tree.figure()._repr_png_().startswith(b"\x89PNG")


def test_a_row_unfolds_to_a_document_as_it_is_stored(images):
    tree = ImageTree(images, "site:v1")
    assert '"Cmd": [' in tree.inside("site:v1", "config")
    row = tree.html().split("<details")[2]
    assert "config" in row.partition("</summary>")[0] and "&quot;Cmd&quot;: [" in row.partition("</summary>")[2]


def test_a_row_unfolds_to_a_layer_as_its_archive_lists_it_and_a_whiteout_is_explained(images):
    listing = ImageTree(images).inside("site:v1", "layer 2").splitlines()
    assert listing[0].split() == ["-", "0644", "2", "www/index.html"]
    assert listing[1].endswith("etc/.wh.motd   ← whiteout: deletes what is below")


def test_of_a_long_layer_the_beginning_is_shown(images):
    _add(images, "many:v1", (), COPY=_tar(**{f"file{number}": "" for number in range(50)}))
    lines = ImageTree(images, "many:v1").inside("many:v1", "layer 1").splitlines()
    assert len(lines) == 41 and lines[-1] == "…"


def test_what_cannot_be_read_is_said_in_its_place(images):
    tree = ImageTree(images, "site:v1")
    images.store.blobs.remove(tree.parts["site:v1"][3].digest)
    assert "there is none" in tree.inside("site:v1", "layer 1") and "there is none" in tree.html()
    with pytest.raises(NotFound, match="site:v9 has no layer 1"):
        tree.inside("site:v9", "layer 1")


def test_look_again_sees_a_new_image(images):
    tree = ImageTree(images)
    picture, buttons = tree.widget().children
    _add(images, "late:v1", (), COPY=BASE)
    assert "late:v1" not in picture.value
    buttons.children[0].click()
    assert "late:v1" in picture.value


def test_the_figure_shows_a_shared_layer_as_one_slab(images):
    figure = ImageTree(images, "site:v1", "clock:v1").figure()
    words = [text.get_text() for text in figure.axes[0].texts]
    assert sum("COPY dir:… in /" in each for each in words) == 1
    assert any("one blob, 2 images" in each for each in words) and {"site:v1", "clock:v1"} <= set(words)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_in_the_figure_a_layer_that_others_have_elsewhere_is_drawn_apart(images):
    _add(images, "odd:v1", (), own=CLOCK, base=BASE)
    words = [text.get_text() for text in ImageTree(images, "site:v1", "odd:v1", "clock:v1").figure().axes[0].texts]
    assert sum("one blob, 3 images" in each for each in words) == 3


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_040_000, "2.0 MB"), (3 * 10**9, "3.0 GB")])
def test_sizes_are_for_people(count, words):
    assert view.size(count) == words
