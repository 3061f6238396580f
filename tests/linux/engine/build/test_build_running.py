"""RUN: what the command sees, what of it stays in the image, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.engine.build import running
from labkit.engine.build.output import Output
from labkit.engine.build.running import CommandFailed
from labkit.errors import LabError, NotFound
from labkit.image.image import Image
from labkit.linux import capabilities
from labkit.runtime import container, state

if TYPE_CHECKING:
    from conftest import Lab


def written(lab: Lab, dockerfile: str, **options: object) -> str:
    """What the last RUN of a build has written."""
    lab.build(f"FROM base\n{dockerfile}", **options)
    return lab.text.rpartition(" ---> Running in ")[2].partition("\n")[2].partition("Removing intermediate")[0]


def test_a_command_has_the_images_environment_directory_and_user(lab: Lab, base: Image) -> None:
    text = written(lab, "ENV A=1 B='x y'\nARG C=3\nARG A=hidden\nWORKDIR /srv\nUSER ada\nRUN id; pwd; env", args={"http_proxy": "http://p"})
    lines = text.splitlines()
    assert lines[0].startswith("uid=5(ada) gid=6(ada)") and "50(staff)" in lines[0] and lines[1] == "/srv"
    assert {"A=1", "B=x y", "C=3", "HOME=/home/ada", "http_proxy=http://p"} <= set(lines) and "A=hidden" not in lines


def test_a_command_has_no_more_rights_than_in_docker(lab: Lab, base: Image) -> None:
    text = written(lab, "RUN grep -E 'Cap(Eff|Bnd|Amb)|Seccomp:' /proc/self/status; echo 1 > /proc/sys/kernel/panic || ls /proc/acpi")
    default = f"{capabilities.mask(capabilities.DEFAULT):016x}"
    assert re.findall(r"^(\w+):\t(\w+)$", text, re.M) == [("CapEff", default), ("CapBnd", default), ("CapAmb", "0" * 16), ("Seccomp", "2")]
    assert any("Read-only file system" in said.text for said in lab.said if said.is_error)


def test_another_user_than_root_has_none(lab: Lab, base: Image) -> None:
    text = written(lab, "USER ada\nRUN grep -E 'Cap(Prm|Eff)' /proc/self/status")
    assert set(re.findall(r":\s+(\w+)", text)) == {"0" * 16}


def test_what_is_mounted_for_the_command_leaves_no_trace(lab: Lab, base: Image) -> None:
    image = lab.build(
        "FROM base\nRUN echo 1.2.3.4 box >> /etc/hosts && cat /etc/hosts /etc/resolv.conf /etc/hostname > /seen\n"
        "RUN ls /proc/1 /sys /dev/null"
    )
    assert lab.layers(image)[1:] == [{"seen"}]
    with lab.root(image) as root:
        seen = (root / "seen").read_text()
    assert "127.0.0.1\tlocalhost\n" in seen and "1.2.3.4 box\n" in seen and Path("/etc/resolv.conf").read_text() in seen
    assert re.search(r"^[0-9a-f]{12}$", seen, re.M)


def test_the_network_is_the_machines_or_none(lab: Lab, base: Image) -> None:
    ours, none = (
        written(lab, "RUN ls /sys/class/net; readlink /proc/self/ns/net || ls -l /proc/self/ns/net", network=name, no_cache=True)
        for name in ("host", "none")
    )
    assert os.readlink("/proc/self/ns/net") in ours
    assert none.split()[0] == "lo" and os.readlink("/proc/self/ns/net") not in none


def test_what_is_written_into_a_volume_does_not_stay(lab: Lab, base: Image) -> None:
    image = lab.build(
        "FROM base\nRUN mkdir /v && echo 1 > /v/1\nVOLUME /v /w\nRUN cat /v/1 && echo 2 > /v/2 && echo 3 > /w/3 && echo 4 > /4"
    )
    with lab.root(image) as root:
        assert sorted(os.listdir(root / "v")) == ["1"] and os.listdir(root / "w") == [] and (root / "4").read_text() == "4\n"


def test_standard_error_is_told_apart_and_characters_are_whole(lab: Lab, base: Image) -> None:
    lab.build("FROM base\nRUN printf '\\303'; sleep 0.1; printf '\\251 \\377'; echo wrong >&2")
    assert "é �" in lab.text
    assert [said.text for said in lab.said if said.is_error] == ["wrong\n"]


@pytest.mark.parametrize(
    ("run", "code", "message"),
    [
        ("RUN exit 3", 3, "The command '/bin/sh -c exit 3' returned a non-zero code: 3"),
        ('RUN ["sh", "-c", "exit 4"]', 4, "The command 'sh -c exit 4' returned a non-zero code: 4"),
        ("RUN nothing", 127, "The command '/bin/sh -c nothing' returned a non-zero code: 127"),
        ('SHELL ["sh", "-ec"]\nRUN false; true', 1, "The command 'sh -ec false; true' returned a non-zero code: 1"),
    ],
)
def test_a_command_that_fails_ends_the_build_with_its_code(lab: Lab, base: Image, run: str, code: int, message: str) -> None:
    with pytest.raises(CommandFailed) as error:
        lab.build(f"FROM base\n{run}\nRUN echo never")
    assert (error.value.code, str(error.value)) == (code, message)
    assert "never" not in lab.text and nothing_left(lab)


def test_a_command_that_cannot_be_executed_is_told(lab: Lab, base: Image) -> None:
    with pytest.raises(LabError, match=r"nothing: .*executable file not found"):
        lab.build('FROM base\nRUN ["nothing"]')
    with pytest.raises(NotFound, match="unable to find user bob: no matching entries in passwd file"):
        lab.build("FROM base\nUSER bob\nRUN true")
    assert nothing_left(lab)


def test_output_comes_while_the_command_runs(lab: Lab, base: Image) -> None:
    def kill(said: Output) -> None:
        if said.text == "first\n":
            (id,) = mine(lab)
            assert state.status(running.STATE, state.load(running.STATE, id)) == "running"
            container.kill(running.STATE, id, "KILL")

    with pytest.raises(CommandFailed, match="code: 137"):
        lab.build("FROM base\nRUN echo first; sleep 1000", report=kill)


def test_an_interrupted_build_leaves_nothing(lab: Lab, base: Image) -> None:
    def interrupt(said: Output) -> None:
        if said.text == "first\n":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.build("FROM base\nRUN echo first; sleep 1000", report=interrupt)
    assert nothing_left(lab)


def test_what_a_killed_build_leaves_the_next_one_takes_away(lab: Lab, base: Image) -> None:
    script = (
        "import sys\n"
        "from labkit.engine.build import builder\n"
        "from labkit.image.images import Images\n"
        "from labkit.storage.store import Store\n"
        "builder.build(Images(Store(sys.argv[1])), sys.argv[2], report=lambda said: print(said.text, end='', flush=True))"
    )
    (lab.context / "Dockerfile").write_text("FROM base\nRUN echo first; sleep 1000")
    command = [sys.executable, "-c", script, str(lab.place / "store"), str(lab.context)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any(line == "first\n" for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert len(mine(lab)) == 1
    lab.build("FROM base\nRUN true")
    assert nothing_left(lab)


def mine(lab: Lab) -> list[str]:
    """The containers of this lab's builds."""
    return [id for id in state.ids(running.STATE) if state.load(running.STATE, id).bundle.startswith(f"{lab.place}/")]


def nothing_left(lab: Lab) -> bool:
    store = lab.place / "store"
    assert mine(lab) == []
    assert os.listdir(store / "snapshots/active") == []
    assert [name for place in ("mnt", "run") if (store / "build" / place).is_dir() for name in os.listdir(store / "build" / place)] == []
    return True
