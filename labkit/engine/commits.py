"""``docker commit``: what a container has written becomes an image's next layer.

    >>> from labkit.engine import commits
    >>> commits.commit(web, "me/web:v2", changes=("ENV A=1",), message="by hand", author="student").id
    'sha256:…'

Source: Docker Engine API v1.47, ``POST /commit``; moby's ``daemon/commit.go``. Shown in notebook 06.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.engine.config import Config
    from labkit.engine.container import Container
    from labkit.image.images import Image


def commit(
    container: Container,
    name: str = "",
    *,
    changes: Sequence[str] = (),
    message: str = "",
    author: str = "",
    pause: bool = True,
    config: Config | None = None,
) -> Image:
    """The image of the container's configuration (over it that of ``config``, then of ``changes``, lines of a Dockerfile) and files."""
    raise NotImplementedError
