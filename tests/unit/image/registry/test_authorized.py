"""Requests with tokens, and through proxies."""

from __future__ import annotations

import threading

import pytest

from labkit.errors import Denied, LabError, Unreachable, Unsupported
from labkit.image.registry.client import Client
from labkit.image.registry.endpoints import Endpoint
from tests import evil
from tests.evil import Evil, Request, status
from tests.unit.image.registry.conftest import BLOB, DIGEST, IMAGE, IMPATIENT, QUICK, client


def tokens(registry: Evil, realm: str) -> None:
    """Ask for a token before anything of me/web."""

    def guard(request: Request) -> None:
        if request.headers.get("authorization") == "Bearer good":
            request.registry._behave(request)
        else:
            request.answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}/token",service="s",scope="repository:me/web:pull"'})

    registry.on("/v2/me/web", guard)


def test_an_anonymous_token_is_got_once_and_used_again(registry: Evil) -> None:
    with Evil() as server:
        server.on("/token", status(200, {}, b'{"token": "good", "expires_in": 300}'))
        tokens(registry, server.url)
        with client(registry) as asking:
            asking.manifest("me/web", "v1")
            assert b"".join(asking.blob("me/web", DIGEST, len(BLOB))) == BLOB
        assert server.paths("GET") == ["/token?service=s&scope=repository:me/web:pull"]
        assert len(registry.asked) == 3


def test_a_token_that_has_expired_is_got_anew(registry: Evil) -> None:
    with Evil() as server:
        server.on("/token", status(200, {}, b'{"token": "stale"}'), times=1)
        server.on("/token", status(200, {}, b'{"token": "good"}'))
        tokens(registry, server.url)
        with client(registry) as asking:
            with pytest.raises(Denied):
                asking.manifest("me/web", "v1")
            assert asking.manifest("me/web", "v1").digest == IMAGE.digest


@pytest.mark.parametrize(
    ("answer", "error", "complaint"),
    [
        (status(401, {}, b'{"errors": [{"code": "UNAUTHORIZED", "message": "incorrect password"}]}'), Denied, "incorrect password"),
        (status(200, {}, b"<html>"), Unreachable, "holds no token"),
        (status(500), Unreachable, "500"),
        (evil.hang, Unreachable, "no token for .*: it has fallen silent"),
    ],
)
def test_a_token_server_that_gives_none_is_told(registry: Evil, answer: evil.Reply, error: type[LabError], complaint: str) -> None:
    with Evil() as server:
        server.on("/token", answer)
        tokens(registry, server.url)
        with client(registry, IMPATIENT) as asking, pytest.raises(error, match=complaint):
            asking.manifest("me/web", "v1")


def test_three_threads_get_one_token(registry: Evil) -> None:
    with Evil() as server:
        server.on("/token", status(200, {}, b'{"token": "good"}'))
        tokens(registry, server.url)
        with client(registry) as asking:
            threads = [threading.Thread(target=asking.manifest, args=("me/web", "v1")) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(server.asked) == 1


# ── Proxies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_proxy_of_the_environment_is_not_for_this_machine(registry: Evil, monkeypatch: pytest.MonkeyPatch) -> None:
    with Evil() as proxy:
        for name in "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY":
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with client(registry) as asking:
            asking.ping()
        assert proxy.asked == []


def test_a_proxy_of_the_environment_is_for_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with Evil() as proxy:
        proxy.on("", status(200, {}, b"{}"))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Client(Endpoint("registry.invalid", ("http",)), None, QUICK) as asking:
            asking.ping()
        assert proxy.asked[0].path == "http://registry.invalid/v2/"


def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://127.0.0.1:1")
    with (
        Client(Endpoint("registry.invalid", ("http",)), None, QUICK) as asking,
        pytest.raises(Unsupported, match=r"proxy for registry\.invalid"),
    ):
        asking.ping()
