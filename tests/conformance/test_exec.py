"""One more process in a container that runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Container

STATUS = "grep -E '^{}:' /proc/self/status | tr -s '\\t ' ' '"


def test_it_shares_every_namespace_and_group_of_the_container(container: Callable[..., Container]) -> None:
    box = container({"linux.namespaces[+]": {"type": "cgroup"}}).started()
    for name in sorted(os.listdir("/proc/self/ns")):
        assert box.inside(f"readlink /proc/self/ns/{name}") == os.readlink(f"/proc/{box.pid}/ns/{name}")
    assert box.inside("cat /proc/self/cgroup") == box.inside("cat /proc/1/cgroup")
    assert box.inside("cat /proc/1/comm; hostname; ls -d /bin") == "sleep\nlabkit\n/bin"


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)])
def test_its_exit_code_is_the_commands(container: Callable[..., Container], script: str, code: int) -> None:
    box = container().started()
    assert box.exec(box.id, "sh", "-c", script).code == code


def test_its_standard_streams_are_the_callers(container: Callable[..., Container]) -> None:
    box = container().started()
    result = box.exec(box.id, "sh", "-c", "cat; echo err >&2", stdin=b"in")
    assert (result.out, result.err) == ("in", "err\n")


def test_it_has_the_limits_and_rights_of_the_containers_process(container: Callable[..., Container]) -> None:
    rights = {name: ["CAP_CHOWN"] for name in ("bounding", "effective", "permitted")}
    rlimits = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]
    changes = {"process.capabilities": rights, "process.rlimits": rlimits, "process.oomScoreAdj": 321}
    box = container(
        {**changes, "linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}}
    )
    box.started()
    assert box.inside(STATUS.format("Cap(Prm|Eff|Bnd)")) == "\n".join(f"Cap{name}: 0000000000000001" for name in ("Prm", "Eff", "Bnd"))
    assert box.inside(STATUS.format("(NoNewPrivs|Seccomp)")) == "NoNewPrivs: 1\nSeccomp: 2"
    assert box.inside("ulimit -n; cat /proc/self/oom_score_adj") == "64\n321"


def test_options_change_what_it_is(container: Callable[..., Container]) -> None:
    box = container().started()
    words = ("--cwd", "/bin", "-e", "A=1", "-e", "B=2", "--user", "7:8", "-g", "9", box.id)
    assert box.exec(*words, "sh", "-c", "pwd; echo $A$B; id -u; id -G").out.split("\n")[:4] == ["/bin", "12", "7", "8 9"]
    assert box.exec("--user", "7", box.id, "id", "-u").out == "7\n"
    added = box.exec("--cap", "CAP_SYS_ADMIN", box.id, "sh", "-c", STATUS.format("CapEff")).out
    assert int(added.split()[1], 16) & 1 << 21


@pytest.mark.labkit_only("runc 1.1 leaves the umask of exec at 0022")
def test_it_has_the_umask_of_the_containers_process_or_its_own(container: Callable[..., Container], directory: Path) -> None:
    box = container({"process.user.umask": 0o077}).started()
    assert box.inside("umask") == "0077"
    process = {"args": ["sh", "-c", "umask"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0, "umask": 0o027}}
    (directory / "process.json").write_text(json.dumps(process))
    assert box.exec("--process", str(directory / "process.json"), box.id).out == "0027\n"


def test_no_new_privileges_can_be_asked_for(container: Callable[..., Container]) -> None:
    box = container({"process.noNewPrivileges": False}).started()
    assert box.inside(STATUS.format("NoNewPrivs")) == "NoNewPrivs: 0"
    assert box.exec("--no-new-privs", box.id, "sh", "-c", STATUS.format("NoNewPrivs")).out == "NoNewPrivs: 1\n"


def test_a_process_can_be_given_as_json(container: Callable[..., Container], directory: Path) -> None:
    box = container().started()
    process = {
        "args": [
            "sh",
            "-c",
            "pwd; echo $A; id -u; id -G; ulimit -n; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status | tr -s '\\t' ' '",
        ],
        "cwd": "/bin",
        "env": ["PATH=/bin", "A=1"],
        "user": {"uid": 0, "gid": 8, "additionalGids": [9]},
        "capabilities": {name: ["CAP_KILL"] for name in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 32, "hard": 32}],
        "noNewPrivileges": True,
    }
    (directory / "process.json").write_text(json.dumps(process))
    result = box.exec("--process", str(directory / "process.json"), box.id)
    assert result.out.splitlines() == ["/bin", "1", "0", "8 9", "32", "CapEff: 0000000000000020", "NoNewPrivs: 1"], result.err


def test_detached_it_returns_while_the_process_runs(container: Callable[..., Container], directory: Path) -> None:
    box = container().started()
    result = box.exec(
        "--detach", "--pid-file", str(directory / "pid"), box.id, "sh", "-c", "trap 'exit 9' TERM; kill -TERM $$; sleep infinity"
    )
    assert result.code == 0
    assert box.wait(int((directory / "pid").read_text())) == 9


def test_a_detached_process_ends_with_its_container(container: Callable[..., Container], directory: Path) -> None:
    box = container().started()
    box.exec("--detach", "--pid-file", str(directory / "pid"), box.id, "sleep", "infinity")
    init, other = box.pid, int((directory / "pid").read_text())
    assert other in json.loads(box.runtime("ps", "--format", "json", box.id).out)
    box.kill("KILL")
    assert box.wait(other) == 137
    assert box.wait(init) == 137


@pytest.mark.parametrize(
    ("words", "code"), [(("no-such-program",), 127), (("/no/such",), 127), (("/bin",), 126), (("--cwd", "/no/such", "true"), 127), ((), 1)]
)
def test_what_cannot_be_executed_is_an_error(container: Callable[..., Container], words: tuple[str, ...], code: int) -> None:
    box = container().started()
    options = words[:2] if words[:1] == ("--cwd",) else ()
    result = box.exec(*options, box.id, *words[len(options) :])
    assert result.err and result.code == (255 if box.runtime.name == "runc" else code)
    assert box.state()["status"] == "running"


def test_a_container_that_only_was_created_can_be_entered(container: Callable[..., Container]) -> None:
    box = container().created()
    assert box.inside("hostname") == "labkit"
    assert box.state()["status"] == "created"


def test_descriptors_are_passed_on_when_asked_for(container: Callable[..., Container], directory: Path) -> None:
    box = container().started()
    (directory / "file").write_text("passed on")
    with open(directory / "file") as file:
        at_three = os.dup2(file.fileno(), 3) if file.fileno() != 3 else 3
        assert box.exec("--preserve-fds", "1", box.id, "sh", "-c", "cat <&3", pass_fds=(at_three,)).out == "passed on"
        assert box.exec(box.id, "sh", "-c", "ls /proc/self/fd", pass_fds=(at_three,)).out.split() == ["0", "1", "2", "3"]
