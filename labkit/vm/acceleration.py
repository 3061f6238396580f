"""Whether the processor itself runs a virtual machine (KVM), or QEMU imitates one (TCG): found out by trying, once.

    >>> from labkit.vm import acceleration
    >>> acceleration.recall()
    Answer(kvm=False, reason='QEMU ended: failed to set MSR 0x10a to 0x69', …)

    /dev/kvm is missing ──────────────────────────────────────────▶ TCG
    /dev/kvm is there ──▶ boot a machine with it ──in time──▶ KVM
                             └─ QEMU fails, or the kernel hangs ──▶ TCG, and the reason is kept

That the device is there says little: inside of a virtual machine it is often one that cannot boot a stock kernel. The answer is kept in
a file, with what it depends on, and asked for again when one of these has changed: this machine's kernel, QEMU, the guest's kernel.
Source: the kernel's ``Documentation/virt/kvm/api.rst``. Notebook 08.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from labkit import codec
from labkit.errors import InvalidInput, LabError
from labkit.records import record

DEVICE = "/dev/kvm"
WORDS = {True: "KVM", False: "emulation (TCG)"}


@record
class Answer:
    """Whether KVM boots a kernel here; ``reason`` is why it does not. The rest is what the answer holds for."""

    kvm: bool
    reason: str = ""
    host: str = ""
    qemu: str = ""
    guest: str = ""

    def __str__(self) -> str:
        return f"{WORDS[self.kvm]}{f': {self.reason}' if self.reason else ''}"


def recall(root: str) -> Answer | None:
    """What was found out earlier, whether it still holds or not."""
    try:
        with open(f"{root}/acceleration.json") as file:
            return codec.decode(Answer, json.load(file))
    except (OSError, ValueError, InvalidInput):
        return None


def find(root: str, qemu: str, guest: str, probe: Callable[[], object]) -> Answer:
    """The answer for this machine; ``probe`` boots one with KVM and raises ``LabError`` if that fails. Asked once."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return Answer(False, f"there is no {DEVICE}" if not os.path.exists(DEVICE) else f"{DEVICE} is not ours to open: become root")
    program = os.stat(qemu)
    basis = (os.uname().release, f"{qemu} {program.st_size} {int(program.st_mtime)}", guest)
    known = recall(root)
    if known is not None and (known.host, known.qemu, known.guest) == basis:
        return known
    try:
        probe()
        answer = Answer(True, "", *basis)
    except LabError as error:
        answer = Answer(False, f"{DEVICE} is there, but cannot boot a stock kernel: {_cause(str(error))}", *basis)
    _remember(root, answer)
    return answer


def _cause(message: str) -> str:
    """The line that says most: QEMU's own error, or else the first, which says what did not happen."""
    lines = [line.strip() for line in message.splitlines()]
    return next((line.partition("error: ")[2] for line in lines if "error: " in line), lines[0].partition("; the last")[0])


def _remember(root: str, answer: Answer) -> None:
    os.makedirs(root, exist_ok=True)
    new = f"{root}/acceleration.json.{os.getpid()}"
    with open(new, "w") as file:
        json.dump(codec.encode(answer), file, indent=2)
    os.rename(new, f"{root}/acceleration.json")
