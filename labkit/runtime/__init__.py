"""A bundle in, a process out: labkit's OCI runtime.

    >>> from labkit import runtime
    >>> print(runtime.plan("/tmp/bundle"))         # the steps, before any is taken
    >>> runtime.run("/tmp/bundle").stdout          # all of them, at full speed
    >>> box = runtime.create("/tmp/bundle")        # up to the point where the program would be executed

    spec, validate           config.json as frozen dataclasses, refused with the field's path
    planner ──▶ plans        the steps of a container, in order; script prints them for sh
    steps/                   what each step does, undoes, is in shell, and is good for
    conduct, handshake       the one executor, and how its two sides take turns
    container, state         created, running, stopped: the life of a container, and what is on disk
    spawner, monitor, stdio  the processes that hold a container, and what it reads and writes
    client, stepping         all of it from a notebook, at full speed or one step at a time

Source: OCI runtime-spec 1.1. Taught in notebook 04-a-container-from-parts.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from labkit.runtime.client import Container, Finished, containers, create, find, plan, run
    from labkit.runtime.spec import load

__all__ = ["Container", "Finished", "containers", "create", "find", "load", "plan", "run"]


def __getattr__(name: str) -> object:
    """What ``__all__`` names is imported at its first use, so that the command line starts without the notebook's half."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "load":
        from labkit.runtime import spec

        return spec.load
    from labkit.runtime import client

    return getattr(client, name)


def __dir__() -> list[str]:
    return __all__
