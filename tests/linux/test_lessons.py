"""Every check, against the notebook's own cells: the starter fails, the solution passes, a plausible wrong answer fails."""

import os
from pathlib import Path

import pytest

from labkit import lessons
from labkit.errors import LabError
from labkit.lessons import exercises

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ALL = {exercise.check: (path, exercise) for path in sorted(NOTEBOOKS.glob("*.ipynb")) for exercise in exercises.read(str(path))}

# What a student might well write in place of the solution's part, and what the check then says.
WRONG = {
    "start.put-back": [('"reset"', '"doctor"', "still mounted")],
    "namespaces.own-hostname": [('"uts"', '"pid"', "whole machine was called student-7"), ('"uts"', '"user"', "Not yet")],
    "namespaces.own-processes": [('["pid", "mnt"]', '["pid"]', "still lists all"), ('["pid", "mnt"]', '["mnt"]', "Not yet")],
    "namespaces.own-mounts": [('"mnt"', '"ipc"', "mounted for the whole machine")],
    "namespaces.own-loopback": [('kind = "net"', 'kind = "uts"', "still down")],
    "namespaces.nobody-outside": [("outside = 100000", "outside = 0", "Root in the box is root on the host")],
    "cgroups.memory-limit": [("64 << 20", "64_000_000", "64 MiB are 67,108,864"), ("64 << 20", "128 << 20", "64 MiB are")],
    "cgroups.half-a-cpu": [("quota = 50_000", "quota = 500_000", "are 5 CPUs")],
    "cgroups.priority": [("weight = 300", "weight = 400", "4.0 times as much")],
    "cgroups.fork-bomb": [("most = 16", "most = 64", "may have 64")],
    "unions.order": [
        ('["theme", "site", "base"]', '["base", "site", "theme"]', "shows the page of base"),
        ('["theme", "site", "base"]', '["theme", "base"]', "files of another layer are missing"),
    ],
    "unions.whiteout": [("S_IFCHR", "S_IFREG", "a file of its own"), ("S_IFCHR", "S_IFIFO", "a file of its own")],
    "unions.restored": [
        ("directory = mine.upper", "directory = image.upper", "gone from the image"),
        ('directory = mine.upper', 'import shutil; shutil.rmtree(mine.upper + "/home")\ndirectory = mine.upper', "own work is gone"),
    ],
    "unions.ten-for-one": [
        ('parent = "image"', 'parent = "c0"', "there are 0"),
        ("parent=parent)", 'parent=parent)\n    lessons.busybox_root(rack.get(f"c{number}").upper)', "no shell from the image"),
    ],
    "cgroups.frozen": [('"freeze"', '"kill"', "nobody is left")],
    "containers.mid-birth": [
        ("filesystem.PivotRoot", "contents.MakeDevices", "Too early"),
        ("filesystem.PivotRoot", "identity.DropBounding", "Too late"),
        ("filesystem.PivotRoot", "birth.Clone", "Not yet"),
    ],
    "containers.exec-by-hand": [
        (', "--ipc", "--net", "--pid"]', "]", "shares mnt, uts with vault, but not ipc, net, pid"),
        ('["--mount"', '["--mont"', "no process of yours"),
    ],
    "containers.one-capability": [
        ('"CAP_NET_BIND_SERVICE"', '"CAP_NET_ADMIN"', "has ended"),
        ('["CAP_NET_BIND_SERVICE"]', "capabilities.DEFAULT", "14 capabilities are more than it needs"),
    ],
    "containers.one-call-less": [
        ('("mkdir", "mkdirat")', '("rmdir", "unlinkat")', "mkdir went through"),
        ('("mkdir", "mkdirat")', '("mkdir", "mkdirat", "execve")', "no running container"),
        ('("mkdir", "mkdirat")', '("mkdir", "mkdirat", "open", "openat")', "forbids more than mkdir"),
        (", seccomp=profile", "", "mkdir went through"),
    ],
    "images.spoilt": [
        ("hashlib.sha256", "hashlib.sha512", "were well"),
        ("hexdigest() != name", "hexdigest() == name", "the spoilt one is still there"),
    ],
    "images.pushed": [
        ('f"{shop.address}/team/page:v2"', '"team/page:v2"', "no repository team/page"),
        ("/page:v2", "/page", "no tag v2; it has latest"),
        ('"site:v1"', '"clock:v1"', "another image"),
    ],
    "images.pinned": [("@{first.digest}", ":v1", "pushed second"), ("{first.digest}", "{second.digest}", "pushed second")],
    "images.mirrored": [
        ("[shop.url]", "[shop.address]", "daemon.json is refused"),
        ("[shop.url]", '[shop.url + "/library"]', "daemon.json is refused"),
        ("[shop.url]", '["https://" + shop.address]', "Nobody answers as a mirror"),
    ],
    "commands.by-hand": [("/start", "/unpause", "it has no process"), ("/byhand/start", "/bynobody/start", "it has no process")],
    "commands.named": [
        ("--name=greeter busybox", "busybox --name=greeter", "has become part of the command"),
        ("good morning", "good evening", "has printed “good evening”"),
        ("echo good morning", "true", "has printed “”"),
    ],
    "commands.left-alone": [('"ctrl-p ctrl-q"', '"exit"', "has ended with 0"), ('"ctrl-p ctrl-q"', '"ctrl-d"', "has ended with 0")],
    "commands.opened": [
        ("exec shop", "run busybox", "has made a new container"),
        ("exec shop touch /tmp/open", "exec shop touch /open", "no file /tmp/open"),
        ("exec shop touch /tmp/open", "rm -f shop", "no running container"),
    ],
    "commands.saved": [
        ("docker stop till", "docker kill till", "128 + 9: killed. Its last word was “ready”"),
        ("docker stop till", "docker stop -t 1 till", "Its last word was “counting”"),
        ("docker stop till", "docker rm -f till", "no container called till"),
        ("docker stop till", "docker pause till", "Not yet"),
    ],
    "nginx.own-page": [
        (":/usr/share/nginx/html", ":/var/www/html", "the image's own"),
        ('f"{pages}:/usr/share/nginx/html"', 'f"/usr/share/nginx/html:{pages}"', "the image's own"),
    ],
    "nginx.reloaded": [
        ("exec shop nginx -s reload", "restart shop", "was started 2 times"),
        ("nginx -s reload", "nginx -t", "visitors get the old page"),
    ],
    "nginx.last-guest": [
        ("docker kill -s QUIT cinema", "docker stop -t 60 cinema", "no visitor who got all"),
        ("docker kill -s QUIT", "docker rm -f", "no container called cinema"),
    ],
    "nginx.own-image": [
        ("/usr/share/nginx/html/", "/var/www/html/", "its page is the old one"),
        ("COPY index.html", "RUN cp index.html", "no image own:v1"),
        ("FROM nginx", "FROM debian", "does not stand on nginx"),
    ],
    "nginx.by-name": [
        ("http://site", "http://127.0.0.1:8080", "502 Bad Gateway"),
        ('"http://site"', '"http://127.0.0.1"', "nobody has an answer"),
        ('"http://site"', '"site"', "The door has ended"),
    ],
    "networks.cable": [
        ("10.1.0.2/24", "10.2.0.2/24", "right is in 10.2.0.0/24"),
        ("10.1.0.2/24", "10.1.0.2", "right is in 10.1.0.2/32"),
        ("10.1.0.2/24", "10.1.0.1/24", "Both have 10.1.0.1"),
        ("10.1.0.2/24", "10.1.0.255/24", "first or the last address"),
    ],
    "networks.plugged": [
        ("lk-late master lk-switch", "lk-late up", "hangs loose"),
        ("lk-late master lk-switch", "lk-switch master lk-late", "hangs loose"),
        ("ip link set lk-late master lk-switch", "ip link delete lk-late", "There is no lk-late any more"),
        ("lk-late master lk-switch", "lk-late master lk-switch down", "first does not answer"),
    ],
    "networks.inner": [
        ("127.0.0.1:{mine}:80", "{mine}:80", "The laptop has read the page"),
        ("127.0.0.1:{mine}:80", "0.0.0.0:{mine}:80", "The laptop has read the page"),
        ("127.0.0.1:{mine}:80", "127.0.0.1::80", "and should be"),
        ("127.0.0.1:{mine}:80", "127.0.0.1:{mine}:{mine}", "where nobody answers"),
        ("127.0.0.1:{mine}:80", "127.0.0.1:80", "no running container called private"),
        ("-p {form}", "--expose 80", "no rule leads there"),
    ],
    "networks.culprit": [
        ('"bee"', '"ant"', "ant is gone, and had nothing to do with"),
        ('"bee"', '"bumblebee"', "still leads to somebody"),
    ],
    "networks.together": [
        ("connect store app", "connect bridge db", "nobody answers for names"),
        ("connect store app", "connect app store", "on no bridge in common"),
        ("connect store app", "disconnect bridge app", "on no bridge in common"),
        ("docker network connect store app", "docker rm -f app", "no running container called app"),
    ],
    "machines.leash": [("both.machine.pid", "both.container.pid", "first process of the container")],
    "machines.module": [("both.machine", "both.container", "does not name")],
    "machines.density": [("count = 10", "count = 2", "room for more")],
}


@pytest.fixture
def attempt():
    """Run a notebook's first cell and then ``source``, as a student would; takes the lesson down afterwards."""
    cells: dict[str, object] = {}

    def run(notebook, source):
        exec(exercises.stage(str(notebook)), cells)
        exec(source, cells)

    yield run
    lesson = cells["lesson"]
    assert lesson.end(), lesson.remains()


@pytest.mark.parametrize("name", ALL)
def test_the_starter_does_no_harm_and_fails(name, attempt):
    notebook, exercise = ALL[name]
    host = os.uname().nodename
    attempt(notebook, exercise.starter)
    verdict = lessons.check(name)
    assert not verdict and verdict.next
    assert os.uname().nodename == host


@pytest.mark.parametrize("name", ALL)
def test_the_solution_passes(name, attempt):
    notebook, exercise = ALL[name]
    attempt(notebook, exercise.solution)
    verdict = lessons.check(name)
    assert verdict, verdict


@pytest.mark.parametrize(
    ("name", "right", "wrong", "symptom"), [(name, *mistake) for name, mistakes in WRONG.items() for mistake in mistakes]
)
def test_a_plausible_wrong_answer_fails_and_leaves_no_damage(name, right, wrong, symptom, attempt):
    notebook, exercise = ALL[name]
    host = os.uname().nodename
    assert exercise.solution.count(right) == 1
    try:
        attempt(notebook, exercise.solution.replace(right, wrong))
    except LabError:
        pass  # the kernel refused the answer itself
    verdict = lessons.check(name)
    assert not verdict
    assert symptom in verdict.seen
    assert os.uname().nodename == host


def test_there_is_a_wrong_answer_for_every_check():
    assert set(WRONG) == set(ALL) == set(lessons.checks())
