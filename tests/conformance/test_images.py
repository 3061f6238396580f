"""Images from the command line, there and back: Debian's docker-registry, skopeo and umoci read what labkit makes, and the reverse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_lines import Labkit, Program, Result
from tests.registries import PASSWORD, USER, Registry

pytestmark = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed: apt install skopeo umoci")

EPOCH = str(1_700_000_000)
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]
RUN busybox mkdir -p /srv/www && echo hello > /srv/www/index.html && busybox ln /srv/www/index.html /srv/www/again && \\
    busybox chown 12:13 /srv/www/again && busybox chmod 4750 /bin/busybox && echo gone > /srv/gone
RUN busybox rm /srv/gone && busybox mkfifo /srv/pipe
ENV A=b
EXPOSE 80
LABEL course=containers
CMD ["sh"]
"""
skopeo = Program(["skopeo"])
umoci = Program(["umoci"])


@pytest.fixture
def labkit(tmp_path: Path) -> Labkit:
    return Labkit(tmp_path / "lab")


@pytest.fixture
def web(labkit: Labkit, tmp_path: Path) -> str:
    """The name of an image of several layers, which was built."""
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy(shutil.which("busybox") or "busybox is not installed", context / "busybox")
    (context / "Dockerfile").write_text(DOCKERFILE)
    assert "Successfully tagged me/web:v1" in labkit.says("build", "-t", "me/web:v1", str(context), SOURCE_DATE_EPOCH=EPOCH)
    return "me/web:v1"


@pytest.fixture
def remote(labkit: Labkit, web: str, registry: Registry) -> str:
    """Its name in the registry, where it is."""
    name = f"{registry.address}/me/web:v1"
    labkit.says("tag", web, name)
    labkit.says("push", name)
    return name


def inspected(name: str) -> dict[str, object]:
    """What skopeo says of an image in a registry."""
    return dict(json.loads(skopeo.says("inspect", "--tls-verify=false", f"docker://{name}")))


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a directory: kind, mode, owner, time, content or target, and which names are one file."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for place, directories, files in os.walk(root):
        for name in sorted((*directories, *files)):
            path = Path(place, name)
            status = path.lstat()
            relative = str(path.relative_to(root))
            first = relative if path.is_dir() else inodes.setdefault(status.st_ino, relative)
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            found[relative] = (oct(status.st_mode), status.st_uid, status.st_gid, int(status.st_mtime), first, content)
    return found


def unpacked(layout: Path, tag: str, into: Path) -> dict[str, tuple[object, ...]]:
    """The file system of an image of a layout, as umoci unpacks it."""
    umoci.says("unpack", "--image", f"{layout}:{tag}", str(into))
    return tree(into / "rootfs")


def exported(labkit: Labkit, name: str, at: Path) -> dict[str, tuple[object, ...]]:
    """The file system of an image of labkit's, as overlayfs shows it."""
    from labkit.engine.images import ImageStore

    engine = ImageStore(str(labkit.root))
    top = engine.images.ensure_unpacked(engine.get(name))
    assert top
    at.mkdir()
    with engine.store.snapshots.mounted(top, str(at)):
        return tree(at)


def test_what_is_pushed_is_pulled_again_bit_for_bit(labkit: Labkit, remote: str, web: str, tmp_path: Path) -> None:
    before = labkit.ids()
    files = exported(labkit, web, tmp_path / "before")
    digest = labkit.says("inspect", "-f", "{{index .RepoDigests 0}}", remote)
    labkit.says("rmi", "--force", before[web])
    labkit.says("builder", "prune", "--force")
    assert labkit.says("images", "--quiet") == ""
    printed = labkit.says("pull", remote).splitlines()
    assert printed[0] == "v1: Pulling from me/web"
    assert printed[-3:] == [f"Digest: {digest.partition('@')[2]}", f"Status: Downloaded newer image for {remote}", remote]
    assert labkit.ids() == {remote: before[web]}
    assert exported(labkit, remote, tmp_path / "after") == files
    assert files["srv/www/index.html"][4:] == ("srv/www/again", b"hello\n") and files["bin/busybox"][0] == oct(0o104750)
    assert "srv/gone" not in files


def test_a_second_pull_transfers_nothing(labkit: Labkit, remote: str, registry: Registry) -> None:
    count = len(registry.requests("GET"))
    assert f"Status: Image is up to date for {remote}" in labkit.says("pull", remote)
    assert [request for request in registry.requests("GET")[count:] if "/blobs/" in request.path] == []


def test_skopeo_reads_what_labkit_pushed(labkit: Labkit, remote: str, tmp_path: Path) -> None:
    seen = inspected(remote)
    mine = json.loads(labkit.says("inspect", remote))[0]
    assert f"{remote.rpartition(':')[0]}@{seen['Digest']}" in mine["RepoDigests"]
    assert (seen["Labels"], seen["Architecture"], seen["Os"], seen["Env"]) == (
        {"course": "containers"}, mine["Architecture"], "linux", mine["Config"]["Env"],
    )  # fmt: skip
    skopeo.says("copy", "--src-tls-verify=false", f"docker://{remote}", f"oci:{tmp_path}/layout:web")
    assert unpacked(tmp_path / "layout", "web", tmp_path / "bundle") == exported(labkit, remote, tmp_path / "mine")


def test_labkit_reads_what_skopeo_copied(labkit: Labkit, web: str, registry: Registry, tmp_path: Path) -> None:
    image = labkit.ids()[web]
    skopeo.says("copy", f"oci:{labkit.root}/images:docker.io/{web}", f"oci:{tmp_path}/layout:web")
    files = unpacked(tmp_path / "layout", "web", tmp_path / "bundle")
    for kind in "oci", "v2s2":
        name = f"{registry.address}/theirs/{kind}:latest"
        skopeo.says("copy", "--dest-tls-verify=false", "--format", kind, f"oci:{tmp_path}/layout:web", f"docker://{name}")
        other = Labkit(tmp_path / kind)
        other.says("pull", name)
        assert other.says("images", "--digests", "--format", "{{.Digest}}") == inspected(name)["Digest"]
        assert exported(other, name, tmp_path / f"mine-{kind}") == files
        assert kind != "oci" or other.ids()[name] == image


def test_skopeo_copies_between_the_store_and_a_registry(labkit: Labkit, web: str, registry: Registry) -> None:
    name = f"{registry.address}/me/web:straight"
    skopeo.says("copy", "--dest-tls-verify=false", f"oci:{labkit.root}/images:docker.io/{web}", f"docker://{name}")
    skopeo.says("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{labkit.root}/images:{name}")
    ids = labkit.ids()
    assert ids[name] == ids[web]
    labkit.says("rmi", web)
    assert labkit.says("inspect", "-f", "{{.Id}}", name) == ids[web]


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_archives_go_to_skopeo_and_come_from_it(kind: str, labkit: Labkit, web: str, tmp_path: Path) -> None:
    archive, back = tmp_path / "web.tar", tmp_path / "back.tar"
    labkit.says("save", "-o", str(archive), web)
    skopeo.says("copy", f"{kind}:{archive}", f"oci:{tmp_path}/layout:web")
    assert unpacked(tmp_path / "layout", "web", tmp_path / "bundle") == exported(labkit, web, tmp_path / "mine")
    destination = f"{kind}:{back}:me/web:v2" if kind == "docker-archive" else f"{kind}:{back}:docker.io/me/web:v2"
    skopeo.says("copy", f"oci:{tmp_path}/layout:web", destination)
    other = Labkit(tmp_path / "other")
    assert other.says("load", "-i", str(back)) == "Loaded image: me/web:v2"
    assert exported(other, "me/web:v2", tmp_path / "theirs") == exported(labkit, web, tmp_path / "again")


def test_saving_by_a_pipe_and_loading_by_one_gives_the_same_image(labkit: Labkit, web: str, tmp_path: Path) -> None:
    other = Labkit(tmp_path / "other")
    program, rest = labkit.words[0], labkit.words[1:]
    with subprocess.Popen([program, *rest, "save", web], stdout=subprocess.PIPE) as saving:
        done = subprocess.run([*other.words, "load"], stdin=saving.stdout, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr, saving.returncode) == (0, f"Loaded image: {web}\n", "", 0)
    assert other.ids() == labkit.ids()


def test_a_file_system_is_imported_with_changes(labkit: Labkit, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "files.tar.gz", "w:gz") as archive:
        archive.add(shutil.which("busybox") or "busybox is not installed", "bin/sh")
    changes = ("-c", 'CMD ["sh"]', "--change=ENV A=b", "-c", "WORKDIR /srv", "-m", "by hand")
    image = labkit.says("import", *changes, str(tmp_path / "files.tar.gz"), "own:v1")
    assert labkit.ids() == {"own:v1": image}
    (told,) = json.loads(labkit.says("inspect", "own:v1"))
    assert (told["Config"]["Cmd"], told["Config"]["Env"], told["Config"]["WorkingDir"]) == (["sh"], ["A=b"], "/srv")
    assert labkit.says("history", "--format", "{{.Comment}}", "own:v1") == "by hand"
    wrong = labkit("import", "-c", "RUN false", str(tmp_path / "files.tar.gz"))
    assert (wrong.code, wrong.complaint[:39]) == (1, "RUN is not a valid change command: ther")


def test_a_password_is_kept_where_docker_and_skopeo_find_it(labkit: Labkit, web: str, registries: Callable[..., Registry]) -> None:
    registry = registries(htpasswd=True)
    name = f"{registry.address}/me/web:v1"
    labkit.says("tag", web, name)
    refused = labkit("push", name)
    assert refused.code == 1 and "push access denied" in refused.err and f"labkit login {registry.address}" in refused.err
    wrong = labkit("login", "-u", USER, "--password-stdin", registry.address, stdin="wrong")
    assert wrong.code == 1 and wrong.out == ""
    done = labkit("login", "-u", USER, "--password-stdin", registry.address, stdin=f"{PASSWORD}\n")
    assert (done.code, done.out) == (0, "Login Succeeded\n")
    labkit.says("push", name)
    authfile = f"{labkit.environment['DOCKER_CONFIG']}/config.json"
    assert os.stat(authfile).st_mode & 0o777 == 0o600
    skopeo.says("inspect", "--authfile", authfile, "--tls-verify=false", f"docker://{name}")
    assert labkit.says("logout", registry.address) == f"Removing login credentials for {registry.address}"
    assert labkit("pull", name).code == 1


def test_all_tags_go_and_come_at_once(labkit: Labkit, web: str, registry: Registry, tmp_path: Path) -> None:
    repository = f"{registry.address}/me/web"
    for tag in "v1", "v2", "latest":
        labkit.says("tag", web, f"{repository}:{tag}")
    printed = labkit.says("push", "--all-tags", repository)
    assert re.findall(r"^(\S+): digest: ", printed, re.MULTILINE) == ["latest", "v1", "v2"]
    other = Labkit(tmp_path / "other")
    assert other.says("pull", "-q", "-a", repository) == repository
    assert set(other.ids()) == {f"{repository}:{tag}" for tag in ("v1", "v2", "latest")}
    assert labkit("pull", "-a", f"{repository}:v1") == Result(1, "", "labkit: tag can't be used with --all-tags/-a\n")


def test_a_mirror_serves_the_names_of_docker_hub(labkit: Labkit, web: str, registry: Registry, tmp_path: Path) -> None:
    labkit.says("tag", web, f"{registry.address}/library/web:latest")
    labkit.says("push", f"{registry.address}/library/web")
    student = Labkit(tmp_path / "student", registry_mirrors=["http://127.0.0.1:9", registry.url])
    pulled = student("pull", "web")
    assert pulled.code == 0 and pulled.out.splitlines()[-1] == "docker.io/library/web:latest"
    assert pulled.err.startswith("labkit: warning: mirror http://127.0.0.1:9: ") and pulled.err.count("\n") == 1
    assert student.ids() == {"web:latest": labkit.ids()[web]}
