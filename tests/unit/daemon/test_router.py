"""Which function answers: paths with names in them, and versions before them."""

from __future__ import annotations

import pytest

from labkit.daemon.messages import Answer, Request, Response
from labkit.daemon.queries import Query
from labkit.daemon.router import Route, Router
from labkit.daemon.server import ROUTES
from labkit.errors import InvalidInput, NotFound


async def _first(_api: object, _request: Request) -> Answer:
    return Response(200, b"first")


async def _second(_api: object, _request: Request) -> Answer:
    return Response(200, b"second")


async def _nothing():  # type: ignore[no-untyped-def]
    return
    yield b""


def request(path: str, method: str = "GET") -> Request:
    return Request(method, path, Query(), {}, _nothing())


ROUTER = Router(
    [
        Route("GET", "/containers/json", _first),
        Route("GET", "/containers/{name:.*}/json", _second),
        Route("POST", "/exec/{id}/start", _first),
    ]
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/containers/web/json", "web"),
        ("/v1.24/containers/web/json", "web"),
        ("/v1.51/containers//web/json", "/web"),
        ("/v1.47/containers/localhost:5000/me/x/json", "localhost:5000/me/x"),
        ("/containers/json/json", "json"),
        ("/containers/a\nb/json", "a\nb"),
    ],
)
def test_a_name_may_have_slashes_and_a_path_a_version(path: str, name: str) -> None:
    asked = request(path)
    assert ROUTER.find(asked) is _second
    assert asked.parameters == {"name": name}


def test_the_version_is_told_and_no_part_of_the_path() -> None:
    asked = request("/v1.41/containers/json")
    assert ROUTER.find(asked) is _first
    assert (asked.version, asked.path) == ("1.41", "/containers/json")


@pytest.mark.parametrize(
    "path", ["/", "", "/containers", "/v1.41", "/v1.41/", "/vx/containers/json", "/exec/a/b/start", "/containers/json/"]
)
def test_what_no_route_has_is_not_found(path: str) -> None:
    for method in "GET", "POST", "PATCH":
        if (method, path) != ("POST", "/exec/a/b/start"):
            with pytest.raises(NotFound, match=r"^page not found$"):
                ROUTER.find(request(path, method))


def test_versions_that_are_none_of_ours_are_refused_in_dockers_words() -> None:
    with pytest.raises(InvalidInput, match=r"^client version 1\.52 is too new\. Maximum supported API version is 1\.51$"):
        ROUTER.find(request("/v1.52/containers/json"))
    with pytest.raises(InvalidInput, match=r"^client version 1\.23 is too old\. Minimum supported API version is 1\.24,"):
        ROUTER.find(request("/v1.23/containers/json"))
    with pytest.raises(NotFound):
        ROUTER.find(request(f"/v{'9' * 50_000}.1/containers/json"))


def test_no_route_hides_another() -> None:
    router = Router(ROUTES)
    for route in ROUTES:
        path = route.path.replace("{name:.*}", "n").replace("{id}", "i")
        assert router.find(request(path, route.method)) is route.handler, route
