"""Steps that run other people's programs at the moments that OCI runtime-spec 1.1 names (config.md, POSIX-platform Hooks)."""

from __future__ import annotations

import json
import os
import subprocess  # here, not later: inside the container Python's library is out of sight
from typing import TYPE_CHECKING, ClassVar

from labkit.errors import LabError
from labkit.records import record
from labkit.runtime.context import Context
from labkit.runtime.plans import Side, Step

if TYPE_CHECKING:
    from labkit.runtime.spec import Hook


def run_hook(name: str, hook: Hook, state: dict[str, object]) -> None:
    """Run one hook with the container's state on its standard input. Raises ``LabError`` with its stderr if it fails."""
    environment = dict(entry.split("=", 1) for entry in hook.env if "=" in entry)
    try:
        done = subprocess.run(
            hook.args or (hook.path,), executable=hook.path, env=environment, input=json.dumps(state).encode(),
            capture_output=True, timeout=hook.timeout, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LabError(f"hook {name} {hook.path}: not done within {hook.timeout} s") from None
    except OSError as error:
        raise LabError(f"hook {name} {hook.path}: {os.strerror(error.errno or 0)}") from None
    if done.returncode:
        raise LabError(f"hook {name} {hook.path}: exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()}")


@record
class RunHooks(Step):
    """The hooks of one moment, in order, in the container's namespaces."""

    man: ClassVar[str] = "OCI config.md"
    moment: str
    status: str
    hooks: tuple[Hook, ...]

    def __str__(self) -> str:
        return f"run {len(self.hooks)} {self.moment} hook" + ("s" if len(self.hooks) > 1 else "")

    @property
    def why(self) -> str:
        return "programs of whoever wrote the bundle, told the container's state on standard input"

    def apply(self, context: Context) -> None:
        for hook in self.hooks:
            run_hook(self.moment, hook, context.state(self.status))

    def shell(self) -> str:
        programs = (" ".join(hook.args or (hook.path,)) for hook in self.hooks)
        return "\n".join(f"# hook, with the container's state as JSON on standard input: {program}" for program in programs)


@record
class RunHostHooks(RunHooks):
    """The same on the host, while init waits."""

    side: ClassVar[Side] = "host"
