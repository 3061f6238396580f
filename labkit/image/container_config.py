"""What a container gets from its image if its user says nothing: the inner ``config`` of an image's config.

    >>> from labkit.image.container_config import ContainerConfig
    >>> ContainerConfig(Cmd=("nginx", "-g", "daemon off;"), ExposedPorts={"80/tcp": {}}, StopSignal="SIGQUIT")

Field names are the specification's, which are those of Docker's API. Source: OCI image-spec 1.1, config.md, ``config``; Docker's
image spec 1.2 for Healthcheck, Shell and OnBuild. Shown in notebook 05.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from labkit.records import record


@record
class Healthcheck:
    """How to see whether a container works. ``Test`` is ("CMD", …), ("CMD-SHELL", command) or ("NONE",); times are in nanoseconds."""

    Test: tuple[str, ...] = ()
    Interval: int = 0
    Timeout: int = 0
    StartPeriod: int = 0
    StartInterval: int = 0
    Retries: int = 0


@record
class ContainerConfig:
    """Defaults of a container's process. The keys of ``ExposedPorts`` and ``Volumes`` are what counts; each value is ``{}``."""

    User: str = ""
    ExposedPorts: Mapping[str, object] = field(default_factory=dict)
    Env: tuple[str, ...] = ()
    Entrypoint: tuple[str, ...] = ()
    Cmd: tuple[str, ...] = ()
    Healthcheck: Healthcheck | None = None
    ArgsEscaped: bool = False
    Volumes: Mapping[str, object] = field(default_factory=dict)
    WorkingDir: str = ""
    Shell: tuple[str, ...] = ()
    OnBuild: tuple[str, ...] = ()
    Labels: Mapping[str, str] = field(default_factory=dict)
    StopSignal: str = ""
