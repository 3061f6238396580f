"""What all stages of one build share: the store, the context, the cache, who hears what is said.

    >>> job = Job(store, web, report=show)
    >>> job.remember(job.key(base, "RUN make"), config).id

Source: OCI image-spec 1.1, config.md; https://reproducible-builds.org/specs/source-date-epoch/. Shown in notebook 09.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from labkit.engine.build.cache import Cache
from labkit.engine.build.context import Context
from labkit.engine.build.output import Output, Report, silent
from labkit.image import documents
from labkit.image.container_config import ContainerConfig
from labkit.image.documents import ImageConfig
from labkit.image.image import chain_ids
from labkit.records import record
from labkit.storage import digests
from labkit.storage.store import Store


@record
class Built:
    """An image as far as it is built: the ID is the digest of its config; that of ``scratch`` is empty."""

    id: str
    config: ImageConfig

    @property
    def chain(self) -> str | None:
        """The chain ID of its layers; None if it has none."""
        chains = chain_ids(self.config)
        return chains[-1] if chains else None

    @property
    def short(self) -> str:
        """As it is announced."""
        return digests.short(self.id) if self.id else ""


@dataclass(frozen=True)
class Job:
    """One build. ``epoch``: seconds since 1970 that nothing in the image may be younger than; None: as young as it is."""

    store: Store
    context: Context
    report: Report = silent
    network: str = "default"
    epoch: int | None = None
    uses_cache: bool = True
    escape: str = "\\"
    _seen: dict[str, None] = field(default_factory=dict)

    @cached_property
    def cache(self) -> Cache:
        """The build cache of the store."""
        return Cache(self.store)

    def say(self, text: str) -> None:
        """Tell whoever listens."""
        self.report(Output(text))

    def now(self) -> str:
        """The time that the image is given, as its config has it."""
        if self.epoch is not None:
            return datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        nanoseconds = time.time_ns()
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9)) + f".{nanoseconds % 10**9:09d}Z"

    def key(self, before: Built, config: ContainerConfig, *parts: str) -> str:
        """What the cache calls a step: all that makes a difference to what it gives."""
        base = before.id or f"scratch for {before.config.platform}"
        after = digests.of(documents.encode(ImageConfig("", "", documents.RootFS("layers", ()), config=config)))
        return self.cache.key(base, after, str(self.epoch), *parts)

    def cached(self, key: str) -> Built | None:
        """What this step gave before."""
        found = self.cache.find(key) if self.uses_cache else None
        return Built(*found) if found else None

    def remember(self, key: str, config: ImageConfig) -> Built:
        """The image with this config, which a step gave."""
        data = documents.encode(config)
        self.cache.remember(key, data)
        return Built(digests.of(data), config)
