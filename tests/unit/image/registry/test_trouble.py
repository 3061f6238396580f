"""Registries that break, hang, drip and send away."""

from __future__ import annotations

import re
import threading
import time

import pytest

from labkit.errors import InvalidInput, Unreachable
from labkit.image.registry import endpoints
from labkit.image.registry.client import Client
from labkit.image.registry.endpoints import Endpoint
from labkit.image.registry.settings import Settings
from labkit.image.registry.transport import Patience
from tests import evil
from tests.evil import Evil, Request, status
from tests.unit.image.registry.conftest import BLOB, DIGEST, IMAGE, IMPATIENT, QUICK, client, fetched


@pytest.mark.parametrize("answer", [status(500), status(503), status(429), evil.die_after(1000), evil.die_after(0)])
def test_what_passes_is_tried_again(registry: Evil, answer: evil.Reply) -> None:
    registry.on("/blobs/", answer, times=2)
    assert fetched(registry) == BLOB


def test_what_does_not_pass_is_told_after_a_few_attempts(registry: Evil) -> None:
    registry.on("/manifests/", status(500, {}, b'{"errors": [{"code": "UNKNOWN", "message": "disk on fire"}]}'))
    with client(registry) as asking, pytest.raises(Unreachable, match="unknown: disk on fire"):
        asking.manifest("me/web", "v1")
    assert len(registry.asked) == 3


def test_delays_double_and_whoever_waits_is_told(registry: Evil) -> None:
    patience = Patience(attempts=4, first_delay=1.0)
    assert [patience.delay(failures, None) for failures in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, None]
    told: list[int] = []
    registry.on("/manifests/", status(500), times=1)
    with client(registry, Patience(attempts=2, first_delay=0.05)) as asking:
        asking.manifest("me/web", "v1", told.append)
    assert told == [1]


def test_retry_after_is_honoured(registry: Evil) -> None:
    registry.on("/manifests/", status(429, {"Retry-After": "1"}), times=1)
    started = time.monotonic()
    with client(registry) as asking:
        asking.manifest("me/web", "v1")
    assert time.monotonic() - started >= 1.0


def test_retry_after_may_be_a_date(registry: Evil) -> None:
    registry.on("/manifests/", status(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), times=2)
    with client(registry) as asking:
        assert asking.manifest("me/web", "v1").digest == IMAGE.digest


@pytest.mark.parametrize("after", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT", "9" * 400])
def test_who_is_sent_away_for_long_does_not_wait(registry: Evil, after: str) -> None:
    registry.on("/manifests/", status(429, {"Retry-After": after}, b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}'))
    with client(registry) as asking, pytest.raises(Unreachable, match="toomanyrequests: slow down"):
        asking.manifest("me/web", "v1")
    assert len(registry.asked) == 1


@pytest.mark.parametrize("after", ["soon", "", "-1", "²"])
def test_a_retry_after_that_says_nothing_is_none(registry: Evil, after: str) -> None:
    registry.on("/manifests/", status(503, {"Retry-After": after.encode().decode("latin-1")}), times=1)
    with client(registry) as asking:
        assert asking.manifest("me/web", "v1").digest == IMAGE.digest


@pytest.mark.parametrize("answer", [evil.hang, evil.hang_after(1000)])
def test_a_registry_that_falls_silent_is_given_up(registry: Evil, answer: evil.Reply) -> None:
    registry.on("/blobs/", answer)
    with pytest.raises(Unreachable, match="fallen silent"):
        fetched(registry, IMPATIENT)


def test_a_registry_that_drips_is_given_up(registry: Evil) -> None:
    def drip(request: Request) -> None:
        request.answer(200, {"Content-Type": evil.MANIFEST, "Content-Length": "1000"})
        while not request.registry.closing.wait(0.05):
            request._handler.wfile.write(b" ")

    registry.on("/manifests/", drip)
    with client(registry, IMPATIENT) as asking, pytest.raises(Unreachable, match="too slowly"):
        asking.manifest("me/web", "v1")


def test_nobody_there_is_told_at_once() -> None:
    with Evil() as gone:
        address = gone.address
    complaint = f'Get "http://{address}/v2/": connection refused'
    with Client(Endpoint(address, ("http",))) as asking, pytest.raises(Unreachable, match=complaint):
        asking.ping()


def test_a_registry_of_this_machine_that_is_not_there_is_told_once() -> None:
    with Evil() as gone:
        address = gone.address
    with Client(endpoints.registry(address, Settings())) as asking, pytest.raises(Unreachable, match="connection refused"):
        asking.ping()


@pytest.mark.parametrize("answer", [evil.hang, evil.hang_after(len(BLOB) // 2)])
def test_an_abort_from_another_thread_ends_a_download_that_hangs(registry: Evil, answer: evil.Reply) -> None:
    registry.on("/blobs/", answer)
    with client(registry, Patience(silence=60.0)) as asking:
        timer = threading.Timer(0.1, asking.abort)
        timer.start()
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"connection broke|disconnected"):
            for _ in asking.blob("me/web", DIGEST, len(BLOB)):
                pass
        assert time.monotonic() - started < 10
        timer.join()


@pytest.mark.parametrize("host", ["a" * 64 + ".com", "a..b", "xn--zz.invalid", "[::1"])
def test_what_cannot_be_a_host_is_told(host: str) -> None:
    with Client(Endpoint(host, ("https",)), None, QUICK) as asking, pytest.raises((Unreachable, InvalidInput), match=re.escape(host)):
        asking.ping()
