"""A group's use beside its limits: text, widget and figure, and what the buttons do."""

import threading
from types import SimpleNamespace

import pytest

from labkit.errors import NotFound
from labkit.linux.cgroups import Limits
from labkit.linux.cgroups.accounts import Events, Usage
from labkit.views import cgroups
from labkit.views.cgroups import CgroupUsage


class Group:
    path = "labkit/room"
    frozen = False

    def __init__(self):
        self.now = Usage(memory=16 << 20, cpu_usec=1_000_000, pids=5)
        self.most = Limits(memory=64 << 20, cpu_quota=50_000, pids=20)
        self.hits = Events(oom_kill=1, periods=12, throttled_periods=4)
        self.gone = False
        self.looked = threading.Semaphore(0)

    def usage(self):
        self.looked.release()
        if self.gone:
            raise NotFound("cgroup labkit/room: there is none")
        return self.now

    def limits_in_force(self):
        return self.most

    def events(self):
        return self.hits


@pytest.fixture
def group():
    return Group()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(cgroups.time, "monotonic", lambda: clock.now)
    return clock


def test_the_text_shows_each_resource_as_a_bar_and_in_words(group):
    assert str(CgroupUsage(group)).splitlines() == [
        "labkit/room",
        "memory  ▕█████···············▏  16 MiB of 64 MiB",
        "cpu     ▕····················▏  no rate yet, at most 50 % of a CPU",
        "pids    ▕█████···············▏  5 of 20",
        "out of memory: 1 killed · throttled: 4 of 12 periods",
    ]


def test_without_limits_the_words_say_so(group):
    group.most = Limits()
    text = str(CgroupUsage(group))
    assert "16 MiB, no limit" in text and "5, no limit" in text and "█" not in text


def test_what_the_machine_does_not_count_is_said(group):
    group.now, group.hits = Usage(), Events()
    assert "not counted here" in str(CgroupUsage(group))


def test_the_cpu_rate_is_what_was_used_between_two_looks(group, clock):
    view = CgroupUsage(group)
    group.now, clock.now = Usage(memory=0, cpu_usec=1_500_000, pids=1), clock.now + 2
    view.refresh()
    assert "cpu     ▕██████████··········▏  25 %, at most 50 % of a CPU" in str(view)


def test_a_frozen_group_says_so(group):
    group.frozen = True
    assert str(CgroupUsage(group)).endswith("· frozen")


def test_a_group_that_is_gone_is_no_error(group):
    view = CgroupUsage(group)
    group.gone = True
    view.refresh()
    assert str(view) == "labkit/room is gone" and "is gone" in view.html()


def test_a_bar_never_leaves_its_frame(group):
    group.now = Usage(memory=100 << 20, cpu_usec=1, pids=30)
    assert [gauge.filled for gauge in CgroupUsage(group).gauges] == [1.0, 0.0, 1.0]


def test_the_picture_says_in_words_how_full_each_bar_is(group):
    html = CgroupUsage(group).html()
    assert "aria-label='25% full'" in html and "16 MiB of 64 MiB" in html


def test_look_again_reads_the_group_again(group):
    view = CgroupUsage(group)
    picture, buttons = view.widget().children
    group.now = Usage(memory=32 << 20, cpu_usec=1, pids=1)
    buttons.children[0].click()
    assert "32 MiB of 64 MiB" in picture.value


def test_live_looks_until_it_is_switched_off(group):
    view = CgroupUsage(group)
    view.interval = 0.001
    live = view.widget().children[1].children[1]
    live.value = True
    for _ in range(4):
        assert group.looked.acquire(timeout=10)
    live.value = False
    assert threading.active_count() == 1 or not any(thread.name.startswith("Thread") for thread in threading.enumerate())


def test_live_ends_with_the_group(group):
    view = CgroupUsage(group)
    view.interval = 0.001
    group.gone = True
    view.live()
    view._thread.join(timeout=10)
    assert not view._thread.is_alive() and str(view) == "labkit/room is gone"


def test_the_figure_names_each_resource_and_its_use(group):
    figure = CgroupUsage(group).figure()
    words = {text.get_text() for text in figure.axes[0].texts}
    assert {"memory", "cpu", "pids", "16 MiB of 64 MiB"} <= words
    assert figure._repr_png_().startswith(b"\x89PNG")
