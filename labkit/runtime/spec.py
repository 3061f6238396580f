"""A bundle's ``config.json``, as OCI runtime-spec 1.1 words it: frozen dataclasses with the specification's field names.

    >>> from labkit.runtime import spec
    >>> web = spec.load("/run/labkit/lessons/web")
    >>> web.process.args, web.linux.namespaces[0].type
    (('sh',), 'pid')

    Spec ── process ── user, capabilities, rlimits, …      this file: config.md
         ├─ root, mounts, hostname, hooks, annotations
         └─ linux ──── namespaces, devices, seccomp, …     spec_linux.py: config-linux.md
                  └─── resources ── memory, cpu, …         spec_resources.py: config-linux.md, Control groups

What the specification leaves out is the default here, so that nobody has to ask twice: a configuration without ``linux``
has an empty ``Linux()``. ``load``, ``parse`` and ``load_process`` raise ``InvalidInput`` with the path of the field, and
``Unsupported`` for what this machine has not; what they return has passed ``validate``. Notebook 04 prints one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit import codec
from labkit.errors import InvalidInput, KernelError, NotFound
from labkit.records import record
from labkit.runtime.spec_linux import Linux

TYPE_CHECKING = False  # mypy takes any variable of this name for typing's, which takes 1.4 ms to import
if TYPE_CHECKING:
    from labkit.linux.idmaps import IdMap

# eq=False throughout: two configurations are never compared, and each class costs a third less to make at import.


@record
class User:
    """Who the process is inside the container: numbers, for names are the business of whoever wrote the bundle."""

    uid: int
    gid: int
    umask: int | None = None
    additionalGids: tuple[int, ...] = ()


@record
class Capabilities:
    """The five sets of ``man 7 capabilities``, by name: CAP_CHOWN, …"""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@record
class Rlimit:
    """``man 2 setrlimit``; ``type`` is RLIMIT_NOFILE, …"""

    type: str
    hard: int
    soft: int


@record
class ConsoleSize:
    """Rows and columns of the terminal, in characters."""

    height: int
    width: int


@record
class Scheduler:
    """``man 2 sched_setattr``; ``runtime``, ``deadline`` and ``period`` are nanoseconds, for SCHED_DEADLINE alone."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


@record
class IOPriority:
    """``man 2 ioprio_set``; ``priority`` from 0, the highest, to 7."""

    class_: str
    priority: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Process:
    """What runs in the container, and as whom. ``labkit runtime exec --process`` reads one too."""

    terminal: bool = False
    consoleSize: ConsoleSize | None = None
    user: User = User(0, 0)  # noqa: RUF009 (frozen, so it may be shared)
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    noNewPrivileges: bool = False
    oomScoreAdj: int | None = None
    scheduler: Scheduler | None = None
    ioPriority: IOPriority | None = None
    apparmorProfile: str = ""
    selinuxLabel: str = ""


@record
class Root:
    """The directory that becomes ``/``; a relative ``path`` starts at the bundle."""

    path: str
    readonly: bool = False


@record
class Mount:
    """One mount inside the container, made in the order of the list. A relative bind ``source`` starts at the bundle."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uidMappings: tuple[IdMap, ...] = ()
    gidMappings: tuple[IdMap, ...] = ()


@record
class Hook:
    """A program that gets the container's state on its standard input; ``timeout`` in seconds."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@record
class Hooks:
    """Programs to run as the container is born and dies.

    create ─▶ prestart, createRuntime   on the host, namespaces made, before pivot_root
              createContainer           in the container's namespaces, host's files, before pivot_root
    start ──▶ startContainer            inside, before the process is executed
              poststart                 on the host, after it is
    delete ─▶ poststop                  on the host, when the container is gone
    """

    prestart: tuple[Hook, ...] = ()
    createRuntime: tuple[Hook, ...] = ()
    createContainer: tuple[Hook, ...] = ()
    startContainer: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


@record
class Spec:
    """The whole of ``config.json``."""

    ociVersion: str
    process: Process
    root: Root
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    annotations: Mapping[str, str] = field(default_factory=dict)
    linux: Linux = Linux()


def load(bundle: str) -> Spec:
    """The configuration of the bundle in the directory ``bundle``; ``NotFound`` if it holds none."""
    from labkit.runtime import validate

    path = f"{bundle}/config.json"
    try:
        with open(path, "rb") as file:
            spec = parse(file.read())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path}: no such file (a bundle is a directory with a config.json; `labkit runtime spec` writes one)") from None
    except OSError as error:
        raise KernelError.of(error, "read", path) from None
    validate.root_directory(spec, bundle)
    return spec


def parse(text: str | bytes) -> Spec:
    """A ``config.json`` from its text."""
    from labkit.runtime import validate

    spec = codec.decode(Spec, _json(text, "config.json"))
    validate.spec(spec)
    return spec


def load_process(text: str | bytes) -> Process:
    """One ``process`` object, such as ``exec --process FILE`` is given."""
    from labkit.runtime import validate

    process = codec.decode(Process, _json(text, "process"), "process")
    validate.process(process)
    return process


def _json(text: str | bytes, name: str) -> object:
    import json

    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name}: is not JSON: {error}") from None
    return data


def __getattr__(name: str) -> object:
    """The classes of the ``linux`` part can be had here too; the rarer ones are imported when somebody asks for them."""
    from labkit.runtime import spec_linux

    return getattr(spec_linux, name)
