"""Two clients of the same daemon, docker and labkit: the same lines typed print the same and end with the same exit code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_lines import Program, Result
from tests.daemons import DOCKER, HAS_DOCKERD, Daemon, busybox_archive, dockerd, labkit_daemon

pytestmark = pytest.mark.skipif(not DOCKER, reason="docker is not installed")

LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")


@pytest.fixture(scope="module", params=["labkit", *(["dockerd"] if HAS_DOCKERD else [])])
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon that has an image of busybox."""
    with tempfile.TemporaryDirectory(prefix="labkit-") as path:
        place = Path(path)
        with (labkit_daemon if request.param == "labkit" else dockerd)(place / "daemon") as running:
            running.docker.says("load", "-i", str(busybox_archive(place)))
            context(place / "context")
            running.docker.says("run", "--rm", "--network", "none", "busybox", "true")  # the control group of all is made, which stays
            yield running


def context(directory: Path) -> None:
    """Something to build."""
    directory.mkdir()
    (directory / "Dockerfile").write_text('FROM busybox\nCOPY file /file\nRUN cat /file\nENV A=b\nCMD ["cat", "/file"]\n')
    (directory / "Other").write_text("FROM busybox\nRUN exit 3\n")
    (directory / "Wrong").write_text("FROM busybox\nNOSUCH\n")
    (directory / "file").write_text("what is in it\n")
    (directory / "left-out").write_text("x")
    (directory / ".dockerignore").write_text("left-out\n")


@pytest.fixture
def clients(daemon: Daemon) -> Iterator[list[Program]]:
    """docker and labkit."""
    made = [daemon.client(program) for program in (DOCKER, LABKIT)]
    yield made
    clear(made[0])


def clear(docker: Program) -> None:
    """No container, no volume and no image but one is left."""
    if left := docker.says("ps", "--all", "--quiet").split():
        docker.says("rm", "--force", *left)
    docker("volume", "rm", *docker.says("volume", "ls", "--quiet").split())
    docker.says("image", "prune", "--force")


# A line is typed in both; \\s is a space within a word. `n` names the container of the line, which each client has its own of.
SCENARIOS = {
    "life": """\
run -d --name box -l a=b -e X=y -w /bin --network none --hostname h busybox sleep 1000
ps
ps -a --no-trunc
ps -q
ps --format json
ps --format table\\s{{.Names}}\\t{{.Status}}\\t{{.Command}}
ps --format {{.ID}}|{{.Image}}|{{.Labels}}|{{.Mounts}}|{{.Networks}}|{{.LocalVolumes}}|{{.Size}}
ps --format {{.Names}}:{{.Label\\s"a"}}:{{.Label\\s"nosuch"}}
ps --format table\\s{{.Names}}\\t{{.Label\\s"a"}}
ps -f name=bo
ps -f name=nosuch
ps -s
inspect -f {{.Name}}|{{.Config.Env}}|{{.HostConfig.NetworkMode}}|{{json\\s.Config.Labels}} box
exec box sh -c echo\\sout;\\secho\\serr\\s>&2;\\sexit\\s7
exec -e A=b -w /etc -u 7:8 box sh -c echo\\s$A;\\spwd;\\sid\\s-u;\\sid\\s-g
exec -d box touch /here
exec -t box tty
exec box nosuch
diff box
top box -o comm
port box
port box 80
pause box
exec box true
ps --format {{.Status}}
unpause box
unpause box
rename box other
rename nosuch other
rm other
kill -s BOGUS other
kill -s TERM other nosuch
stop -t 0 other nosuch
wait other
ps -a --format {{.Status}}
start other
restart -t 0 other
update -m 64m --memory-swap 64m other
update other
stats --no-stream --format {{.Name}} other
rm -f other nosuch
rm other
ps -aq
""",
    "run": """\
run --rm --network none busybox sh -c echo\\sout;\\secho\\serr\\s>&2;\\sexit\\s3
run --rm --network none busybox nosuchcmd
run --rm --network none busybox /etc
run --rm --network none --entrypoint echo busybox a b
run --rm --network none -e A=1 -e NOSUCH busybox env
run --rm --network none -e TZ busybox env
run --rm --network none -u 5 -w /etc busybox sh -c pwd;\\sid\\s-u
run --rm --network none -m 32m --cpus .5 --pids-limit 9 busybox true
run --rm -t --network none busybox tty
run --rm --network none --read-only busybox touch /x
run --rm --network none --tmpfs /t busybox touch /t/x
run --rm --network none -v /bin:/mine:ro busybox ls /mine/busybox
run --rm --network none --mount type=bind,src=/nosuch,dst=/x busybox true
run --rm --network none --init busybox true
run --rm --network none --cap-drop ALL busybox true
run --rm --network none --cap-add CAP_NOSUCH busybox true
run --rm --network none -a stdout busybox sh -c echo\\sout;\\secho\\serr\\s>&2
run -it --network none busybox true
run -d -a stdout --network none busybox true
run --rm --network nosuch busybox true
run --rm --restart always busybox true
run --pull never nosuch:1
run --pull sometimes busybox
run BAD^IMG
run --name b@d busybox
create --name made --network none busybox sh -c echo\\shi;\\sexit\\s4
create --name made --network none busybox
create -p x busybox
create nosuch:1 --pull never
start -a made
start -ai made
start made nosuch
wait made
start -a made nosuch
attach made
logs made
logs -t --tail 1 nosuch
wait made
inspect -f {{.State.ExitCode}}|{{.State.Status}} made
commit -m message -a author made made:v1
inspect -f {{.Comment}}|{{.Author}}|{{.Config.Cmd}} made:v1
logs --since x made
logs --until 2020-01-01 made
inspect -f {{.ID}}|{{.HostConfig.NanoCPUs}} made
rm made
""",
    "refusals": """\
run
run --zzzz busybox
run -Z busybox
run --name
run -e
run -e =x busybox
run -p x busybox
run -p 80:70:60 busybox
run -p 80/x busybox
run -p 80-82:1-2 busybox
run -p 1.2.3.4:99999:80 busybox
run --expose x busybox
run -v :/a busybox
run -v a:b:c:d busybox
run -m foo busybox
run -m 1m --network none busybox
run --cpus x busybox
run --cpus 99 --network none busybox
run --memory-swappiness 101 busybox
run --mount x busybox
run --mount type=bind busybox
run --mount a=b,dst=/x busybox
run --mount dst=/a,ro=x busybox
run --ulimit x busybox
run --restart x busybox
run --restart on-failure:x busybox
run --pid x busybox
run --uts x busybox
run --userns x busybox
run --cgroupns x busybox
run --network-alias x --network none busybox
run --network none --network n1 busybox
run --network name=x,y busybox
run --device x busybox
run --device /dev/null:/x:q busybox
run --log-driver none --log-opt a=b busybox
run --env-file /nosuch busybox
run --link a:b:c busybox
run --mac-address x busybox
run --sysctl x busybox
run --storage-opt x busybox
run --health-retries -1 busybox
run --no-healthcheck --health-cmd x busybox
run --health-interval 5 busybox
run --add-host x busybox
run --dns x busybox
run --label =x busybox
run --security-opt x busybox
run --security-opt seccomp=/nosuch busybox
run --blkio-weight-device x busybox
run --blkio-weight 99999 busybox
run --device-read-bps x busybox
run --device-cgroup-rule x busybox
run --gpus x busybox
run --attach x busybox
run --stop-timeout x busybox
run --init=perhaps busybox
exec
exec box
exec nosuch true
ps x
ps -f x
ps -f x=y
ps -n x
ps --all=perhaps
logs
logs nosuch
logs --since x nosuch
logs -n
stop
stop -t x box
start
attach nosuch
kill nosuch
pause nosuch
wait nosuch
top nosuch
port nosuch
diff nosuch
export nosuch
commit nosuch
rename a
update nosuch
update -m 7m nosuch
stats --no-stream nosuch
inspect
inspect nosuch
inspect --type container nosuch
inspect --type image nosuch
inspect --type network nosuch
inspect --type volume nosuch
inspect -f {{.Id busybox
container inspect nosuch
cp a b
cp nosuch:/x y
cp /nosuch nosuch:/x
cp nosuch:/x nosuch:/y
volume rm nosuch
volume rm -f nosuch
volume inspect nosuch
network inspect nosuch
network rm nosuch
network connect nosuch nosuch
-H unix:///nosuch ps
""",
    "volumes": """\
volume create
volume create --label a=b v1
volume create v1
volume ls -f name=v1
volume ls -q -f name=v1
volume ls --format json -f name=v1
volume ls --format {{.Driver}}|{{.Name}}|{{.Labels}} -f label=a
volume inspect -f {{.Name}}|{{.Labels}}|{{.Scope}} v1
run --rm --network none -v v1:/data busybox touch /data/x
run -d --name box --network none -v v1:/data busybox sleep 1000
inspect -f {{range\\s.Mounts}}{{.Type}}|{{.Destination}}|{{.RW}};{{end}} box
volume rm v1
rm -fv box
volume rm v1
volume prune -f
volume ls -q
""",
    "networks": """\
network ls
network ls -q
network ls --format {{.Name}}|{{.Driver}}|{{.Scope}}|{{.Internal}}|{{.IPv6}}
network ls -f driver=null
network ls --no-trunc -f name=host
network inspect -f {{.Name}}|{{.Driver}} none
network inspect host
network rm none
network disconnect none nosuch
network prune -f
""",
    "ports": """\
run -d --name box -p 8080:80 -p 127.0.0.1:8081:81/udp --expose 90-92 busybox sleep 1000
port box
port box 80
port box 81/udp
port box 82
ps --format {{.Ports}}
inspect -f {{json\\s.NetworkSettings.Ports}} box
inspect -f {{json\\s.HostConfig.PortBindings}}|{{.HostConfig.NetworkMode}} box
run --name other -p 8080:80 busybox true
inspect -f {{.State.Status}} other
network create --subnet 172.30.7.0/24 --gateway 172.30.7.9 --label a=b n1
network create n1
network create --subnet x n2
network ls -f label=a --format {{.Name}}|{{.Driver}}|{{.Labels}}|{{.Internal}}
network inspect -f {{.Name}}|{{json\\s.IPAM.Config}}|{{.Labels}} n1
network connect --alias al --ip 172.30.7.44 n1 box
network connect n1 box
network inspect -f {{range\\s.Containers}}{{.Name}}|{{.IPv4Address}}{{end}} n1
inspect -f {{(index\\s.NetworkSettings.Networks\\s"n1").IPAddress}} box
run --rm --network n1 --network-alias me --ip 172.30.7.77 busybox sh -c ip\\saddr\\s|\\sgrep\\s172
run --rm --network name=n1,alias=x,ip=172.30.7.78 busybox sh -c ip\\saddr\\s|\\sgrep\\s172
run --rm --network bridge --ip 172.17.0.9 busybox true
network rm n1
network disconnect n1 box
network disconnect n1 box
network rm n1 nosuch
network prune -f
run -d --name more -P --expose 80 busybox sleep 1000
port more
""",
    "images": """\
images
images -q --no-trunc
images --format {{.Repository}}|{{.Tag}}|{{.ID}}|{{.Size}}
images nosuch
images -f dangling=true
images -f x
history busybox
history -q busybox
history --no-trunc --format {{.CreatedBy}}|{{.Size}} busybox
image inspect -f {{.Id}}|{{.Os}}|{{json\\s.Config.Cmd}} busybox
image inspect nosuch
inspect -f {{.Id}} busybox
tag busybox b:1
tag nosuch b:1
tag busybox BAD
images b
save -o PLACE/out.tar b:1
rmi b:1
rmi b:1
rmi -f b:1
load -i PLACE/out.tar
load -q -i PLACE/out.tar
rmi b:1
save -o PLACE/out2.tar nosuch
import -c CMD\\s["sh"] -m hello PLACE/out.tar imp:1
history --format {{.Comment}} imp:1
rmi imp:1
build --network none -t built PLACE/../context
build -q --network none -t built PLACE/../context
images -q built
run --rm --network none built
build -f PLACE/../context/Other --network none PLACE/../context
build -f PLACE/../context/Wrong PLACE/../context
build PLACE/nosuch
rmi built
push localhost:1/nosuch
pull localhost:1/nosuch
image prune -f
builder prune -f
""",
    "copying": """\
create --name box --network none busybox
cp PLACE/../tree/etc/passwd box:/tmp
cp PLACE/../tree/etc/passwd box:/etc/copied
cp PLACE/../tree/etc box:/new
cp PLACE/../tree/etc/. box:/bin
cp PLACE/../tree/etc box:/nosuch/deeper
cp PLACE/../tree/etc/passwd box:/nosuch/
cp PLACE/../tree/etc box:/etc/passwd
cp -L PLACE/../tree/bin/sh box:/etc/followed
cp PLACE/../tree/bin/sh box:/etc/linked
diff box
cp box:/etc/passwd PLACE/out1
cp box:/etc PLACE/out2
cp box:/etc/. PLACE/out2
cp box:/etc PLACE/out1
cp box:/etc/passwd PLACE/nosuch/
cp box:/etc/passwd PLACE/nosuch/x
cp box:/etc/nosuch PLACE
cp box:/bin/sh PLACE/out3
cp -L box:/bin/sh PLACE/out4
cp box:/new PLACE/out2
export -o PLACE/out5 box
rm box
""",
    "daemon": """\
system df
system df --format json
system df -v
info -f {{.Driver}}|{{.OSType}}|{{.NCPU}}|{{.ServerVersion}}
version -f {{.Server.Version}}|{{.Server.APIVersion}}
system prune -f
container prune -f
container ls -a
container inspect nosuch
events --since 1 --until 2
""",
}


def normal(text: str, place: Path) -> str:
    """What two runs may tell differently: IDs, ages, and who tells it."""
    for pattern, kept in (
        (r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", "ID"),
        (r"(Less than a|About an?|\d+) (second|minute|hour)s?( ago)?", "AGE"),
        (r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z| \+0000 UTC)", "MOMENT"),
        (r"\blabkit\b(?!-)", "docker"),
        (r"\bSee '", "Run '"),
        (r":327\d\d\b", ":PORT"),
        (r"//nosuch", "/nosuch"),
        (r"DEPRECATED: .*\n( +.*\n)*\n", ""),
        (r"Sending build context.*\n(\n)?|Removing intermediate.*\n|\x1b\[0m", ""),
        (r"time=.*\n", ""),  # docker tells of what goes on inside of it, too
    ):
        text = re.sub(pattern, kept, text)
    return re.sub(" +", " ", text)


def typed(program: Program, line: str, place: Path) -> tuple[str, int, str, str]:
    words = [word.replace("\\s", " ").replace("PLACE", str(place)) for word in line.split()]
    result: Result = program(*words)
    out = "".join(sorted(result.out.splitlines(True))) if words[0] == "diff" else result.out  # dockerd has no order of them
    return line, result.code, normal(out, place), normal(result.err, place)


def version(program: str) -> int:
    """The number of the release, 28."""
    found = re.search(r"version (\d+)\.", subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout)
    assert found
    return int(found[1])


def without_words(told: list[tuple[str, int, str, str]]) -> list[tuple[str, int, str]]:
    """Of a line that went well what it said, of others that they failed: errors have been put in other words with release 28."""
    return [(line, code, out.replace('"Platform":null,', "") if code == 0 else "") for line, code, out, _ in told]


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_clients_print_the_same_and_end_alike(name: str, clients: list[Program], daemon: Daemon) -> None:
    place = daemon.place
    told = []
    for each in clients:
        told.append([typed(each, line, place) for line in SCENARIOS[name].splitlines()])
        for left in place.glob("out*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        clear(clients[0])
    compared = told if version(DOCKER) >= 28 else [without_words(each) for each in told]
    differences = [f"docker: {one}\nlabkit: {other}" for one, other in zip(*compared, strict=True) if one != other]
    assert not differences, "\n\n".join(differences)
