"""Which volumes a filter means."""

from __future__ import annotations

import pytest

from labkit.engine import volume_filters
from labkit.engine.volumes import Volume
from labkit.errors import InvalidInput

SITE = Volume("site", "/v/site/_data", "", Labels={"of": "web", "keep": ""})
OLD = Volume("old-site", "/v/old-site/_data", "")
NAMELESS = Volume("f" * 64, "/v/f/_data", "", Labels={"com.docker.volume.anonymous": ""})
ALL = (SITE, OLD, NAMELESS)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ALL),
        ({"name": ["site"]}, (SITE, OLD)),
        ({"name": ["^site"]}, (SITE,)),
        ({"name": ["old", "fff"]}, (OLD, NAMELESS)),
        ({"name": ["["]}, ()),
        ({"label": ["of"]}, (SITE,)),
        ({"label": ["of=web", "keep"]}, (SITE,)),
        ({"label": ["of=db"]}, ()),
        ({"driver": ["local"]}, ALL),
        ({"driver": ["nfs"]}, ()),
        ({"dangling": ["true"]}, (OLD, NAMELESS)),
        ({"dangling": ["0"]}, (SITE,)),
        ({"dangling": ["true", "false"]}, ALL),
    ],
)
def test_a_filter_lets_through_what_it_names(filters: dict[str, list[str]], found: tuple[Volume, ...]) -> None:
    assert volume_filters.passing(ALL, filters, lambda volume: volume is SITE) == found


@pytest.mark.parametrize(
    ("filters", "every", "found"),
    [
        ({}, False, (NAMELESS,)),
        ({}, True, ALL),
        ({"all": ["1"]}, False, ALL),
        ({"all": ["false"]}, False, (NAMELESS,)),
        ({"label": ["of"]}, True, (SITE,)),
        ({"label!": ["keep"]}, True, (OLD, NAMELESS)),
    ],
)
def test_a_prune_means_the_anonymous_ones_or_all(filters: dict[str, list[str]], every: bool, found: tuple[Volume, ...]) -> None:
    assert volume_filters.prunable(ALL, filters, every=every) == found


def test_what_is_no_filter_is_refused_in_dockers_words() -> None:
    with pytest.raises(InvalidInput, match=r"^Invalid filter 'foo'$"):
        volume_filters.passing(ALL, {"foo": ["bar"]}, bool)
    with pytest.raises(InvalidInput, match=r"^Invalid filter 'dangling=\[maybe\]'$"):
        volume_filters.passing(ALL, {"dangling": ["maybe"]}, bool)
    with pytest.raises(InvalidInput, match=r"^Invalid filter 'name'$"):
        volume_filters.prunable(ALL, {"name": ["x"]}, every=True)
