"""JupyterLab in the background: what ``labkit up`` starts and ``labkit down`` stops.

    >>> from labkit.lab import jupyter
    >>> jupyter.up().url
    'http://127.0.0.1:8899/lab/tree/00-start-here.ipynb?token=5c2e…'
    >>> jupyter.down()

It listens on this machine alone (127.0.0.1), asks for a random token, and keeps apart from a Jupyter of your own: its settings
are in /var/lib/labkit/jupyter, and what one run needs is in /run/labkit/jupyter (``labkit.lab.service`` says what).
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass

import labkit
from labkit.errors import Conflict, NotFound
from labkit.lab import daemon, service

RUN = "/run/labkit/jupyter"
SETTINGS = "/var/lib/labkit/jupyter"
NOTEBOOKS = os.path.join(os.path.dirname(os.path.dirname(labkit.__file__)), "notebooks")
FIRST_NOTEBOOK = "00-start-here.ipynb"

_CONFIG = os.path.join(os.path.dirname(__file__), "jupyter_config")
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Server(service.Process):
    """A JupyterLab that was started here."""

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
    return service.running(run, Server)


def up(host: str = "127.0.0.1", port: int = 8899, notebooks: str = NOTEBOOKS, run: str = RUN, settings: str = SETTINGS) -> Server:
    """The running server, started if there is none; returns when its page answers.

    Where ``port`` is taken, the next free one is used. Raises ``NotFound`` without notebooks, ``LabError`` with the end of
    the log if JupyterLab does not come up.
    """
    if not os.path.isdir(notebooks):
        raise NotFound(f"{notebooks}: no notebooks there (labkit is to be installed with `make setup`, from its own directory)")
    with service.locked(run):
        server = running(run)
        if server is None:
            server = _start(host, _free_port(host, port), notebooks, run, settings)
        try:
            service.wait(server, run, "JupyterLab", server.url, _START_SECONDS)
        except BaseException:
            service.stop(server, run)
            raise
        return server


def down(run: str = RUN) -> Server | None:
    """Stop the server and its kernels; returns what was stopped, or None if nothing ran."""
    if not os.path.isdir(run):
        return None
    with service.locked(run):
        server = running(run)
        if server is not None:
            service.stop(server, run)
        return server


def _start(host: str, port: int, notebooks: str, run: str, settings: str) -> Server:
    token = secrets.token_hex(24)
    command = [
        *(sys.executable, "-m", "jupyterlab", f"--ServerApp.ip={host}", f"--ServerApp.port={port}"),
        *(f"--ServerApp.root_dir={notebooks}", f"--LabApp.default_url=/lab/tree/{FIRST_NOTEBOOK}"),
    ]
    environment = {
        **os.environ,
        "PATH": search_path(os.environ.get("PATH", os.defpath)),
        # In the environment, not among the arguments: those are for everyone to read in `ps`.
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_PATH": _CONFIG,
        "JUPYTER_CONFIG_DIR": f"{settings}/config",
        "JUPYTER_DATA_DIR": f"{settings}/data",
        "JUPYTER_RUNTIME_DIR": f"{run}/runtime",
        "IPYTHONDIR": f"{settings}/ipython",
        # `docker` in a notebook or its terminal means the lab's daemon; it builds with the builder that this one has.
        "DOCKER_HOST": f"unix://{daemon.RUN}/labkit.sock",
        "DOCKER_BUILDKIT": "0",
    }
    _trust(notebooks, f"{settings}/data")
    process = service.start(command, environment, run)
    server = Server(process.pid, process.start_time, host, port, token)
    service.remember(server, run)
    return server


def search_path(path: str) -> str:
    """Where a notebook's programs are: the lab's own first, and /bin at the end, which a service of systemd lacks on a system where it is
    /usr/bin: `chroot ROOT sh` looks for the shell in a root where it is not.
    """
    given = path.split(os.pathsep)
    return os.pathsep.join([os.path.dirname(sys.executable), *given, *(place for place in ("/sbin", "/bin") if place not in given)])


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


def _free_port(host: str, first: int) -> int:
    """The first port from ``first`` on that nobody listens on."""
    for port in range(first, min(first + 100, 65536)):
        if service.is_free(host, port):
            return port
    raise Conflict(f"{host}: ports {first} to {first + 99} are all taken")
