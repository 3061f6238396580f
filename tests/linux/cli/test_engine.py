"""The engine's verbs for images: what goes with an image and what stays, and who waits for whom."""

from __future__ import annotations

import io
import multiprocessing
import shutil
import tarfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from labkit.engine.build import context
from labkit.engine.images import ImageStore
from labkit.errors import Conflict, InvalidInput, NotFound

BASE = "FROM scratch\nCOPY busybox /bin/busybox\n"
WEB = 'FROM base\nCOPY page /srv/page\nCMD ["/bin/busybox", "sh"]\n'


@pytest.fixture
def engine(tmp_path: Path) -> ImageStore:
    return ImageStore(str(tmp_path / "store"), str(tmp_path / "daemon.json"))


@pytest.fixture
def build(engine: ImageStore, tmp_path: Path) -> Callable[[str, str], str]:
    """Build an image from the text of a Dockerfile; its ID."""
    directory = tmp_path / "context"
    directory.mkdir()
    shutil.copy(shutil.which("busybox") or "busybox is not installed", directory / "busybox")
    (directory / "page").write_text("hello\n" * 1000)

    def build(name: str, dockerfile: str) -> str:
        (directory / "Dockerfile").write_text(dockerfile)
        with context.directory(str(directory)) as opened:
            return engine.build(opened, tags=(name,)).id

    return build


def archive(**files: str) -> io.BytesIO:
    """A tar archive of files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    out.seek(0)
    return out


def kept(engine: ImageStore) -> tuple[int, int]:
    """How many blobs and how many layers there are."""
    return len(engine.store.blobs.list()), len(engine.store.snapshots.list())


def test_with_the_last_name_an_image_goes_and_what_others_share_stays(engine: ImageStore, build: Callable[[str, str], str]) -> None:
    build("base", BASE)
    web = build("web", WEB)
    engine.prune_builds()
    assert kept(engine) == (6, 2)  # two manifests, two configs, two layers: the lower one is of both
    engine.tag("web", "me/web:v1")
    assert [str(line) for line in engine.remove("web")] == ["Untagged: web:latest"]
    assert kept(engine) == (6, 2)
    said = [str(line) for line in engine.remove("me/web:v1")]
    assert said[:2] == ["Untagged: me/web:v1", f"Deleted: {web}"] and len(said) == 3
    assert kept(engine) == (3, 1)
    engine.remove("base")
    assert kept(engine) == (0, 0)
    with pytest.raises(NotFound, match="No such image: base:latest"):
        engine.remove("base")


def test_what_a_build_may_use_again_stays_until_it_is_pruned(engine: ImageStore, build: Callable[[str, str], str]) -> None:
    first = build("base", BASE)
    engine.remove("base")
    assert engine.list() == () and kept(engine)[1] == 1
    assert build("base", BASE) == first
    engine.remove("base")
    assert engine.prune_builds() > 900_000
    assert kept(engine) == (0, 0)


def test_an_id_with_names_in_several_repositories_goes_only_by_force(engine: ImageStore, build: Callable[[str, str], str]) -> None:
    image = build("base", BASE)
    engine.tag("base", "me/base")
    with pytest.raises(Conflict, match="must be forced"):
        engine.remove(image[7:19])
    assert [str(line) for line in engine.remove(image[7:19], force=True)][:3] == [
        "Untagged: base:latest", "Untagged: me/base:latest", f"Deleted: {image}",
    ]  # fmt: skip


def test_a_prune_takes_what_lost_its_name_and_says_how_much_that_was(engine: ImageStore, build: Callable[[str, str], str]) -> None:
    old = build("base", BASE)
    new = build("base", BASE + "ENV A=b\n")
    assert old != new and [listed.image.id for listed in engine.list(["dangling=true"])] == [old]
    assert [str(line) for line in engine.prune().removed] == [f"Deleted: {old}"]
    assert engine.get("base").id == new
    engine.prune_builds()
    pruned = engine.prune(all=True)
    assert pruned.bytes > 900_000 and kept(engine) == (0, 0)
    assert engine.prune(all=True) == type(pruned)((), 0)


def test_all_kinds_of_changes_of_an_import_reach_the_config(engine: ImageStore) -> None:
    changes = (
        'CMD ["sh"]', "ENTRYPOINT /bin/init", 'CMD ["again"]', "ENV A=b C=$A", "EXPOSE 80 53/udp", "HEALTHCHECK --retries=2 CMD true",
        "LABEL x=y", "ONBUILD RUN true", "STOPSIGNAL SIGQUIT", "USER me", "VOLUME /data", "WORKDIR /srv", "WORKDIR www",
    )  # fmt: skip
    config = engine.import_(archive(file="x"), "own", changes=changes).config.config
    assert (config.Cmd, config.Entrypoint, config.Env) == (("again",), ("/bin/sh", "-c", "/bin/init"), ("A=b", "C="))
    assert (config.User, config.WorkingDir, config.StopSignal, config.OnBuild) == ("me", "/srv/www", "SIGQUIT", ("RUN true",))
    assert ([*config.ExposedPorts], [*config.Volumes], dict(config.Labels)) == (["53/udp", "80/tcp"], ["/data"], {"x": "y"})
    assert config.Healthcheck and config.Healthcheck.Retries == 2
    with pytest.raises(InvalidInput, match="RUN is not a valid change command"):
        engine.import_(archive(file="x"), changes=("RUN true",))


@pytest.mark.parametrize("name", ["BAD", "web@sha256:" + "0" * 64, ""])
def test_a_name_that_cannot_be_given_is_refused(name: str, engine: ImageStore, build: Callable[[str, str], str]) -> None:
    build("base", BASE)
    with pytest.raises(InvalidInput, match="reference"):
        engine.tag("base", name)


def _hold(root: str, connection: Connection) -> None:
    with ImageStore(root).store.changing():
        connection.send("held")
        connection.recv()


def test_who_wants_to_change_what_another_changes_is_called_and_waits(tmp_path: Path, build: Callable[[str, str], str]) -> None:
    build("base", BASE)
    mine, theirs = multiprocessing.Pipe()
    other = multiprocessing.get_context("fork").Process(target=_hold, args=(str(tmp_path / "store"), theirs))
    other.start()
    assert mine.recv() == "held"
    engine = ImageStore(str(tmp_path / "store"), waiting=lambda: mine.send("go on"))
    assert engine.get("base").tags, "who only looks does not wait"
    engine.tag("base", "me/base")
    other.join()
    assert {name.familiar for name in engine.get("base").tags} == {"base:latest", "me/base:latest"}
