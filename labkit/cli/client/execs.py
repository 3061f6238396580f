"""``labkit exec``: one more program in a container that runs.

    labkit exec web ls /etc/nginx            labkit exec -it web sh            labkit exec -d web touch /tmp/here

    exec (what) ──▶ start: streams … ──▶ the exit code

Source: ``docker exec --help``; engine-api, 2. Shown in notebook 06.
"""

from __future__ import annotations

import os

from labkit import codec
from labkit.cli import exits
from labkit.cli.client import answers, api, complete
from labkit.cli.client.body import environment
from labkit.cli.client.foreground import Foreground
from labkit.cli.client.grammar import Failed, Program, ask, option
from labkit.cli.client.terminal import DetachKeys
from labkit.cli.client.values import ENV, LIST
from labkit.cli.grammar import switch


@ask("exec", "CONTAINER COMMAND [ARG...]", at_least=2, kind=Program, complete=complete.one_container("running"))
@switch("-d", "--detach", help="Detached mode: run command in the background")
@option("--detach-keys", help="Override the key sequence for detaching a container")
@option("-e", "--env", kind=ENV, many=True, help="Set environment variables")
@option("--env-file", kind=LIST, many=True, help="Read in a file of environment variables")
@switch("-i", "--interactive", help="Keep STDIN open even if not attached")
@switch("--privileged", help="Give extended privileges to the command")
@switch("-t", "--tty", help="Allocate a pseudo-TTY")
@option("-u", "--user", help='Username or UID (format: "<name|uid>[:<group|gid>]")')
@option("-w", "--workdir", help="Working directory inside the container")
def execute(
    words: tuple[str, ...],
    detach: bool,
    detach_keys: str,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    interactive: bool,
    privileged: bool,
    tty: bool,
    user: str,
    workdir: str,
) -> int:
    """Execute a command in a running container."""
    container, *command = words
    keys = DetachKeys.parse(detach_keys)
    wanted = {
        "User": user, "Privileged": privileged, "Tty": tty, "AttachStdin": interactive and not detach, "AttachStderr": not detach,
        "AttachStdout": not detach, "Detach": detach, "DetachKeys": detach_keys, "Env": environment(env_file, env) or None,
        "WorkingDir": workdir, "Cmd": command,
    }  # fmt: skip
    with api.connect() as daemon:
        daemon.get(f"/containers/{container}/json")  # it is there, or that is what is said
        if tty and interactive and not detach and not os.isatty(0):
            raise Failed("the input device is not a TTY")
        id = codec.decode(answers.Created, daemon.post(f"/containers/{container}/exec", wanted)).Id
        how = {"Detach": detach, "Tty": tty}
        if detach:
            daemon.post(f"/exec/{id}/start", how)
            return exits.DONE
        resize = (lambda rows, columns: daemon.post(f"/exec/{id}/resize", h=rows, w=columns)) if tty else None
        seen = Foreground(daemon.hijack(f"/exec/{id}/start", how), tty=tty, stdin=interactive, keys=keys, resize=resize)
        seen.run()
        if seen.detached:
            raise Failed("read escape sequence")
        return daemon.read(answers.ExecState, f"/exec/{id}/json").ExitCode or exits.DONE
