"""The daemon: a unix socket, who may use it, and the process behind it from start to end.

    daemon.json, options ──▶ Engine (takes up what runs) ──▶ socket ──▶ serve … ──SIGTERM──▶ socket away, engine closed; containers go on

    >>> server.run(Settings(), "/etc/labkit/daemon.json")            # what `labkit daemon` does

    run/daemon/server.json     its PID, start time and socket, for ``labkit down``
    run/daemon/pid             the PID alone, for ``kill``: SIGTERM ends it, SIGHUP has it read the mirrors again

There is one engine to a root and one daemon to a socket; who comes second is refused. Source: ``man 7 unix``; Docker's ``dockerd``.
"""

from __future__ import annotations

import asyncio
import grp
import json
import logging
import os
import resource
import signal
import socket
from contextlib import suppress
from errno import ECONNREFUSED

from labkit.daemon import statuses
from labkit.daemon.api import Api
from labkit.daemon.failures import ClientGone
from labkit.daemon.hangups import Hangups
from labkit.daemon.http import BLOCK, Connection
from labkit.daemon.messages import Answer, Request, Response
from labkit.daemon.router import ANNOUNCED, Router
from labkit.daemon.routes import build, containers, files, images, networks, streams, system, usage, volumes
from labkit.daemon.settings import Settings, load, socket_path
from labkit.engine.engine import Engine
from labkit.errors import Conflict, InvalidInput, KernelError, LabError
from labkit.linux import processes
from labkit.runtime import client as runtime

_log = logging.getLogger("labkit.daemon")

HEADERS = (("Api-Version", ANNOUNCED), ("Docker-Experimental", "false"), ("Ostype", "linux"), ("Server", "labkit (linux)"))
ROUTES = tuple(route for nouns in (system, containers, streams, files, images, build, volumes, networks, usage) for route in nouns.ROUTES)
_BACKLOG = 512


def run(settings: Settings, config: str) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``LabError`` for what keeps it from beginning."""
    hosts = settings.hosts or (f"unix://{settings.exec_root}/labkit.sock",)
    sockets: list[socket.socket] = []
    with Engine(settings.data_root, settings.exec_root, config=config, cgroup_parent=settings.cgroup_parent, bip=settings.bip) as engine:
        runtime.prepare()  # first: containers inherit the limits that we were given ourselves
        _open_as_many_as_possible()
        records = _write_records(f"{settings.exec_root}/daemon", hosts[0])
        try:
            sockets += (listen(socket_path(host), settings.group) for host in hosts)
            asyncio.run(_serve(engine, settings, config, hosts, sockets))
        finally:
            for listener, host in zip(sockets, hosts, strict=False):
                listener.close()
                with suppress(FileNotFoundError):
                    os.unlink(socket_path(host))
            for path in records:
                with suppress(FileNotFoundError):
                    os.unlink(path)


def _open_as_many_as_possible() -> None:
    """Each client is a descriptor, and each container a few; the usual 1024 are meant for programs that use ``select``."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def listen(path: str, group: str) -> socket.socket:
    """A socket that root may use, and the members of ``group``. ``Conflict`` if somebody answers there."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with suppress(FileNotFoundError):
            if _is_answered(path):
                raise Conflict(f"{path}: another daemon listens there")
            os.unlink(path)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        with suppress(KeyError):  # there is no such group: then it is root's alone
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        os.chmod(path, 0o660)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise KernelError.of(error, "listen on", path) from None
    except LabError:
        listener.close()
        raise
    return listener


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            if error.errno == ECONNREFUSED:
                return False
            raise
    return True


def _write_records(directory: str, host: str) -> tuple[str, ...]:
    """Say who we are: the paths of what was written."""
    own = processes.stat(os.getpid())
    assert own is not None, "we are alive"
    server = {"pid": own.pid, "start_time": own.start_time, "host": host}
    records = {f"{directory}/server.json": json.dumps(server), f"{directory}/pid": f"{own.pid}\n"}
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for path, text in records.items():
            with open(f"{path}.new", "w") as file:
                file.write(text)
            os.rename(f"{path}.new", path)
    except OSError as error:
        raise KernelError.of(error, "write into", directory) from None
    return tuple(records)


async def _serve(engine: Engine, settings: Settings, config: str, hosts: tuple[str, ...], sockets: list[socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    api = Api(engine, settings, loop, hosts[0])
    server = Server(api)
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: _reread(engine, config))
    listeners = [await loop.create_unix_server(server.protocol, sock=each) for each in sockets]
    _log.info("API listen on %s", ", ".join(hosts))
    await ending.wait()
    _log.info("ending; containers go on")
    for listener in listeners:
        listener.close()
    await server.close()
    api.close()


def _reread(engine: Engine, config: str) -> None:
    """Mirrors and insecure registries may have changed. A file that is wrong changes nothing."""
    try:
        load(config)
    except LabError as error:
        _log.error("SIGHUP: %s; the settings stay as they are", error)
        return
    engine.images.reread()
    _log.info("SIGHUP: %s is read again", config)


class Server:
    """All connections."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._router = Router(ROUTES)
        self._hangups = Hangups(api.loop)
        self._clients: set[asyncio.Task[None]] = set()

    def protocol(self) -> asyncio.StreamReaderProtocol:
        """For a new connection."""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(BLOCK), self._welcome)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self.answer, self._hangups, HEADERS)
        client = asyncio.get_running_loop().create_task(connection.serve())
        self._clients.add(client)
        client.add_done_callback(self._gone)

    def _gone(self, client: asyncio.Task[None]) -> None:
        self._clients.discard(client)
        if not client.cancelled() and (error := client.exception()):
            _log.error("a connection broke off", exc_info=error)

    async def answer(self, request: Request) -> Answer:
        """Find who answers, and put what goes wrong into an answer, too."""
        try:
            if "\0" in request.path:
                raise InvalidInput("the path must not hold a NUL character")
            return await self._router.find(request)(self._api, request)
        except ClientGone:
            raise
        except LabError as error:
            _log.debug("%s %s: %s", request.method, request.path, error)
            return Response.error(statuses.of(error), str(error))
        except Exception as error:
            _log.exception("%s %s", request.method, request.path)
            message = f"internal error: {type(error).__name__} (the daemon's log has the whole of it)"
            return Response.error(statuses.INTERNAL_SERVER_ERROR, message)

    async def close(self) -> None:
        """Let go of all clients."""
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients, timeout=5)
        self._hangups.close()
