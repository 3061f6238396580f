"""Debian 13 in a tar, and packages to install on it, from a Debian mirror: what the images debian and nginx are made of.

    >>> from labkit.lab.seed import debian
    >>> debian.bootstrap("/tmp/rootfs.tar", "/tmp/packages", ("nginx",), say=print)
    asking http://ftp.debian.org/debian
    downloading packages with apt

mmdebstrap (``man 1 mmdebstrap``) unpacks the packages that Debian calls essential, and apt, into a directory, configures them in
a chroot there, and packs the result. With SOURCE_DATE_EPOCH no file is younger than that moment, and what would differ from
run to run (logs, caches, the machine's name) is left out: the same packages give the same tar, byte for byte.

The mirrors are those that this machine's own apt uses, with its proxies: a class that has a mirror of its own need not say so twice.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence

from labkit.errors import LabError, Unreachable, Unsupported

SUITE = "trixie"
EPOCH = 1_767_225_600
"""2026-01-01: no file of the lab's images is younger, in seconds since 1970."""

PROGRAM = "mmdebstrap"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""Named, for on Ubuntu apt does not trust Debian's keys by itself."""

OPTIONS = (
    "--variant=apt",
    f"--keyring={KEYRING}",
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Retries "1"',
    '--aptopt=Acquire::http::Timeout "10"',
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--skip=check/signed-by",  # it would want gpg, to find out what --keyring has said already
    "--skip=output/dev",
    # Last of all: these three are of this machine, or were for us alone.
    '--customize-hook=rm "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/apt/apt.conf.d/99mmdebstrap" "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"',
)
_DOWNLOAD = (
    "--customize-hook=APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --quiet --quiet --yes --download-only"
    ' -o Dir::Cache::archives="$LABKIT_PACKAGES" install $LABKIT_WANTED'
)


def bootstrap(tarball: str, directory: str, packages: Sequence[str], say: Callable[[str], None]) -> None:
    """Write the root file system to ``tarball``, and ``packages`` with all that they need besides it, as .deb, to ``directory``.

    ``say`` is told each step. Takes ten seconds on a fast line. Raises ``Unsupported`` if a program is missing, ``Unreachable`` with
    the word of apt on it if no mirror answers, or not with what it should.
    """
    if not (program := shutil.which(PROGRAM)) or not os.path.exists(KEYRING):
        raise Unsupported("to make the images debian and nginx: apt-get install mmdebstrap debian-archive-keyring (`make setup` does)")
    failures = []
    for mirror in _mirrors():
        say(f"asking {mirror or 'the Debian mirror'}")
        source = [f"deb {mirror} {SUITE} main"] if mirror else []
        command = [program, *_own_settings(), _DOWNLOAD, *OPTIONS, SUITE, tarball, *source]
        if (failure := _run(command, directory, packages, say)) is None:
            break
        failures.append(failure)
    else:
        raise LabError(failures[0]) if "No space left" in failures[0] else Unreachable(failures[0])
    _add_dev(tarball)
    shutil.rmtree(f"{directory}/partial", ignore_errors=True)
    for name in os.listdir(directory):
        if not name.endswith(".deb"):
            os.unlink(f"{directory}/{name}")


def _run(command: Sequence[str], directory: str, packages: Sequence[str], say: Callable[[str], None]) -> str | None:
    """Why it failed, or None."""
    environment = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "LABKIT_PACKAGES": directory,
        "LABKIT_WANTED": " ".join(packages),
        "TMPDIR": os.path.dirname(directory),
    }
    os.makedirs(directory, exist_ok=True)
    said = []
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in filter(None, map(str.strip, process.stdout)):
            said.append(line)
            if step := re.fullmatch(r"I: (\w+ing [^/]*?)(\.\.\.)?", line):
                say(step[1])
    if process.returncode == 0:
        return None
    # apt's own word on it comes first; then mmdebstrap complains that apt has failed.
    errors = [line for line in said if line.startswith(("E:", "error:"))] or said[-1:] or [f"exit code {process.returncode}"]
    return re.sub(r"^\w+: (Failed to fetch (\S+)  )?", lambda found: f"{found[2]}: " if found[2] else "", errors[0])


def _add_dev(tarball: str) -> None:
    """mmdebstrap leaves out the devices, for a runtime makes them, but with them the directory that they are in."""
    with tarfile.open(tarball, "a") as tar:
        dev = tarfile.TarInfo("./dev")
        dev.type, dev.mode, dev.mtime = tarfile.DIRTYPE, 0o755, EPOCH
        tar.addfile(dev)


def _mirrors() -> Iterator[str]:
    """Where this machine's apt gets Debian from; and "", for the one that mmdebstrap knows, unless that is Debian's own already."""
    form = ["--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian", "Component: main", "Created-By: Packages"]
    listed = subprocess.run(["apt-get", "indextargets", *form], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    found = [uri.rstrip("/") for uri in dict.fromkeys(listed.stdout.split()) if uri.startswith(("http://", "https://"))]
    yield from found
    if not any(".debian.org/" in uri for uri in found):
        yield ""


def _own_settings() -> Iterator[str]:
    """How this machine's apt reaches mirrors: proxies, and what it has been told about dates and certificates."""
    dumped = subprocess.run(["apt-config", "dump"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    for line in dumped.stdout.splitlines():
        if re.match(r"Acquire::(https?::|Check-)", line) and not line.endswith(' "";'):
            yield f"--aptopt={line.removesuffix(';')}"
