"""The client against registries that behave, and that do not."""

from __future__ import annotations

import json

import pytest

from labkit.errors import Denied, InvalidInput, LabError, NotFound, Unreachable
from labkit.image.registry.auth import Credential
from tests import evil
from tests.evil import Evil, Request, digest_of, status
from tests.unit.image.registry.conftest import BLOB, DIGEST, IMAGE, client, fetched

# ── Documents ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_manifest_comes_by_tag_and_by_digest(registry: Evil) -> None:
    with client(registry) as asking:
        for reference in "v1", IMAGE.digest:
            found = asking.manifest("me/web", reference)
            assert (found.data, found.media_type, found.digest) == (IMAGE.manifest, evil.MANIFEST, IMAGE.digest)


def test_a_manifest_is_asked_for_in_all_forms_that_can_be_read(registry: Evil) -> None:
    with client(registry) as asking:
        asking.manifest("me/web", "v1")
    accepted = registry.asked[-1].headers["accept"].split(", ")
    assert {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.v2+json"} < set(accepted)


def test_the_digest_of_a_tag_is_known_without_fetching_the_manifest(registry: Evil) -> None:
    with client(registry) as asking:
        assert asking.manifest_digest("me/web", "v1") == IMAGE.digest
    assert registry.paths("GET") == []


@pytest.mark.parametrize("reference", ["v1", IMAGE.digest])
def test_a_manifest_that_is_not_what_its_digest_says_is_refused(registry: Evil, reference: str) -> None:
    headers = {"Content-Type": evil.MANIFEST, "Docker-Content-Digest": IMAGE.digest}
    registry.on("/manifests/", status(200, headers, IMAGE.manifest + b" "))
    with client(registry) as asking, pytest.raises(InvalidInput, match=rf"has the digest sha256:[0-9a-f]+, not {IMAGE.digest}"):
        asking.manifest("me/web", reference)


def test_a_page_of_html_is_no_manifest(registry: Evil) -> None:
    registry.on("/manifests/", evil.html)
    with client(registry) as asking, pytest.raises(Unreachable, match="a page of HTML where a manifest was asked for"):
        asking.manifest("me/web", "v1")


def test_a_manifest_without_end_is_given_up(registry: Evil) -> None:
    registry.on("/manifests/", status(200, {"Content-Type": evil.MANIFEST}, b" " * (5 << 20)))
    with client(registry) as asking, pytest.raises(Unreachable, match="more than 4194304 bytes where a short document"):
        asking.manifest("me/web", "v1")


def test_what_is_not_there_is_not_found_in_the_registry_s_words(registry: Evil) -> None:
    with client(registry) as asking:
        with pytest.raises(NotFound, match=f"{registry.address}: manifest unknown: manifest unknown"):
            asking.manifest("me/web", "nosuch")
        assert asking.blob_size("me/web", digest_of(b"nosuch")) is None
        assert asking.blob_size("me/web", DIGEST) == len(BLOB)


@pytest.mark.parametrize(
    ("answer", "error", "complaint"),
    [
        (status(401), Denied, "GET /v2/me/web/manifests/v1 was answered with 401 Unauthorized"),
        (status(403, {}, b'{"errors": [{"code": "DENIED", "message": "requested access"}]}'), Denied, "denied: requested access"),
        (status(404, {}, b"<html>nginx</html>"), NotFound, "was answered with 404 Not Found"),
        (status(404, {}, b'{"errors": []}'), NotFound, "404 Not Found"),
        (status(404, {}, b'{"errors": [{"code": 7}]}'), NotFound, ": 7"),
        (status(404, {}, b"[" * 9999), NotFound, "404 Not Found"),
        (status(404, {}, b'{"errors": [{"code": "X", "message": "\\u001b[2J gone"}]}'), NotFound, r": x: \?\[2J gone$"),
        (status(418), InvalidInput, "418 I'm a [Tt]eapot"),
        (status(301), Unreachable, "301 Moved Permanently"),
        (status(505), Unreachable, "505"),
    ],
)
def test_a_refusal_is_an_error_that_says_why(registry: Evil, answer: evil.Reply, error: type[LabError], complaint: str) -> None:
    registry.on("/manifests/", answer)
    with client(registry) as asking, pytest.raises(error, match=complaint):
        asking.manifest("me/web", "v1")
    assert len(registry.asked) == 1


# ── Redirects ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_blob_may_be_elsewhere_and_that_place_learns_no_password(registry: Evil) -> None:
    with Evil() as elsewhere:
        elsewhere.on("/", status(200, {}, BLOB))
        registry.on("/v2/", status(401, {"WWW-Authenticate": "Basic realm=tests"}), times=1)
        registry.on("/blobs/", evil.redirect(f"{elsewhere.url}/bucket?signature=x"))
        with client(registry, credential=Credential("me", "secret")) as asking:
            assert b"".join(asking.blob("me/web", DIGEST, len(BLOB))) == BLOB
        assert "authorization" in registry.asked[-1].headers
        assert [asked.path for asked in elsewhere.asked] == ["/bucket?signature=x"]
        assert "authorization" not in elsewhere.asked[0].headers


def test_redirects_for_ever_end(registry: Evil) -> None:
    registry.on("/blobs/", evil.redirect_for_ever)
    with pytest.raises(Unreachable, match="more than 10 redirects"):
        fetched(registry)
    assert len(registry.asked) == 11


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[::1", "gopher://x/"])
def test_a_redirect_to_nowhere_is_refused(registry: Evil, location: str) -> None:
    registry.on("/blobs/", evil.redirect(location))
    with pytest.raises(Unreachable, match=r"where there is no way to go|invalid URL in location header"):
        fetched(registry)


# ── Blobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_blob_goes_on_where_the_connection_broke(registry: Evil) -> None:
    registry.on("/blobs/", evil.die_after(300_000), times=2)
    assert fetched(registry) == BLOB
    assert [asked.headers.get("range") for asked in registry.asked] == [None, "bytes=300000-", "bytes=600000-"]


def test_patience_grows_back_with_what_arrives(registry: Evil) -> None:
    registry.on("/blobs/", evil.die_after(100_000), times=9)
    assert fetched(registry) == BLOB
    assert len(registry.asked) == 10


def test_a_registry_without_ranges_sends_all_of_it_again() -> None:
    with Evil(ranges=False) as registry:
        registry.blobs[DIGEST] = BLOB
        registry.on("/blobs/", evil.die_after(300_000), times=1)
        assert fetched(registry) == BLOB
        assert fetched(registry, offset=1000) == BLOB[1000:]


def test_what_is_here_whole_is_not_asked_for(registry: Evil) -> None:
    assert fetched(registry, offset=len(BLOB)) == b""
    assert registry.asked == []


@pytest.mark.parametrize("size", [len(BLOB) - 1, len(BLOB) + 1])
def test_a_blob_of_another_size_is_refused_before_it_arrives(registry: Evil, size: int) -> None:
    with pytest.raises(InvalidInput, match=rf"the registry has 0 \+ {len(BLOB)} bytes, not the {size} it promised"):
        fetched(registry, size=size)


def test_a_blob_that_goes_on_and_on_is_cut(registry: Evil) -> None:
    def endless(request: Request) -> None:
        request.answer(200, {"Content-Length": "", "Connection": "close"}, BLOB + b"more")
        request.cut()

    registry.on("/blobs/", endless)
    with pytest.raises((InvalidInput, Unreachable), match=r"longer than the|Content-Length"):
        fetched(registry)


def test_the_wrong_part_of_a_blob_is_refused(registry: Evil) -> None:
    registry.on("/blobs/", status(206, {"Content-Range": f"bytes 5-{len(BLOB) - 1}/{len(BLOB)}"}, BLOB[5:]))
    with pytest.raises(InvalidInput, match="not the"):
        fetched(registry, offset=1000)


def test_a_page_of_html_is_no_layer(registry: Evil) -> None:
    registry.on("/blobs/", evil.html)
    with pytest.raises(Unreachable, match="a page of HTML where a layer was asked for"):
        fetched(registry)


# ── Lists ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lists_are_read_page_by_page(registry: Evil) -> None:
    registry.on(r"last=b", status(200, {}, json.dumps({"tags": ["c"]}).encode()))
    link = {"Link": '</v2/me/web/tags/list?last=b&n=2>; rel="next"'}
    registry.on(r"/tags/list", status(200, link, json.dumps({"tags": ["a", "b"]}).encode()))
    with client(registry) as asking:
        assert list(asking.tags("me/web")) == ["a", "b", "c"]


def test_an_empty_list_may_be_null(registry: Evil) -> None:
    registry.on("/_catalog", status(200, {}, b'{"repositories": null}'))
    with client(registry) as asking:
        assert list(asking.catalogue()) == []


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"<html>", b'{"tags": [1]}', b'{"tags": 7}'])
def test_what_is_no_list_is_told(registry: Evil, answer: bytes) -> None:
    registry.on("/tags/list", status(200, {}, answer))
    with client(registry) as asking, pytest.raises(Unreachable, match="answers without 'tags'"):
        list(asking.tags("me/web"))


def test_a_list_that_leads_to_itself_ends(registry: Evil) -> None:
    link = {"Link": "</v2/me/web/tags/list?n=1000>; rel=next"}
    registry.on("/tags/list", status(200, link, b'{"tags": ["a"]}'))
    with client(registry) as asking:
        assert list(asking.tags("me/web")) == ["a"]
