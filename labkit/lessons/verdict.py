"""What a check says: ✔ and what it saw, or ✘ with the symptom and the next thing to try.

    >>> passed("/proc/4711/ns/uts differs from yours.")
    ✔ /proc/4711/ns/uts differs from yours.
    >>> failed("Both processes share uts:[4026531838].", "`man 7 uts_namespaces` says what that kind holds.")
    ✘ Both processes share uts:[4026531838].
      Next: `man 7 uts_namespaces` says what that kind holds.

In a notebook a verdict shows as a card; the sign says what its colour says.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass


@dataclass(frozen=True, repr=False)
class Verdict:
    """``passed``, what was ``seen`` in the kernel, and what to try ``next`` (empty where all is well)."""

    passed: bool
    seen: str
    next: str = ""

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        lines = f"{self._sign} {self.seen}"
        return f"{lines}\n  Next: {self.next}" if self.next else lines

    @property
    def _sign(self) -> str:
        return "✔" if self.passed else "✘"

    def _repr_html_(self) -> str:
        colour, word = ("#2e7d32", "done") if self.passed else ("#b3541e", "not yet")
        then = f"<div style='margin-top:.3em'><b>Next:</b> {_inline(self.next)}</div>" if self.next else ""
        return (
            f"<div style='border-left:4px solid {colour};padding:.5em .9em;max-width:54em;line-height:1.5;"
            f"background:var(--jp-layout-color2,#f5f5f5)'><b style='color:{colour}' title='{word}'>{self._sign}</b> "
            f"{_inline(self.seen)}{then}</div>"
        )


def passed(seen: str) -> Verdict:
    """The exercise is done; ``seen`` names the evidence."""
    return Verdict(True, seen)


def failed(seen: str, next: str) -> Verdict:
    """Not done: ``seen`` is the symptom, ``next`` the command or the page to try."""
    return Verdict(False, seen, next)


def _inline(text: str) -> str:
    """Escape for HTML; what stands between backticks becomes code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
