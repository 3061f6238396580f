"""Challenges and tokens, without a network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import Denied, Unreachable
from labkit.image.registry import auth
from labkit.image.registry.auth import Authorizations, Challenge, Credential

SCOPE = "repository:library/nginx:pull"
HUB = Challenge("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": SCOPE})
ME = Credential("me", "secret")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="tests"', [Challenge("basic", {"realm": "tests"})]),
        ("Basic", [Challenge("basic", {})]),
        ('bearer realm="https://a/t",service=s,scope="repository:a:pull,push"', None),
        ('Basic realm="a, b", Bearer realm="c"', [Challenge("basic", {"realm": "a, b"}), Challenge("bearer", {"realm": "c"})]),
        (r'Basic realm="a \"quoted\" word"', [Challenge("basic", {"realm": 'a "quoted" word'})]),
        ("realm=nobody", []),
        ('Basic realm="unfinished', [Challenge("basic", {})]),
        ("", []),
    ],
)
def test_challenges_are_read(header: str, expected: list[Challenge] | None) -> None:
    if expected is None:
        expected = [Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:a:pull,push"})]
    assert auth.parse([header]) == tuple(expected)


def test_all_headers_of_an_answer_count() -> None:
    assert [challenge.scheme for challenge in auth.parse(["Negotiate abc==", "Basic realm=x"])] == ["negotiate", "basic"]


@given(st.text())
def test_nothing_that_a_header_says_is_an_error(header: str) -> None:
    assert all(challenge.scheme for challenge in auth.parse([header]))


def test_anybody_may_ask_for_a_token() -> None:
    wanted = auth.token_request(HUB, "repository:library/nginx:pull", None, is_secure=True)
    assert wanted.url == "https://auth.docker.io/token?service=registry.docker.io&scope=repository:library/nginx:pull"
    assert wanted.headers == {}


def test_who_has_a_password_shows_it_to_the_token_server() -> None:
    wanted = auth.token_request(HUB, "repository:me/web:pull,push", ME, is_secure=True)
    assert wanted.headers == {"Authorization": "Basic bWU6c2VjcmV0"}
    assert wanted.url.endswith("&scope=repository:library/nginx:pull&scope=repository:me/web:pull,push&account=me")


def test_an_identity_token_is_posted() -> None:
    wanted = auth.token_request(HUB, "", Credential("me", "", "t0ken"), is_secure=True)
    assert wanted.form is not None
    assert (wanted.form["grant_type"], wanted.form["refresh_token"]) == ("refresh_token", "t0ken")
    assert "Authorization" not in wanted.headers


def test_a_realm_may_have_a_query_of_its_own() -> None:
    wanted = auth.token_request(Challenge("bearer", {"realm": "http://a/t?x=1", "service": "s"}), "", None, is_secure=False)
    assert wanted.url == "http://a/t?x=1&service=s"


@pytest.mark.parametrize("realm", ["", "file:///etc/passwd", "auth.example.com/token"])
def test_a_realm_that_leads_nowhere_is_refused(realm: str) -> None:
    with pytest.raises(Unreachable, match="names no place to get a token at"):
        auth.token_request(Challenge("bearer", {"realm": realm}), "", None, is_secure=False)


def test_no_password_leaves_tls_for_plain_http() -> None:
    with pytest.raises(Denied, match="not encrypted"):
        auth.token_request(Challenge("bearer", {"realm": "http://a/t"}), "", ME, is_secure=True)


@pytest.mark.parametrize("answer", [b'{"token": "abc", "expires_in": 300}', b'{"access_token": "abc", "expires_in": 300.0}'])
def test_a_token_has_either_name(answer: bytes) -> None:
    assert auth.parse_token(answer) == ("abc", 300.0)


@pytest.mark.parametrize("answer", [b'{"token": "abc"}', b'{"token": "abc", "expires_in": null}', b'{"token": "abc", "expires_in": 1}'])
def test_a_token_lives_a_minute_at_least(answer: bytes) -> None:
    assert auth.parse_token(answer) == ("abc", 60.0)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"token": 7}', b'{"token": "a\\r\\nX: y"}', b'{"token": "a", "expires_in": "soon"}', b"[" * 9999]
)
def test_an_answer_without_a_token_is_none(answer: bytes) -> None:
    with pytest.raises(Unreachable, match="holds no token"):
        auth.parse_token(answer)


def test_a_token_is_kept_for_its_scope_while_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(auth.time, "monotonic", lambda: now)
    kept = Authorizations(ME)
    kept.keep_token("a", "abc", 60)
    assert (kept.header("a"), kept.header("b")) == ("Bearer abc", None)
    now += 56
    assert kept.header("a") is None


def test_the_password_is_sent_once_it_was_asked_for() -> None:
    kept = Authorizations(ME)
    assert kept.header("a") is None
    kept.use_basic()
    assert kept.header("a") == "Basic bWU6c2VjcmV0"
