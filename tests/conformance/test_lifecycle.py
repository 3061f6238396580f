"""create, start, kill, delete, and what each says of the container in between (OCI runtime-spec 1.1, runtime.md)."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.linux import cgroups
from labkit.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Container, Runtime

SHARED_PIDS = {"linux.namespaces": [{"type": kind} for kind in ("mount", "uts", "ipc", "network")]}


def test_the_state_follows_the_life_of_the_container(container: Callable[..., Container]) -> None:
    box = container({"annotations": {"org.example.course": "containers"}}).created()
    state = box.state()
    pid = state["pid"]
    assert (state["id"], state["status"], state["bundle"]) == (box.id, "created", str(box.bundle))
    assert state["annotations"] == {"org.example.course": "containers"}
    assert str(state["ociVersion"]).startswith("1.") and os.path.exists(f"/proc/{pid}")
    box.start()
    assert (box.state()["status"], box.state()["pid"]) == ("running", pid)
    box.runtime("pause", box.id)
    assert box.state()["status"] == "paused"
    box.runtime("resume", box.id)
    assert box.state()["status"] == "running"
    box.kill("KILL")
    assert box.wait(int(str(pid))) == 137
    assert (box.state()["status"], box.state().get("pid", 0)) == ("stopped", 0)
    assert box.delete().code == 0
    assert box.runtime("state", box.id).code == 1


def test_nothing_of_the_process_runs_before_start(container: Callable[..., Container]) -> None:
    box = container({}, "sh", "-c", "echo ran; exit 3").created()
    pid = box.pid
    assert not select.select([box.output], [], [], 0)[0]
    assert box.start().code == 0
    assert (box.line(), box.wait(pid)) == ("ran", 3)


def test_the_configuration_is_that_of_create(container: Callable[..., Container]) -> None:
    box = container({}, "sh", "-c", "echo as created").created()
    pid = box.pid
    (box.bundle / "config.json").write_text("{}")
    assert box.start().code == 0
    assert (box.line(), box.wait(pid)) == ("as created", 0)


def test_a_program_that_is_not_there_is_an_error_of_create_and_nothing_is_left(container: Callable[..., Container]) -> None:
    box = container({}, "no-such-program")
    result = box.create()
    assert result.code != 0 and "executable file not found in $PATH" in result.err
    assert box.runtime("state", box.id).code == 1


@pytest.mark.parametrize("given", ["TERM", "SIGTERM", "15"])
def test_kill_takes_a_signal_by_name_or_number(container: Callable[..., Container], given: str) -> None:
    box = container({}, "sh", "-c", "trap 'exit 4' TERM; sleep infinity & echo ready; wait")
    box.started()
    pid = box.pid
    assert box.line() == "ready"
    assert box.kill(given).code == 0
    assert box.wait(pid) == 4


def test_kill_without_a_signal_is_sigterm(container: Callable[..., Container]) -> None:
    box = container(SHARED_PIDS).started()
    pid = box.pid
    assert box.runtime("kill", box.id).code == 0
    assert box.wait(pid) == 128 + signal.SIGTERM


def test_kill_all_reaches_every_process_of_the_container(container: Callable[..., Container]) -> None:
    box = container(SHARED_PIDS, "sh", "-c", "sleep infinity & echo $!; wait").started()
    init, child = box.pid, int(box.line())
    assert box.kill("KILL", "--all").code == 0
    assert (box.wait(init), box.wait(child)) == (137, 137)


def test_a_created_container_can_be_killed_and_deleted(container: Callable[..., Container]) -> None:
    box = container().created()
    pid = box.pid
    assert box.kill("KILL").code == 0
    assert box.wait(pid) == 137
    assert box.start().code != 0
    assert box.delete().code == 0


def test_a_container_that_only_was_created_is_deleted_at_once(container: Callable[..., Container]) -> None:
    box = container().created()
    assert box.delete().code == 0
    assert box.runtime("state", box.id).code == 1


def test_a_running_container_is_not_deleted_unless_by_force(container: Callable[..., Container]) -> None:
    box = container().started()
    result = box.delete()
    assert result.code == 1 and result.err
    assert box.state()["status"] == "running"
    assert box.delete("--force").code == 0
    assert box.runtime("state", box.id).code == 1


def test_deleting_takes_processes_that_outlive_the_init(container: Callable[..., Container]) -> None:
    box = container(SHARED_PIDS, "sh", "-c", "sleep infinity & echo $!").started()
    child = int(box.line())
    assert box.delete("--force").code == 0
    assert box.wait(child) == 137


def test_an_id_is_taken_until_its_container_is_deleted(container: Callable[..., Container]) -> None:
    box = container().created()
    again = box.create()
    assert again.code == 1 and again.err
    assert box.state()["status"] == "created"


MISTAKES = [
    ("state", "nobody"),
    ("start", "nobody"),
    ("kill", "nobody"),
    ("delete", "nobody"),
    ("pause", "nobody"),
    ("resume", "nobody"),
    ("ps", "nobody"),
    ("exec", "nobody", "true"),
    ("create",),
    ("start",),
    ("state",),
    ("kill",),
    ("exec",),
    ("create", "--bundle", "/no/such/bundle", "nobody"),
    ("create", "--no-such-option", "nobody"),
    ("dance", "nobody"),
]


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_is_told_on_standard_error_and_is_no_success(runtime: Runtime, words: tuple[str, ...]) -> None:
    result = runtime(*words)
    assert result.code != 0 and result.err != ""


def test_forcing_away_what_is_not_there_is_no_mistake(runtime: Runtime) -> None:
    assert runtime("delete", "--force", "nobody").code == 0


@pytest.mark.parametrize("id", ["", "..", "../x", "a/b", "a b", "ä"])
def test_an_id_that_is_no_file_name_is_refused(container: Callable[..., Container], id: str) -> None:
    box = container()
    result = box.runtime("create", "--bundle", str(box.bundle), id)
    assert result.code == 1 and "id" in result.err.lower()


def test_what_the_state_forbids_is_refused(container: Callable[..., Container]) -> None:
    box = container().started()
    pid = box.pid
    assert box.start().code == 1
    assert box.kill("BOO").code == 1
    assert box.runtime("resume", box.id).code == 1
    assert box.runtime("pause", box.id).code == 0
    assert box.exec(box.id, "true").code != 0
    assert box.runtime("resume", box.id).code == 0
    box.kill("KILL")
    box.wait(pid)
    assert box.kill("KILL").code == 1
    assert box.exec(box.id, "true").code != 0
    assert box.runtime("pause", box.id).code == 1
    assert box.start().code == 1


def test_a_paused_container_stands_still(container: Callable[..., Container]) -> None:
    box = container({}, "sh", "-c", "trap 'echo told' USR1; echo ready; while :; do :; done").started()
    assert box.line() == "ready"
    assert box.runtime("pause", box.id).code == 0
    assert box.frozen()
    box.kill("USR1")
    assert box.runtime("resume", box.id).code == 0
    assert not box.frozen()
    assert box.line() == "told"


def test_list_shows_each_container_once(container: Callable[..., Container]) -> None:
    first, second = container().created(), container().started()
    shown = {entry["id"]: (entry["status"], entry["pid"], entry["bundle"]) for entry in json.loads(first.runtime("list", "-f", "json").out)}
    assert shown == {first.id: ("created", first.pid, str(first.bundle)), second.id: ("running", second.pid, str(second.bundle))}
    assert sorted(first.runtime("list", "-q").out.split()) == sorted([first.id, second.id])
    header, *rows = [line.split() for line in first.runtime("list").out.splitlines()]
    assert header[:4] == ["ID", "PID", "STATUS", "BUNDLE"]
    assert sorted(row[:4] for row in rows) == sorted(
        [box.id, str(box.pid), status, str(box.bundle)] for box, status in ((first, "created"), (second, "running"))
    )


def test_list_of_nothing_is_a_header(runtime: Runtime) -> None:
    assert runtime("list").out.split()[:4] == ["ID", "PID", "STATUS", "BUNDLE"]
    assert runtime("list", "--format", "json").out.strip() in ("null", "[]")


def test_ps_shows_the_processes_of_the_container(container: Callable[..., Container]) -> None:
    box = container({}, "sh", "-c", "sleep infinity & echo; wait").started()
    box.line()
    pids = json.loads(box.runtime("ps", "--format", "json", box.id).out)
    assert box.pid in pids and len(pids) == 2
    header, *rows = box.runtime("ps", box.id).out.splitlines()
    assert "PID" in header.split() and len(rows) == 2
    header, *rows = box.runtime("ps", box.id, "-o", "pid,comm").out.splitlines()
    assert header.split()[0] == "PID" and sorted(int(row.split()[0]) for row in rows) == sorted(pids)


def test_the_pid_file_holds_the_pid_of_the_init(container: Callable[..., Container], directory: Path) -> None:
    box = container().created("--pid-file", str(directory / "pid"))
    assert (directory / "pid").read_text() == str(box.pid)


def test_run_deletes_the_container_when_it_has_ended_unless_it_is_kept(container: Callable[..., Container]) -> None:
    box = container({}, "true")
    assert box.run().code == 0
    assert box.runtime("state", box.id).code == 1
    assert box.run("--keep").code == 0
    assert box.state()["status"] == "stopped"
    assert box.delete().code == 0


def test_run_detached_returns_while_the_container_runs(container: Callable[..., Container], directory: Path) -> None:
    box = container()
    result = box.run("--detach", "--pid-file", str(directory / "pid"))
    assert (result.code, box.state()["status"]) == (0, "running")
    assert (directory / "pid").read_text() == str(box.pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_run_hands_signals_on_to_the_container(container: Callable[..., Container], number: signal.Signals) -> None:
    box = container({}, "sh", "-c", f"trap 'echo got it; exit 5' {number.value}; echo ready; while :; do sleep 0.01; done")
    with running(box) as run:
        assert run.stdout is not None and run.stdout.readline() == b"ready\n"
        run.send_signal(number)
        assert (run.stdout.readline(), run.wait(timeout=30)) == (b"got it\n", 5)


def test_run_reports_a_container_that_is_killed_from_outside(container: Callable[..., Container]) -> None:
    box = container({}, "sh", "-c", "echo ready; sleep infinity")
    with running(box) as run:
        assert run.stdout is not None and run.stdout.readline() == b"ready\n"
        assert box.kill("KILL").code == 0
        assert run.wait(timeout=30) == 137


def test_run_joins_its_standard_input_to_the_container(container: Callable[..., Container]) -> None:
    result = container({}, "cat").run(stdin=b"through and through")
    assert result.out == "through and through"


def running(box: Container) -> subprocess.Popen[bytes]:
    command = box.runtime.command("run", "--bundle", str(box.bundle), box.id)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def test_descriptors_are_passed_on_when_asked_for_and_closed_otherwise(container: Callable[..., Container], directory: Path) -> None:
    (directory / "file").write_text("passed on")
    with open(directory / "file") as file:
        at_three = os.dup2(file.fileno(), 3) if file.fileno() != 3 else 3
        passed = container({}, "sh", "-c", "cat <&3").run("--preserve-fds", "1", pass_fds=(at_three,))
        kept_back = container({}, "sh", "-c", "ls /proc/self/fd").run(pass_fds=(at_three,))
    assert (passed.code, passed.out) == (0, "passed on")
    assert kept_back.out.split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads


def test_errors_go_to_the_log_that_the_caller_names(runtime: Runtime, directory: Path) -> None:
    assert runtime("--log", str(directory / "log"), "--log-format", "json", "state", "nobody").code == 1
    line = json.loads((directory / "log").read_text().splitlines()[-1])
    assert line["level"] == "error" and line["msg"] and line["time"]


def test_options_that_engines_pass_are_taken(container: Callable[..., Container], directory: Path) -> None:
    box = container({}, "true")
    words = ("--log", str(directory / "log"), "--log-format", "json", "--rootless", "auto", "--debug")
    assert box.runtime(*words, "run", "-b", str(box.bundle), "--no-new-keyring", "--no-subreaper", box.id).code == 0


def test_the_bundle_is_the_current_directory_unless_it_is_named(container: Callable[..., Container]) -> None:
    box = container({}, "sh", "-c", "echo here")
    assert box.runtime("run", box.id, cwd=box.bundle).out == "here\n"


def test_two_containers_can_run_at_once(container: Callable[..., Container]) -> None:
    first, second = container().started(), container().started()
    assert first.inside("ls -d /proc/[0-9]*") and first.state()["status"] == second.state()["status"] == "running"
    assert os.readlink(f"/proc/{first.pid}/ns/mnt") != os.readlink(f"/proc/{second.pid}/ns/mnt")


def test_spec_writes_a_configuration_that_runs(runtime: Runtime, container: Callable[..., Container]) -> None:
    box = container()
    (box.bundle / "config.json").unlink()
    assert runtime("spec", "--bundle", str(box.bundle)).code == 0
    config = json.loads((box.bundle / "config.json").read_text())
    assert (config["process"]["args"], config["root"]["readonly"]) == (["sh"], True)
    assert runtime("spec", "--bundle", str(box.bundle)).code == 1  # what is there is not overwritten
    config["process"].update(terminal=False, args=["sh", "-c", "hostname"])
    (box.bundle / "config.json").write_text(json.dumps(config))
    assert box.run().out.strip() == config["hostname"]


def test_spec_writes_the_same_as_runc_but_for_its_name(runtime: Runtime, directory: Path) -> None:
    here = defaults.with_cgroup_namespace if cgroups.detect().mode == "v2" else lambda spec: spec
    for options, ours in ((), here(defaults.spec())), (("--rootless",), here(defaults.rootless())):
        assert runtime("spec", *options, cwd=directory).code == 0
        written = json.loads((directory / "config.json").read_text())
        (directory / "config.json").unlink()
        named = {"hostname": written["hostname"], "ociVersion": written["ociVersion"]}
        assert written == {**json.loads(defaults.text(ours)), **named}


def test_features_are_told_as_json(runtime: Runtime) -> None:
    features = json.loads(runtime("features").out)
    assert features["ociVersionMin"] == "1.0.0"
    assert {"createRuntime", "poststop"} <= set(features["hooks"])
    assert {"mount", "pid", "user"} <= set(features["linux"]["namespaces"])
    assert (features["linux"]["cgroup"]["v1"], features["linux"]["cgroup"]["v2"]) == (True, True)
    assert features["linux"]["seccomp"]["enabled"] is True


def test_the_version_is_told(runtime: Runtime) -> None:
    result = runtime("--version")
    assert result.code == 0 and "version" in result.out and "spec: 1." in result.out


@pytest.fixture
def process_with_namespaces() -> Iterator[int]:
    """A process in network, UTS and PID namespaces of its own: the pid of the one that is PID 1 in there."""
    command = ["unshare", "--net", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", "hostname shared; echo $$; exec sleep infinity"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
        (child,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        yield int(child)
        os.kill(int(child), signal.SIGKILL)
        holder.wait()


def test_namespaces_that_exist_are_joined(container: Callable[..., Container], process_with_namespaces: int) -> None:
    other = process_with_namespaces
    paths = {"network": "net", "uts": "uts", "pid": "pid"}
    box = container(
        {
            "hostname": "",
            "linux.namespaces": [
                *({"type": kind, "path": f"/proc/{other}/ns/{name}"} for kind, name in paths.items()),
                {"type": "mount"},
                {"type": "ipc"},
            ],
        }
    ).started()
    pid = box.pid
    for name in ("net", "uts", "pid"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/{other}/ns/{name}")
    assert os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink(f"/proc/{other}/ns/mnt")
    assert box.inside("hostname; cat /proc/1/comm") == "shared\nsleep"
    box.kill("KILL")  # before the PID namespace's own init ends, which waits until we have reaped everybody in it
    assert box.wait(pid) == 137


def test_namespaces_are_new_where_the_configuration_says_so_and_the_hosts_where_not(container: Callable[..., Container]) -> None:
    box = container({"hostname": "", "linux.namespaces": [{"type": "mount"}, {"type": "pid"}]}).started()
    ours, theirs = ({name: os.readlink(f"/proc/{pid}/ns/{name}") for name in os.listdir("/proc/self/ns")} for pid in ("self", box.pid))
    assert {name for name in ours if ours[name] != theirs[name]} == {"mnt", "pid", "pid_for_children"}


def test_a_path_that_is_no_namespace_of_that_kind_is_refused(container: Callable[..., Container]) -> None:
    for path in ("/proc/self/ns/uts", "/etc/passwd", "/no/such"):
        box = container({"linux.namespaces[1].path": path})
        assert box.create().code == 1
        assert box.runtime("state", box.id).code == 1
