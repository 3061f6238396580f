"""A Dockerfile becomes an image: stages, layers, history, names, what is said and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.engine.build import builder, context
from labkit.errors import Conflict, InvalidInput, NotFound
from labkit.image import media
from labkit.image.image import Image
from labkit.image.references import Reference

if TYPE_CHECKING:
    from conftest import Lab


def test_the_words_are_those_of_the_classic_builder(lab: Lab, base: Image) -> None:
    image = lab.build('FROM base\nENV A=1\nRUN echo hello\nCMD ["sh"]', "me/web:v1", tags=("me/web:v1", "web"))
    text = re.sub(r"\b[0-9a-f]{12}\b", "ID", lab.text)
    assert text == (
        "Step 1/4 : FROM base\n ---> ID\n"
        "Step 2/4 : ENV A=1\n ---> ID\n"
        "Step 3/4 : RUN echo hello\n ---> Running in ID\nhello\nRemoving intermediate container ID\n ---> ID\n"
        'Step 4/4 : CMD ["sh"]\n ---> ID\n'
        "Successfully built ID\nSuccessfully tagged me/web:v1\nSuccessfully tagged web:latest\n"
    )
    assert f" ---> {base.id[7:19]}\n" in lab.text and f"Successfully built {image.id[7:19]}\n" in lab.text
    assert [name.familiar for name in image.names] == ["web:latest", "me/web:v1"]


def test_an_image_has_a_layer_for_each_step_that_changes_files_and_a_line_for_each_step(lab: Lab, base: Image) -> None:
    lab.files({"a": "A"})
    image = lab.build("FROM base\nCOPY a /a\nENV X=1\nRUN true\nWORKDIR /srv\nWORKDIR /etc\nRUN echo b > b")
    assert [(entry.created_by.removeprefix("/bin/sh -c ").split(" file:")[0], entry.empty_layer) for entry in image.config.history[2:]] == [
        ("#(nop) COPY", False),
        ("#(nop)  ENV X=1", True),
        ("true", True),
        ("#(nop) WORKDIR /srv", False),
        ("#(nop) WORKDIR /etc", True),
        ("echo b > b", False),
    ]
    assert lab.layers(image)[1:] == [{"a"}, {"srv"}, {"etc", "etc/b"}]
    assert len(image.manifest.layers) == len(image.config.rootfs.diff_ids) == 4


def test_what_is_stored_is_a_whole_oci_image(lab: Lab, base: Image) -> None:
    image = lab.build("FROM base\nRUN echo x > /x")
    blobs = lab.images.store.blobs
    manifest = json.loads(blobs.read(image.descriptor.digest))
    assert (manifest["schemaVersion"], manifest["mediaType"], manifest["config"]["mediaType"]) == (2, media.OCI_MANIFEST, media.OCI_CONFIG)
    assert [layer["mediaType"] for layer in manifest["layers"]] == [media.OCI_LAYER_GZIP] * 2
    assert all(blobs.size(layer["digest"]) == layer["size"] for layer in manifest["layers"])
    assert manifest["layers"][0]["digest"] == base.manifest.layers[0].digest


def test_stages_give_files_to_each_other_and_only_the_last_is_the_image(lab: Lab, base: Image) -> None:
    image = lab.build(
        "ARG FROM=base\nFROM $FROM AS one\nRUN echo 1 > /1\nFROM one\nRUN echo 2 > /2\n"
        "FROM scratch\nCOPY --from=ONE /1 /a/\nCOPY --from=1 /2 /1 /a/\nCOPY --from=base /etc/group /g"
    )
    with lab.root(image) as root:
        assert {path.name: path.read_text() for path in (root / "a").iterdir()} == {"1": "1\n", "2": "2\n"}
        assert (root / "g").read_text().startswith("root:") and not (root / "bin").exists()
    assert len(lab.images.list()) == 2


def test_a_target_ends_the_build_there(lab: Lab, base: Image) -> None:
    text = "FROM base AS one\nENV STAGE=1\nFROM one AS two\nENV STAGE=2\n"
    assert "STAGE=1" in lab.build(text, target="ONE").config.config.Env
    assert "STAGE=1" in lab.build(text, target="0").config.config.Env
    with pytest.raises(InvalidInput, match="failed to reach build target three in Dockerfile"):
        lab.build(text, target="three")


def test_arguments_are_for_the_build_and_not_for_the_image(lab: Lab, base: Image) -> None:
    text = "ARG TOP=top\nFROM base\nARG TOP\nARG V=1\nARG W\nENV E=$V-$TOP\nRUN echo $V $W $TOP $HIDDEN"
    image = lab.build(text, args={"V": "2", "W": "w", "HIDDEN": "h"})
    assert "\n2 w top\n" in lab.text and "[Warning] One or more build-args [HIDDEN] were not consumed\n" in lab.text
    assert image.config.config.Env[1:] == ("E=2-top",)
    assert image.config.history[-1].created_by == "|3 TOP=top V=2 W=w /bin/sh -c echo $V $W $TOP $HIDDEN"
    assert image.config.history[-3].created_by == "/bin/sh -c #(nop)  ARG W"


def test_labels_of_the_caller_are_taken_as_they_are(lab: Lab, base: Image) -> None:
    image = lab.build("FROM base\nLABEL b=dockerfile", labels={"a": 'it\'s $HOME "x"', "b": "caller"})
    assert image.config.config.Labels == {"a": 'it\'s $HOME "x"', "b": "caller"}
    assert "Step 4/4 : LABEL b=caller\n" in lab.text


def test_triggers_of_the_base_are_done_once_and_not_inherited(lab: Lab, base: Image) -> None:
    lab.files({"app": "APP"})
    lab.build("FROM base\nONBUILD COPY app /app\nONBUILD RUN cat /app", "trigger")
    child = lab.build("FROM trigger\nENV X=1", "child")
    assert "Step 1/2 : FROM trigger\n# Executing 2 build triggers\n" in lab.text and "\nAPPRemoving" in lab.text
    assert child.config.config.OnBuild == ()
    lab.build("FROM child")
    assert "build trigger" not in lab.text


def test_a_base_that_is_not_there_is_pulled_once(lab: Lab, base: Image) -> None:
    pulled: list[str] = []

    def pull(name: Reference) -> Image:
        pulled.append(str(name))
        return lab.images.tag(lab.images.get("base"), name)

    lab.build("FROM far AS a\nFROM far\nCOPY --from=other:v1 /etc/group /g\nRUN true", pull=pull)
    assert pulled == ["docker.io/library/far:latest", "docker.io/library/other:v1"]
    pulled.clear()
    lab.build("FROM far", pull=pull)
    assert pulled == []
    lab.build("FROM far AS a\nFROM far", pull=pull, always_pull=True)
    assert pulled == ["docker.io/library/far:latest"]
    with pytest.raises(NotFound, match="No such image: nowhere:latest"):
        lab.build("FROM nowhere")


def test_a_base_for_another_platform_is_refused(lab: Lab, base: Image) -> None:
    assert lab.build("FROM --platform=linux/s390x scratch\nENV A=1").config.architecture == "s390x"
    with pytest.raises(Conflict, match="does not match the specified platform: wanted linux/s390x, actual: linux/"):
        lab.build("FROM --platform=linux/s390x base\nENV A=1")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("FROM scratch", "No image was generated. Is your Dockerfile empty?"),
        ("FROM ${NOPE}", "base name (${NOPE}) should not be blank"),
        ("FROM base AS a\nFROM base AS A", "a stage name already used"),
        ("FROM base\nCOPY --from=0 /x /y", "invalid from flag value 0: refers to current build stage"),
        ("FROM base\nCOPY --from=7 /x /y", "invalid from flag value 7: index out of bounds"),
        ("FROM base\nEXPOSE abc", "Invalid containerPort: abc"),
        ("FROM base\nENV A=${B:?no}", 'failed to process "${B:?no}": B: no'),
        ("FROM base\nFOO", "dockerfile parse error line 2: unknown instruction: FOO"),
    ],
)
def test_what_cannot_be_built_is_told_and_changes_nothing(lab: Lab, base: Image, text: str, complaint: str) -> None:
    before = lab.images.list()
    with pytest.raises(InvalidInput) as error:
        lab.build(text)
    assert str(error.value) == complaint
    assert lab.images.list() == before


def test_a_name_that_cannot_be_is_refused_before_anything_is_done(lab: Lab) -> None:
    for tag in ("Bad", "a@sha256:" + "0" * 64):
        with pytest.raises(InvalidInput):
            lab.build("FROM scratch\nENV A=1", tag)
    with pytest.raises(InvalidInput, match="network mine: must be one of default, host, none"):
        lab.build("FROM scratch\nENV A=1", network="mine")
    assert lab.said == []


def test_with_an_epoch_the_same_input_gives_the_same_image(lab: Lab, base: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.files({"a": "A"})
    text = "FROM base\nCOPY a /dir/a\nRUN touch /new && mkdir -p /x/y && ln -s y /x/l && touch /bin\nWORKDIR /w"
    first = lab.build(text, epoch=1_600_000_000, no_cache=True)
    (lab.context / "a").touch()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    second = lab.build(text, no_cache=True)
    assert (first.id, first.descriptor.digest) == (second.id, second.descriptor.digest)
    assert first.config.created == "2020-09-13T12:26:40Z"
    with lab.root(first) as root:
        assert {(root / name).stat().st_mtime for name in ("dir/a", "new", "x", "x/y", "w")} == {1_600_000_000}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InvalidInput, match="SOURCE_DATE_EPOCH: 'yesterday' must be seconds since 1970"):
        lab.build(text)


def test_a_context_may_come_from_elsewhere(lab: Lab, base: Image) -> None:
    lab.files({"a": "A"})
    with context.directory(str(lab.context), "/dev/null") as found:
        opened = replace(found, dockerfile=b"FROM base\nCOPY a /a")
        image = builder.build(lab.images, opened)
    assert image.names == ()
    with lab.root(image) as root:
        assert (root / "a").read_text() == "A"
