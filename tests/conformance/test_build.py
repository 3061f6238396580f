"""The same Dockerfile built by Docker's classic builder and by labkit: the same config, history and files, the same errors."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import select
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from labkit.engine.build import builder
from labkit.engine.build.running import CommandFailed
from labkit.errors import LabError
from labkit.image.images import Images
from labkit.storage.store import Store
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not (shutil.which("dockerd") and shutil.which("docker")), reason="docker is not installed")

SECONDS = 60 * PATIENCE
DOCKERFILE = """\
# escape=\\
ARG BASE=scratch
FROM ${BASE} AS base
COPY bin /bin
COPY etc/ /etc/
ENV A=b C="d e"
ENV OLD value with spaces
ENV REF=$A-${C:+x}-${NO:-none}
RUN echo hello $A > /x; \\
    # a comment between
    ls -ln /bin > /list
WORKDIR /srv
WORKDIR rel
RUN true
ARG V=3
ARG W
RUN echo "v $V" > v
EXPOSE 80 53/udp 8000-8002
LABEL a="b c" z=1 b=$A
VOLUME /data /data2
VOLUME ["/data3"]
RUN echo lost > /data/lost
HEALTHCHECK --interval=30s --timeout=1m30s --retries=5 CMD ls /
CMD ["sh", "-c", "echo \\"hi\\""]
STOPSIGNAL SIGQUIT
SHELL ["/bin/sh", "-ec"]
RUN ["/bin/touch", "/exec"]
USER ada
RUN id > /tmp/id && stat -c %u:%g /tmp/id >> /tmp/id
MAINTAINER me <me@example.org>
ONBUILD ENV TRIGGERED=yes
FROM base
USER root
COPY a.txt b.txt new/
COPY --chown=ada sub /z
COPY --chown=7:8 sub /z/more/
COPY . .
COPY *.txt /wild/
COPY --from=base /x /y/
COPY --from=0 --chown=5:6 /srv /zz
COPY --from=base /srv /zzz/
ADD arch.tar /added
ADD arch.tar.gz /added2/
ADD a.txt /added3
COPY a.txt /
COPY a.txt /renamed
COPY ["sub/link", "/li nk"]
ENTRYPOINT ls
ONBUILD RUN echo trigger
HEALTHCHECK NONE
RUN rm -r /z/deep && mkdir /z/deep && rm /wild/a.txt
CMD echo shell $A
"""
MISTAKES = [
    ("FROM scratch\nFOO x"),
    ("FROM a b"),
    ("FROM scratch\nCOPY a.txt"),
    ("FROM scratch\nCOPY nosuch /"),
    ("FROM scratch\nCOPY a.log /"),
    ("FROM scratch\nCOPY no* /"),
    ("FROM scratch\nCOPY ../x /"),
    ("FROM scratch\nCOPY a.txt b.txt /x"),
    ("FROM scratch\nCOPY http://x/y /"),
    ("FROM scratch\nCOPY --from=5 x /"),
    ("FROM scratch\nCOPY --from=0 x /"),
    ("FROM scratch\nCOPY --bad=5 x /"),
    ("FROM scratch\nADD --from=x a b"),
    ("FROM scratch\nENV"),
    ("FROM scratch\nLABEL =x"),
    ("FROM scratch\nUSER"),
    ("FROM scratch\nEXPOSE abc"),
    ("FROM scratch\nEXPOSE 80/foo"),
    ("FROM scratch\nSTOPSIGNAL FOO"),
    ('FROM scratch\nVOLUME [""]'),
    ("FROM scratch\nHEALTHCHECK FOO x"),
    ("FROM scratch\nHEALTHCHECK CMD"),
    ("FROM scratch\nHEALTHCHECK --interval=1us CMD a"),
    ("FROM scratch\nHEALTHCHECK --retries=0 CMD a"),
    ("FROM scratch\nHEALTHCHECK NONE x"),
    ("FROM scratch\nSHELL sh -c"),
    ("FROM scratch\nONBUILD FROM x"),
    ("FROM scratch\nONBUILD ONBUILD x"),
    ("FROM scratch\nENV a=${b:^x}"),
    ("FROM scratch\nENV a=${b:?no}"),
    ("FROM scratch\nENV a='x"),
    ("FROM scratch as 1x"),
    ("FROM scratch as a\nFROM scratch as a"),
    ("FROM ${x}"),
    ("FROM scratch"),
    ("FROM t:v1\nENTRYPOINT []\nRUN exit 3"),
    ("FROM t:v1\nENTRYPOINT []\nRUN nosuch"),
    ('FROM t:v1\nRUN ["sh", "-c", "exit 4"]'),
    ("FROM t:v1\nUSER nosuch\nRUN true"),
    ("FROM t:v1\nUSER 77:nosuch\nRUN true"),
]


@dataclass(frozen=True)
class Built:
    """An image: its config as JSON, and of each layer what it holds."""

    config: dict[str, object]
    layers: list[dict[str, tuple[object, ...]]]

    @property
    def history(self) -> list[dict[str, object]]:
        return [{key: value for key, value in entry.items() if key != "created"} for entry in self.config["history"]]  # type: ignore[attr-defined]

    @property
    def settings(self) -> Mapping[str, object]:
        """What is said, without the ID of the image before and what Docker copies from a container's configuration."""
        inner: dict[str, object] = self.config["config"]  # type: ignore[assignment]
        unsaid = {"Image", "Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"}
        return {key: value for key, value in inner.items() if value and key not in unsaid}


def contents(archive: bytes) -> dict[str, tuple[object, ...]]:
    """What a layer holds: of each member kind, mode, owner, size and where it leads; the times of files, not of directories."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as layer:
        return {
            member.name.rstrip("/"): (member.type, member.mode & 0o777, member.uid, member.gid, member.size, member.linkname)
            for member in layer
            if member.name != "." and not os.path.basename(member.name).startswith(".wh.")
        }


class Docker:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.environment = os.environ | {
            "DOCKER_HOST": f"unix://{place}/socket",
            "DOCKER_CONFIG": f"{place}/client",
            "DOCKER_BUILDKIT": "0",
        }

    def __call__(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["docker", *words], env=self.environment, capture_output=True, timeout=SECONDS, check=False)

    def image(self, name: str) -> Built:
        with tarfile.open(fileobj=io.BytesIO(self("save", name).stdout)) as archive:

            def read(member: str) -> bytes:
                file = archive.extractfile(member)
                assert file
                return file.read()

            (manifest,) = json.loads(read("manifest.json"))
            return Built(json.loads(read(manifest["Config"])), [contents(read(layer)) for layer in manifest["Layers"]])


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with tempfile.TemporaryDirectory(prefix="labkit-") as path:
        place = Path(path)
        configuration = {
            "data-root": f"{place}/data", "exec-root": f"{place}/exec", "pidfile": f"{place}/pid", "hosts": [f"unix://{place}/socket"],
            "bridge": "none", "iptables": False, "ip6tables": False, "ip-forward": False, "ip-masq": False, "storage-driver": "overlay2",
            "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": f"/labkit-{os.getpid()}",
        }  # fmt: skip
        (place / "daemon.json").write_text(json.dumps(configuration))
        with open(place / "log", "w") as log:
            command = ["dockerd", "--config-file", str(place / "daemon.json")]
            dockerd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until_it_listens(dockerd, place / "log")
            yield Docker(place)
        finally:
            dockerd.terminate()
            dockerd.wait(SECONDS)
            subprocess.run(["umount", "--lazy", place / "data"], check=False, capture_output=True)  # it makes a mount of it
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass  # the shims, which were left to us
            for hierarchy in Path("/sys/fs/cgroup").glob(f"**/labkit-{os.getpid()}"):
                hierarchy.rmdir()


def wait_until_it_listens(dockerd: subprocess.Popen[bytes], path: Path) -> None:
    ended = os.pidfd_open(dockerd.pid)
    with open(path) as log:
        said = ""
        while "API listen on" not in said:
            assert not select.select([ended], [], [], 0.05)[0], f"dockerd has ended: {said}"
            said += log.read()
    os.close(ended)


@pytest.fixture(scope="module")
def context(busybox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a bit of everything."""
    root = tmp_path_factory.mktemp("context")
    shutil.copytree(busybox / "bin", root / "bin", symlinks=True)
    for applet in ("echo", "ls", "mkdir", "rm", "stat", "touch"):
        (root / "bin" / applet).symlink_to("busybox")
    for name, text in (
        ("a.txt", "one\n"), ("b.txt", "two\n"), ("a.log", ""), ("sub/deep/x", "x\n"), (".dockerignore", "*.log\n"),
        ("etc/passwd", "root:x:0:0::/:/bin/sh\nada:x:5:6::/:/bin/sh\n"), ("etc/group", "root:x:0:\nada:x:6:\nstaff:x:50:ada\n"),
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "etc/tmp").mkdir()
    (root / "b.txt").chmod(0o600)
    (root / "sub").chmod(0o700)
    (root / "sub/link").symlink_to("deep/x")
    os.mkfifo(root / "sub/pipe")
    for name, mode in (("arch.tar", "w"), ("arch.tar.gz", "w:gz")):
        with tarfile.open(root / name, mode) as archive:  # type: ignore[call-overload]
            archive.add(root / "sub/deep", "deep")
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(Store(str(tmp_path_factory.mktemp("store"))))


@pytest.fixture(scope="module")
def built(docker: Docker, images: Images, context: Path) -> tuple[Built, Built]:
    """The image of ``DOCKERFILE`` as Docker has built it, and as labkit has."""
    text = DOCKERFILE.replace("RUN id > /tmp/id", "USER root\nRUN mkdir -m 777 /tmp\nUSER ada\nRUN id > /tmp/id")
    (context / "Dockerfile").write_text(text)
    done = docker("build", "--network=none", "--tag=t:v1", "--build-arg=V=9", "--label=q=it's", str(context))
    assert done.returncode == 0, done.stderr
    image = builder.build(images, str(context), tags=("t:v1",), args={"V": "9"}, labels={"q": "it's"}, network="none")
    blobs = images.store.blobs
    layers = [contents(gzip.decompress(Path(blobs.path(layer.digest)).read_bytes())) for layer in image.manifest.layers]
    return docker.image("t:v1"), Built(json.loads(blobs.read(image.id)), layers)


def test_the_config_is_the_same(built: tuple[Built, Built]) -> None:
    reference, ours = built
    assert ours.settings == reference.settings
    for key in "architecture", "os", "author":
        assert ours.config.get(key) == reference.config.get(key)


def test_the_history_is_the_same_word_for_word(built: tuple[Built, Built]) -> None:
    reference, ours = built
    assert ours.history == reference.history


def test_the_layers_hold_the_same_files(built: tuple[Built, Built]) -> None:
    reference, ours = built
    assert ours.layers == reference.layers


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_told_in_the_same_words(docker: Docker, images: Images, context: Path, built: tuple[Built, Built], text: str) -> None:
    (context / "Dockerfile").write_text(text)
    told = docker("build", "--network=none", "--quiet", str(context))
    with pytest.raises(LabError) as error:
        builder.build(images, str(context), network="none")
    last = told.stderr.decode().strip().splitlines()[-1].removeprefix("\x1b[0m").removeprefix("Error response from daemon: ")
    assert str(error.value) == last
    code = error.value.code if isinstance(error.value, CommandFailed) else 1
    assert code == told.returncode
