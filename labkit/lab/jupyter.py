"""JupyterLab in the background: what ``labkit up`` starts and ``labkit down`` stops.

    >>> from labkit.lab import jupyter
    >>> jupyter.up().url
    'http://127.0.0.1:8899/lab/tree/00-start-here.ipynb?token=5c2e…'
    >>> jupyter.down()

It listens on this machine alone (127.0.0.1), asks for a random token, and keeps apart from a Jupyter of your own: its settings
are in /var/lib/labkit/jupyter, and what one run needs is in /run/labkit/jupyter:

    server.json      PID, start time, port and token of the server that runs now (mode 0600)
    log              what it printed
    lock             held by whoever is starting or stopping it

The server is known by PID *and* start time, so ``down`` can never hit a process that was given the same PID later
(``man 5 proc``, field 22 of /proc/PID/stat), and nothing is ever found or killed by its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from errno import EADDRINUSE

import labkit
from labkit.errors import Conflict, KernelError, LabError, NotFound
from labkit.linux import processes

RUN = "/run/labkit/jupyter"
SETTINGS = "/var/lib/labkit/jupyter"
NOTEBOOKS = os.path.join(os.path.dirname(os.path.dirname(labkit.__file__)), "notebooks")
FIRST_NOTEBOOK = "00-start-here.ipynb"

_CONFIG = os.path.join(os.path.dirname(__file__), "jupyter_config")
_START_SECONDS = 120.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """A JupyterLab that was started here."""

    pid: int
    start_time: int
    """In clock ticks since boot; with the PID it names the process for good."""
    host: str
    port: int
    token: str

    @property
    def url(self) -> str:
        """What to open in a browser; whoever has the token is root on this machine."""
        return f"http://{self.address}/lab/tree/{FIRST_NOTEBOOK}?token={self.token}"

    @property
    def address(self) -> str:
        return f"{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"


def running(run: str = RUN) -> Server | None:
    """The server that was started with this run directory, if it is still alive."""
    try:
        with open(f"{run}/server.json") as file:
            server = Server(**json.load(file))
    except FileNotFoundError:
        return None
    return server if processes.alive(server.pid, server.start_time) else None


def up(host: str = "127.0.0.1", port: int = 8899, notebooks: str = NOTEBOOKS, run: str = RUN, settings: str = SETTINGS) -> Server:
    """The running server, started if there is none; returns when its page answers.

    Where ``port`` is taken, the next free one is used. Raises ``NotFound`` without notebooks, ``LabError`` with the end of
    the log if JupyterLab does not come up.
    """
    if not os.path.isdir(notebooks):
        raise NotFound(f"{notebooks}: no notebooks there (labkit is to be installed with `make setup`, from its own directory)")
    with _locked(run):
        server = running(run)
        if server is None:
            server = _start(host, _free_port(host, port), notebooks, run, settings)
        try:
            _wait_for_page(server, run)
        except BaseException:
            _stop(server, run)
            raise
        return server


def down(run: str = RUN) -> Server | None:
    """Stop the server and its kernels; returns what was stopped, or None if nothing ran."""
    if not os.path.isdir(run):
        return None
    with _locked(run):
        server = running(run)
        if server is not None:
            _stop(server, run)
        return server


def _start(host: str, port: int, notebooks: str, run: str, settings: str) -> Server:
    token = secrets.token_hex(24)
    command = [
        *(sys.executable, "-m", "jupyterlab", f"--ServerApp.ip={host}", f"--ServerApp.port={port}"),
        *(f"--ServerApp.root_dir={notebooks}", f"--LabApp.default_url=/lab/tree/{FIRST_NOTEBOOK}"),
    ]
    environment = {
        **os.environ,
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}",
        # In the environment, not among the arguments: those are for everyone to read in `ps`.
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_PATH": _CONFIG,
        "JUPYTER_CONFIG_DIR": f"{settings}/config",
        "JUPYTER_DATA_DIR": f"{settings}/data",
        "JUPYTER_RUNTIME_DIR": f"{run}/runtime",
        "IPYTHONDIR": f"{settings}/ipython",
    }
    _trust(notebooks, f"{settings}/data")
    log = os.open(f"{run}/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    # A session of its own: closing the terminal, or ctrl-c in it, is none of its business.
    pid = os.posix_spawn(command[0], command, environment, file_actions=files, setsid=True)
    os.close(log)
    stat = processes.stat(pid)
    assert stat is not None, "an unreaped child always has a stat"
    server = Server(pid, stat.start_time, host, port, token)
    # Written before the page answers, so that `labkit down` finds it whatever happens to us.
    with open(f"{run}/server.json.new", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump(asdict(server), file)
    os.rename(f"{run}/server.json.new", f"{run}/server.json")
    return server


def _trust(notebooks: str, data: str) -> None:
    """Sign the notebooks as they are stored now, so that JupyterLab shows their stored views before anything is run."""
    import nbformat
    from nbformat.sign import NotebookNotary

    os.makedirs(data, exist_ok=True)
    notary = NotebookNotary(data_dir=data)
    for name in sorted(os.listdir(notebooks)):
        if name.endswith(".ipynb"):
            notary.sign(nbformat.read(f"{notebooks}/{name}", as_version=4))
    notary.store.close()


def _wait_for_page(server: Server, run: str) -> None:
    pidfd = processes.pidfd(server.pid, server.start_time)
    try:
        for _ in range(int(_START_SECONDS / 0.1)):
            if processes.wait(pidfd, timeout=0.1):
                raise LabError(f"JupyterLab ended while starting; the end of its log:\n{_tail(f'{run}/log')}")
            if _answers(server):
                return
    finally:
        os.close(pidfd)
    raise LabError(f"JupyterLab does not answer on {server.address}; the end of its log:\n{_tail(f'{run}/log')}")


def _answers(server: Server) -> bool:
    # Not through a proxy: HTTP_PROXY of the environment is not meant for this machine itself.
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with browser.open(server.url, timeout=5) as page:
            return bool(page.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _stop(server: Server, run: str) -> None:
    """Ask the server to stop, which stops its kernels; then see to it that all of them have."""
    with contextlib.ExitStack() as closing:
        pidfds = []
        for pid in (server.pid, *processes.children(server.pid)):
            with contextlib.suppress(NotFound):
                pidfd = processes.pidfd(pid)
                closing.callback(os.close, pidfd)
                pidfds.append(pidfd)
        with contextlib.suppress(NotFound):
            processes.send(server.pid, signal.SIGTERM, server.start_time)
        for pidfd in pidfds:
            if not processes.wait(pidfd, timeout=_STOP_SECONDS):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                processes.wait(pidfd)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(server.pid, 0)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{run}/server.json")


def _free_port(host: str, first: int) -> int:
    """The first port from ``first`` on that nobody listens on."""
    for port in range(first, min(first + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return port
            except OSError as error:
                if error.errno != EADDRINUSE:
                    raise KernelError.of(error, "bind", f"{host}:{port}") from None
    raise Conflict(f"{host}: ports {first} to {first + 99} are all taken")


@contextlib.contextmanager
def _locked(run: str) -> Iterator[None]:
    os.makedirs(run, mode=0o700, exist_ok=True)
    fd = os.open(f"{run}/lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _tail(path: str, lines: int = 15) -> str:
    with open(path, errors="replace") as file:
        return "".join(file.readlines()[-lines:]).rstrip()
