"""The commands about local images print what docker prints, byte for byte (recorded from docker 28)."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from labkit.cli import commands, engines
from labkit.engine.image_filters import Listed
from labkit.engine.images import Pruned
from labkit.errors import Conflict, LabError, NotFound
from labkit.image import references
from labkit.image.documents import Descriptor, History, ImageConfig, Manifest, RootFS
from labkit.image.images import Image, Removed

NOW = 1795506466.0  # 2026-11-24 07:47:46 UTC
ID = "sha256:a752e4a2727b181a9f6cda895255ce477100d8e4bca7c925694bf3c7cc10dc6a"
DIGEST = "sha256:c807310d785f36c7732f3b75e12caf94d95b48f5119b3dedc53913ba7d1d8ddf"
LAYER = "sha256:e61b72c0368b6a988be9848e8b64f947032743743fb72efc5e2777a2ea39c311"
HISTORY = (
    History("2026-11-24T07:47:16Z", "/bin/sh -c #(nop) COPY file:73e2b2d48642b21b357384b0cb81c1869cc5e0c48a00f61553756196058304b9 in /bin"),
    History("2026-11-24T07:47:46.1Z", '/bin/sh -c #(nop)  CMD ["/bin/busybox"\t"sh"]', comment="done", empty_layer=True),
)


def image(*names: str) -> Image:
    """One made at NOW, with one layer."""
    config = ImageConfig("amd64", "linux", RootFS("layers", (LAYER,)), created="2026-11-24T07:47:46.1Z", history=HISTORY)
    manifest = Manifest(2, "application/vnd.oci.image.manifest.v1+json", Descriptor("x", 1, ID), (Descriptor("x", 1, LAYER),))
    return Image(ID, Descriptor("x", 941, DIGEST), manifest, config, tuple(map(references.parse, names)), (1_982_256,))


class Fake:
    """An engine that has one image and remembers what it was asked to do."""

    def __init__(self) -> None:
        self.image = image("busy:latest", "127.0.0.1:5077/me/web:v1", f"127.0.0.1:5077/me/web@{DIGEST}")
        self.calls: list[tuple[object, ...]] = []

    def list(self, filters: list[str]) -> tuple[Listed, ...]:
        self.calls.append(("list", *filters))
        return (Listed(self.image, self.image.names),)

    def get(self, name: str) -> Image:
        if name != "busy":
            raise NotFound(f"No such image: {name}:latest")
        return self.image

    def inspect(self, name: str) -> dict[str, object]:
        return {"Id": self.get(name).id, "RepoTags": ["busy:latest", "<b>"], "None": None}

    def tag(self, *names: str) -> Image:
        self.calls.append(("tag", *names))
        return self.image

    def remove(self, name: str, *, force: bool) -> tuple[Removed, ...]:
        self.calls.append(("remove", name, force))
        if name == "used":
            raise Conflict("conflict: unable to delete a752e4a2727b (must be forced)")
        self.get(name)
        return Removed(untagged="busy:latest"), Removed(deleted=ID)

    def prune(self, *, all: bool, filters: tuple[str, ...]) -> Pruned:
        self.calls.append(("prune", all, *filters))
        return Pruned((Removed(untagged="busy:latest"), Removed(deleted=ID)) if all else (), 1_982_256 if all else 0)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(engines, "engine", lambda *_: fake)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW + 1.5)
    return fake


Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(engine: Fake, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; exit code, lines of stdout, stderr."""

    def run(*words: str) -> tuple[int, list[str], str]:
        code = commands.main([*words])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


def test_images_has_a_line_for_each_tag(run: Run) -> None:
    assert run("images") == (
        0,
        [
            "REPOSITORY              TAG       IMAGE ID       CREATED        SIZE",
            "busy                    latest    a752e4a2727b   1 second ago   1.98MB",
            "127.0.0.1:5077/me/web   v1        a752e4a2727b   1 second ago   1.98MB",
        ],
        "",
    )


def test_images_with_digests_shows_them_after_the_tag(run: Run) -> None:
    none = "<none>" + " " * 68
    assert run("images", "--digests")[1] == [
        f"REPOSITORY              TAG       DIGEST{' ' * 68}IMAGE ID       CREATED        SIZE",
        f"busy                    latest    {none}a752e4a2727b   1 second ago   1.98MB",
        f"127.0.0.1:5077/me/web   v1        {DIGEST}   a752e4a2727b   1 second ago   1.98MB",
    ]


def test_an_image_without_names_is_none_and_one_that_lost_its_tag_keeps_its_repository(engine: Fake, run: Run) -> None:
    engine.image = image()
    assert run("images", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}")[1] == ["<none>:<none>@<none>"]
    engine.image = image(f"busy@{DIGEST}")
    assert run("images", "--format", "{{.Repository}}:{{.Tag}}")[1] == ["busy:<none>"]
    assert run("images", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}")[1] == [f"busy:<none>@{DIGEST}"]


def test_images_quietly_are_ids(run: Run) -> None:
    assert run("images", "-q")[1] == ["a752e4a2727b", "a752e4a2727b"]
    assert run("images", "-q", "--no-trunc")[1] == [ID, ID]
    assert run("image", "ls", "-q")[1] == run("image", "list", "-q")[1] == ["a752e4a2727b", "a752e4a2727b"]


def test_images_as_json_has_dockers_fields(run: Run) -> None:
    _, lines, _ = run("images", "--format", "json")
    assert json.loads(lines[1]) == {
        "Containers": "N/A", "CreatedAt": "2026-11-24 07:47:46 +0000 UTC", "CreatedSince": "1 second ago", "Digest": "<none>",
        "ID": "a752e4a2727b", "Repository": "127.0.0.1:5077/me/web", "SharedSize": "N/A", "Size": "1.98MB", "Tag": "v1",
        "UniqueSize": "N/A", "VirtualSize": "1.982MB",
    }  # fmt: skip


def test_a_repository_and_filters_are_handed_on(engine: Fake, run: Run) -> None:
    run("images", "--filter", "label=x", "-f", "dangling=true", "busy*")
    run("image", "ls", "seed")
    assert engine.calls == [("list", "label=x", "dangling=true", "reference=busy*"), ("list", "reference=seed")]


@pytest.mark.parametrize("words", [("images",), ("image", "prune", "-f")])
def test_a_filter_without_a_value_is_a_mistake(words: tuple[str, ...], run: Run) -> None:
    code, _, said = run(*words, "--filter", "foo")
    assert code == 125 and said.startswith('invalid argument "foo" for "-f, --filter" flag: bad format of filter (expected name=value)')


def test_a_template_that_is_wrong_is_told(run: Run) -> None:
    assert run("images", "--format", "{{") == (1, [], "labkit: template parsing error: template: :1: unclosed action\n")


def test_history_is_a_table_of_steps(run: Run) -> None:
    assert run("history", "busy")[1] == [
        "IMAGE          CREATED          CREATED BY                                      SIZE      COMMENT",
        'a752e4a2727b   1 second ago     /bin/sh -c #(nop)  CMD ["/bin/busybox" "sh"]    0B        done',
        "<missing>      31 seconds ago   /bin/sh -c #(nop) COPY file:73e2b2d48642b21b…   1.98MB    ",
    ]


def test_history_for_machines(run: Run) -> None:
    assert run("history", "-H=false", "busy")[1][::2] == [
        "IMAGE          CREATED AT             CREATED BY                                      SIZE      COMMENT",
        "<missing>      2026-11-24T07:47:16Z   /bin/sh -c #(nop) COPY file:73e2b2d48642b21b…   1982256   ",
    ]
    assert run("history", "-q", "--no-trunc", "busy")[1] == [ID, "<missing>"]
    assert HISTORY[0].created_by in run("history", "--no-trunc", "busy")[1][2]
    assert json.loads(run("image", "history", "--format", "json", "busy")[1][0])["CreatedAt"] == "2026-11-24T07:47:46Z"


def test_tag_says_nothing(engine: Fake, run: Run) -> None:
    assert run("tag", "busy", "me/busy:v1") == (0, [], "")
    assert engine.calls == [("tag", "busy", "me/busy:v1")]


@pytest.mark.parametrize("words", [("rmi",), ("image", "rm"), ("image", "remove")])
def test_rmi_goes_on_after_what_is_not_there_and_fails_at_the_end(words: tuple[str, ...], run: Run) -> None:
    code, lines, said = run(*words, "nosuch", "used", "busy")
    assert (code, lines) == (1, ["Untagged: busy:latest", f"Deleted: {ID}"])
    assert said == "labkit: No such image: nosuch:latest\nlabkit: conflict: unable to delete a752e4a2727b (must be forced)\n"


def test_rmi_by_force_does_not_fail_for_what_is_not_there(engine: Fake, run: Run) -> None:
    assert run("rmi", "-f", "nosuch") == (0, [], "labkit: No such image: nosuch:latest\n")
    assert engine.calls == [("remove", "nosuch", True)]
    assert run("rmi", "-f", "used")[0] == 1


def test_inspect_prints_what_is_there_and_complains_of_what_is_not(run: Run) -> None:
    code, lines, said = run("inspect", "nosuch", "busy")
    assert (code, said) == (1, "labkit: No such object: nosuch\n")
    assert json.loads("\n".join(lines)) == [{"Id": ID, "RepoTags": ["busy:latest", "<b>"], "None": None}]
    assert run("inspect", "nosuch")[:2] == (1, ["[]"])
    assert run("image", "inspect", "nosuch")[2] == run("inspect", "--type=image", "nosuch")[2] == "labkit: No such image: nosuch:latest\n"
    assert run("inspect", "--type=container", "busy")[0] == 1


def test_inspect_with_a_template_is_a_line_each(run: Run) -> None:
    assert run("inspect", "-f", "{{.Id}} {{json .RepoTags}}", "busy", "busy")[1] == [f'{ID} ["busy:latest","<b>"]'] * 2
    assert run("inspect", "-f", "json", "busy")[1] == [f'{{"Id":"{ID}","RepoTags":["busy:latest","<b>"],"None":null}}']
    assert run("inspect", "-f", "{{.Nope}}", "busy")[2].startswith("template parsing error: .Nope: can't evaluate field Nope")


@pytest.mark.parametrize(("answer", "done"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_prune_asks_first(answer: str, done: bool, engine: Fake, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    code, lines, _ = run("image", "prune")
    assert code == 0 and lines[:2] == ["WARNING! This will remove all dangling images.", lines[1]]
    assert lines[1].startswith("Are you sure you want to continue? [y/N] ")
    assert bool(engine.calls) is done


def test_prune_says_what_went_and_how_much_that_was(engine: Fake, run: Run) -> None:
    _, lines, _ = run("image", "prune", "-af", "--filter", "until=24h")
    assert lines == ["Deleted Images:", "untagged: busy:latest", f"deleted: {ID}", "", "Total reclaimed space: 1.982MB"]
    assert engine.calls == [("prune", True, "until=24h")]
    assert run("image", "prune", "--force")[1] == ["Total reclaimed space: 0B"]


def test_names_complete_in_a_shell(engine: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.names(None, None, "bu") == ["busy:latest"]  # type: ignore[arg-type]
    assert engines.names(None, None, "") == ["127.0.0.1:5077/me/web:v1", "busy:latest"]  # type: ignore[arg-type]


def test_an_image_that_does_not_say_when_it_was_made(engine: Fake, run: Run) -> None:
    engine.image = replace(engine.image, config=replace(engine.image.config, created="", history=()))
    assert run("images", "--format", "{{.CreatedSince}}|{{.CreatedAt}}")[1][0] == "N/A|N/A"
    assert run("history", "--format", "{{.ID}}|{{.CreatedSince}}|{{.Size}}", "busy")[1] == ["a752e4a2727b|N/A|1.98MB"]


def test_another_place_for_images_can_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[object, ...]] = []

    def made(*given: object) -> object:
        asked.append(given[:2])
        raise LabError("no more of this")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("labkit.engine.images.ImageStore", made)
    assert commands.main(["--root", "/data", "images"]) == commands.main(["--config", "/x.json", "image", "ls"]) == 1
    assert asked == [("/data", "/etc/labkit/daemon.json"), ("/var/lib/labkit", "/x.json")]
    assert cast(str, capsys.readouterr().err).count("no more of this") == 2
