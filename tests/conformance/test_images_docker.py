"""The same commands about images on labkit and on docker: the same output, the same errors, and each reads what the other made."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_lines import Labkit, Program
from tests.registries import Registry, require, serving

pytestmark = pytest.mark.skipif(not (shutil.which("dockerd") and shutil.which("docker")), reason="docker is not installed")

EPOCH = "1700000000"  # the images are years old, so that both say the same of their age
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
COPY busybox /bin/another-copy-of-it-with-a-name-that-is-longer-than-what-fits-into-the-column
ENV A=b
CMD ["/bin/busybox", "sh"]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    require()
    with serving(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def docker() -> Iterator[Program]:
    """docker with a daemon of its own, which has a directory of its own, and makes no network."""
    with tempfile.TemporaryDirectory(prefix="labkit-") as place:
        configuration = {
            "data-root": f"{place}/data", "exec-root": f"{place}/exec", "pidfile": f"{place}/pid", "hosts": [f"unix://{place}/socket"],
            "bridge": "none", "iptables": False, "ip6tables": False, "ip-forward": False, "ip-masq": False, "storage-driver": "vfs",
            "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": f"/labkit-{os.getpid()}",
        }  # fmt: skip
        Path(place, "daemon.json").write_text(json.dumps(configuration))
        with open(f"{place}/log", "w+") as log:
            command = ["dockerd", "--config-file", f"{place}/daemon.json"]
            dockerd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_until_it_listens(dockerd, Path(place, "log"))
            client = {"DOCKER_HOST": f"unix://{place}/socket", "DOCKER_CONFIG": f"{place}/client", "DOCKER_BUILDKIT": "0", "TZ": "UTC"}
            yield Program(["docker"], client)
        finally:
            dockerd.terminate()
            dockerd.wait(60)
            subprocess.run(["umount", f"{place}/data"], check=False, capture_output=True)  # it makes a mount of it


def _wait_until_it_listens(dockerd: subprocess.Popen[bytes], log: Path) -> None:
    ended = os.pidfd_open(dockerd.pid)
    try:
        while "API listen on" not in log.read_text():
            assert not select.select([ended], [], [], 0.05)[0], f"dockerd has ended: {log.read_text()}"
    finally:
        os.close(ended)


@pytest.fixture(scope="module")
def labkit(tmp_path_factory: pytest.TempPathFactory) -> Labkit:
    return Labkit(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to build from."""
    directory = tmp_path_factory.mktemp("context")
    shutil.copy(shutil.which("busybox") or "busybox is not installed", directory / "busybox")
    (directory / "Dockerfile").write_text(DOCKERFILE)
    return directory


@pytest.fixture(scope="module")
def web(labkit: Labkit, docker: Program, registry: Registry, context: Path) -> str:
    """The name of an image that labkit has built and pushed, and docker has pulled. Both have it by a second name, too."""
    name = f"{registry.address}/me/web:v1"
    labkit.says("build", "-t", name, str(context), SOURCE_DATE_EPOCH=EPOCH)
    labkit.says("push", name)
    docker.says("pull", name)
    for program in labkit, docker:
        program.says("tag", name, "web:2")
    return name


# \\s is a space within a word.
PRINTING = """\
images
images --digests
images --no-trunc
images -q
images --no-trunc -q
images --format json
images web
images nosuch
images --filter=dangling=true
images -f reference=*/me/*
images -f label=nosuch
images -f since=web:2
image ls we?:2
images --format {{.Repository}}:{{.Tag}}@{{.Digest}}|{{.CreatedAt}}|{{.CreatedSince}}|{{.VirtualSize}}
images --format table\\s{{.ID}}\\t{{upper\\s.Tag}}\\t{{json\\s.Size}}
history web:2
history --no-trunc web:2
history -q web:2
history -H=false web:2
history --format=json web:2
inspect --format {{.Id}} web:2
inspect --format {{json\\s.RootFS}}|{{json\\s.Config.Cmd}}|{{.Architecture}}|{{.Os}}|{{.Size}}|{{.Created}} web:2
inspect --format {{range\\s$i,$e:=.Config.Env}}{{$i}}={{$e}};{{end}}|{{len\\s.RootFS.Layers}} web:2
image inspect -f {{json\\s.RepoDigests}} web:2
"""
MISTAKES = """\
pull
pull a b
pull --nope a
pull -Z a
pull BAD
pull -a web:2
pull REGISTRY/me/web:nosuch
pull REGISTRY/no/such
push REGISTRY/no/such
push REGISTRY/me/web:nosuch
push -a nosuch
tag
tag nosuch web:3
tag web:2 BAD
rmi
rmi nosuch
rmi nosuch:1 nosuch:2
rmi ID
image rm nosuch
history
history nosuch
images a b
images -f foo
images --format={{
save
save nosuch
import
inspect
inspect nosuch
logout a b
login --password-stdin
login -u me --password-stdin -p x
build
build /nosuch
"""


@pytest.mark.parametrize("line", PRINTING.splitlines())
def test_the_same_command_prints_the_same(line: str, labkit: Labkit, docker: Program, web: str) -> None:
    words = [word.replace("\\s", " ") for word in line.split()]
    assert sorted(labkit.says(*words).splitlines()) == sorted(docker.says(*words).splitlines())  # of two as old, either may come first


@pytest.mark.parametrize("line", MISTAKES.splitlines())
def test_the_same_mistake_is_told_in_the_same_words(line: str, labkit: Labkit, docker: Program, web: str, registry: Registry) -> None:
    image = labkit.says("images", "-q", "web")
    words = [word.replace("REGISTRY", registry.address).replace("ID", image) for word in line.split()]
    mine, theirs = labkit(*words), docker(*words)
    announced = theirs.out
    if words[:2] == ["push", "-a"]:  # of all tags we look which there are before we speak
        announced = re.sub(r"The push refers to repository .*\n", "", announced)
    assert (mine.code, mine.out) == (theirs.code, announced)
    assert told(mine.complaint).startswith(told(theirs.complaint))  # we may say more: what to do


def told(complaint: str) -> str:
    """A complaint without what must differ: the programs' names, who speaks, and where help is."""
    complaint = re.sub(r"^(docker|Error): ", "", complaint.replace("labkit", "docker"), flags=re.MULTILINE)
    return re.sub(r"\n+(S?Run|See) '.*", "", complaint, flags=re.DOTALL).replace("PATH | URL | -", "PATH | -")


def transcript(program: Program, name: str, *commands: str) -> list[list[str]]:
    """What commands about ``name`` print. Digests and sizes differ: docker 20.10 writes manifests of its own."""
    said = (re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b|size: \d+", "…", program.says(*command.split(), name)) for command in commands)
    # That it verifies, docker says where it has the time to.
    return [sorted(line for line in each.splitlines() if "Verifying Checksum" not in line) for each in said]


def test_pushing_pulling_and_removing_tell_the_same(labkit: Labkit, docker: Program, web: str, registry: Registry) -> None:
    commands = ("push", "push", "push -q", "rmi", "push", "pull", "pull", "pull -q", "images --format {{.Repository}}:{{.Tag}}", "rmi")
    told = []
    for program, name in ((labkit, f"{registry.address}/one/web"), (docker, f"{registry.address}/two/web")):
        image = program.says("inspect", "-f", "{{.Id}}", web)
        program.says("tag", web, name)
        told.append(transcript(program, name, *commands[:4]))
        assert "does not exist" in program(*commands[4].split(), name).err
        program.says("rmi", "-f", image)
        if program is labkit:
            program.says("builder", "prune", "-f")  # where labkit built it, and docker did not
        told[-1] += transcript(program, name, *commands[5:])
        told[-1] = [[line.replace("two/web", "one/web") for line in lines] for lines in told[-1]]
        program.says("pull", web)
        program.says("tag", web, "web:2")
    assert [*zip(commands[:4] + commands[5:], told[0], strict=True)] == [*zip(commands[:4] + commands[5:], told[1], strict=True)]


def test_removing_one_name_of_several_and_all_by_force_tell_the_same(labkit: Labkit, docker: Program, web: str) -> None:
    told = []
    for each in labkit, docker:
        each.says("tag", web, "one:1")
        each.says("tag", web, "one:2")
        told.append([each.says("rmi", "one:1"), each.says("rmi", "one:2"), sorted(each.says("rmi", "-f", web, "web:2").splitlines())])
        each.says("pull", web)
        each.says("tag", web, "web:2")
    assert told[0] == told[1]


def test_each_loads_what_the_other_saved(labkit: Labkit, docker: Program, web: str, tmp_path: Path) -> None:
    images = [each.says("inspect", "-f", "{{.Id}}", web) for each in (labkit, docker)]
    for saves, loads, name in ((labkit, docker, "saved:one"), (docker, labkit, "saved:two")):
        saves.says("tag", web, name)
        saves.says("save", "-o", str(tmp_path / name), name)
        assert loads.says("load", "-i", str(tmp_path / name)) == f"Loaded image: {name}"
        images.append(loads.says("inspect", "-f", "{{.Id}}", name))
        for each in labkit, docker:
            each.says("rmi", name)
    assert len(set(images)) == 1


def test_what_docker_builds_and_pushes_labkit_pulls(labkit: Labkit, docker: Program, registry: Registry, context: Path) -> None:
    name = f"{registry.address}/their/web:v1"
    docker.says("build", "-t", name, str(context))
    docker.says("push", name)
    labkit.says("pull", name)
    for words in (
        ("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Size}}|{{.Comment}}|{{.CreatedAt}}"),
        ("inspect", "-f", "{{.Id}}"),
        ("inspect", "-f", "{{json .RootFS}}|{{.Created}}|{{json .Config.Env}}|{{json .Config.Cmd}}|{{json .RepoDigests}}"),
    ):
        assert labkit.says(*words, name) == docker.says(*words, name)
    for each in labkit, docker:
        each.says("rmi", name)


def test_a_build_tells_the_same_and_makes_the_same_history(labkit: Labkit, docker: Program, context: Path) -> None:
    told = []
    for each in labkit, docker:
        lines = each.says("build", "--no-cache", "-t", "built:v1", str(context)).splitlines()
        # docker sends the directory away, and starts a container for each setting.
        lines = [line for line in lines if line and not line.startswith(("Sending build context", " ---> Running", "Removing"))]
        history = each.says("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Size}}", "built:v1")
        told.append([re.sub(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{64}\b", "…", line) for line in (*lines, *history.splitlines())])
        each.says("rmi", "built:v1")
    assert told[0] == told[1]
