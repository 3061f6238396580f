"""``labkit daemon``: the command line of the daemon.

    labkit daemon --host unix:///run/labkit/labkit.sock --root /var/lib/labkit --config /etc/labkit/daemon.json

It stays in the foreground, and logs to stderr. What an option says goes before what daemon.json says.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import replace

from labkit.daemon import settings as configuration
from labkit.daemon.settings import Settings
from labkit.errors import LabError, Unsupported

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR, "fatal": logging.CRITICAL}


def main(arguments: list[str]) -> int:
    """Run the daemon to its end; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        if os.geteuid() != 0:
            raise Unsupported("`labkit daemon` takes root: sudo labkit daemon")
        level = logging.DEBUG if settings.debug else _LEVELS[settings.log_level]
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        for talkative in ("asyncio", "httpx", "httpcore"):
            logging.getLogger(talkative).setLevel(logging.WARNING)
        from labkit.daemon import server

        server.run(settings, options.config)
    except LabError as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 1
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    """What daemon.json says, and over it what the options say."""
    said = {
        "hosts": tuple(options.host),
        "data_root": os.path.abspath(options.root) if options.root else "",
        "exec_root": os.path.abspath(options.exec_root) if options.exec_root else "",
        "group": options.group,
        "log_level": options.log_level,
        "debug": options.debug,
    }
    found = configuration.load(options.config)
    return replace(found, **{name: value for name, value in said.items() if value})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("labkit daemon", description="Serve Docker's Engine API on a unix socket.", allow_abbrev=False)
    parser.add_argument("-H", "--host", action="append", default=[], help="where to listen (unix:///run/labkit/labkit.sock)")
    parser.add_argument("--root", "--data-root", default="", help="images, containers, volumes (/var/lib/labkit)")
    parser.add_argument("--exec-root", default="", help="what lasts until the next boot (/run/labkit)")
    parser.add_argument("--config", "--config-file", default=configuration.PATH, help=f"the daemon's settings ({configuration.PATH})")
    parser.add_argument("-G", "--group", default="", help="whose members may use the socket (labkit)")
    parser.add_argument("-l", "--log-level", default="", choices=configuration.LEVELS, help="how much is logged (info)")
    parser.add_argument("-D", "--debug", action="store_true", help="log all")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
