"""Mirrors: tried in order; a dead or lying one is named in a warning, and the image comes from the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import NotFound, Unreachable
from labkit.image import references
from labkit.image.images import Image, Images
from labkit.image.progress import Progress
from labkit.image.registry import endpoints, pull
from labkit.image.registry.settings import Settings
from tests import evil
from tests.evil import Evil, digest_of, layer, made, status
from tests.linux.image.registry.conftest import QUICK, rubbish, seen

BASE, PAGE = layer({"base": b"b" * 100_000}, level=0), layer({"srv/index.html": b"<h1>lab</h1>"})
NGINX = made([BASE, PAGE])

Pulled = Callable[..., Image]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Evil]:
    """What stands for Docker Hub, which has the image."""
    with Evil() as hub:
        hub.add(NGINX, "library/nginx", "latest")
        monkeypatch.setattr(endpoints, "HUB_REGISTRY", hub.address)
        yield hub


def warnings(said: list[Progress]) -> list[str]:
    return [progress.status for progress in said if progress.status.startswith("warning")]


def test_a_mirror_that_has_the_image_is_all_that_is_asked(hub: Evil, bad: Evil, pulled: Pulled, said: list[Progress]) -> None:
    bad.add(NGINX, "library/nginx", "latest")
    assert pulled("nginx", Settings((bad.url,))).id == digest_of(NGINX.config)
    assert (hub.asked, warnings(said)) == ([], [])


def test_with_every_outside_address_unreachable_the_mirror_is_enough_and_nothing_is_said(
    bad: Evil, pulled: Pulled, said: list[Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "HUB_REGISTRY", "registry.invalid")
    bad.add(NGINX, "library/nginx", "latest")
    pulled("nginx", Settings((bad.url,)))
    assert not [progress for progress in said if "invalid" in progress.status]


def test_a_mirror_that_has_it_not_is_passed_over_without_a_word(hub: Evil, bad: Evil, pulled: Pulled, said: list[Progress]) -> None:
    pulled("nginx", Settings((bad.url,)))
    assert (warnings(said), bad.paths("GET")) == ([], ["/v2/library/nginx/manifests/latest"])


def test_mirrors_are_tried_in_their_order(hub: Evil, bad: Evil, pulled: Pulled, said: list[Progress]) -> None:
    with Evil() as second:
        second.add(NGINX, "library/nginx", "latest")
        pulled("nginx", Settings((bad.url, second.url)))
        assert (len(bad.asked), len(second.asked), hub.asked) == (1, 4, [])


def test_names_of_other_registries_are_not_for_mirrors(hub: Evil, bad: Evil, pulled: Pulled) -> None:
    hub.add(NGINX, "me/web", "v1")
    pulled(f"{hub.address}/me/web:v1", Settings((bad.url,)))
    assert bad.asked == []


def test_a_dead_mirror_is_named(hub: Evil, pulled: Pulled, said: list[Progress]) -> None:
    with Evil() as gone:
        url = gone.url
    assert pulled("nginx", Settings((url,))).id == digest_of(NGINX.config)
    assert warnings(said) == [f'warning: mirror {url}: Get "{url}/v2/": connection refused']


@pytest.mark.parametrize(
    ("where", "answer", "complaint"),
    [
        ("/manifests/", evil.html, "a page of HTML"),
        ("/manifests/", status(500), "500 Internal Server Error"),
        ("/manifests/", status(401), "401 Unauthorized"),
        ("/manifests/", status(200, {"Content-Type": evil.MANIFEST, "Docker-Content-Digest": NGINX.digest}, b"{}"), "has the digest"),
        ("/manifests/", status(200, {"Content-Type": evil.MANIFEST}, b"{}"), "manifest"),
        ("/manifests/", evil.redirect_for_ever, "more than 10 redirects"),
        ("/blobs/", evil.html, "a page of HTML"),
        ("/blobs/", status(404), "404 Not Found"),
        ("/blobs/", status(200, {}, b"x"), "not the"),
        (digest_of(PAGE[0]), status(200, {}, bytes(len(PAGE[0]))), "digest"),
        (digest_of(BASE[0]), evil.die_at(50_000), "the connection"),
    ],
)
def test_a_lying_mirror_is_named_and_the_next_has_the_image(
    hub: Evil, bad: Evil, images: Images, pulled: Pulled, said: list[Progress], where: str, answer: evil.Reply, complaint: str
) -> None:
    bad.add(NGINX, "library/nginx", "latest")
    bad.on(where, answer)
    assert pulled("nginx", Settings((bad.url,))).id == digest_of(NGINX.config)
    (warning,) = warnings(said)
    assert warning.startswith(f"warning: mirror {bad.url}: ")
    assert complaint in warning
    assert rubbish(images) == []


def test_a_mirror_that_hangs_is_named(hub: Evil, bad: Evil, pulled: Pulled, said: list[Progress]) -> None:
    bad.on("", evil.hang)
    pulled("nginx", Settings((bad.url,)), patience=replace(QUICK, silence=0.2))
    assert warnings(said) == [f"warning: mirror {bad.url}: it has fallen silent"]


def test_what_a_mirror_gave_that_was_right_is_not_fetched_again(hub: Evil, bad: Evil, pulled: Pulled) -> None:
    bad.add(NGINX, "library/nginx", "latest")
    bad.on(digest_of(PAGE[0]), status(404))
    bad.on(digest_of(BASE[0]), evil.die_at(50_000))
    pulled("nginx", Settings((bad.url,)))
    assert hub.paths("GET", digest_of(NGINX.config)) == []
    (base,) = [asked for asked in hub.asked if asked.path.endswith(digest_of(BASE[0]))]
    assert base.headers.get("range") in (None, "bytes=50000-")  # it may have been cut when the other layer failed


def test_a_mirror_that_lies_in_the_middle_of_a_layer_spoils_nothing(
    hub: Evil, bad: Evil, images: Images, pulled: Pulled, tmp_path: Path
) -> None:
    def lie(request: evil.Request) -> None:
        request.answer(200, {"Content-Length": str(len(BASE[0]))}, BASE[0][:20_000] + b"?" * 20_000)
        request.cut()

    bad.add(NGINX, "library/nginx", "latest")
    bad.on(digest_of(BASE[0]), lie)
    image = pulled("nginx", Settings((bad.url,)))
    assert seen(images, image, tmp_path / "m")["base"] == b"b" * 100_000


def test_where_nobody_has_it_the_registry_s_word_counts(hub: Evil, bad: Evil, pulled: Pulled) -> None:
    with pytest.raises(NotFound, match="manifest for nosuch:latest not found: manifest unknown"):
        pulled("nosuch", Settings((bad.url,)))


def test_where_the_hub_is_out_of_reach_it_is_told_that_the_mirror_has_it_not(
    bad: Evil, pulled: Pulled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "HUB_REGISTRY", "registry.invalid")
    complaint = rf'Get "https://registry\.invalid/v2/": .*; and there is no nosuch:latest on mirror {bad.url}'
    with pytest.raises(Unreachable, match=complaint):
        pulled("nosuch", Settings((bad.url,)))


def test_the_tags_of_a_repository_are_those_of_the_first_mirror_that_has_it(hub: Evil, bad: Evil) -> None:
    hub.on("/tags/list", status(200, {}, b'{"tags": ["1", "2"]}'))
    settings = Settings((bad.url,))
    assert pull.tags(references.parse("nginx"), settings=settings, patience=QUICK) == ("1", "2")
    bad.on("/tags/list", status(200, {}, b'{"tags": ["1"]}'))
    assert pull.tags(references.parse("nginx"), settings=settings, patience=QUICK) == ("1",)
