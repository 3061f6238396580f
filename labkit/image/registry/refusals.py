"""What a registry's refusal means: which error, in which words, and whether it may pass.

    404 {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}  ──▶  NotFound("…: manifest unknown: manifest unknown")
    429 Retry-After: 7                                                             ──▶  Passing(…, after=7)

    >>> from labkit.image.registry import refusals
    >>> raise refusals.of(response, body, "127.0.0.1:5000")

Source: OCI distribution-spec 1.1, "Error Codes"; RFC 9110 sections 10.2.3 (Retry-After) and 15.5.
"""

from __future__ import annotations

import email.utils
import json
import time

import httpx

from labkit.errors import Denied, InvalidInput, LabError, NotFound, Unreachable

_INSECURE = "list it under insecure-registries in /etc/labkit/daemon.json"
_TLS = {  # what OpenSSL says, and what there is to do
    "wrong version number": f"server gave HTTP response to HTTPS client (if it shall, {_INSECURE})",
    "record layer failure": f"server gave HTTP response to HTTPS client (if it shall, {_INSECURE})",
    "certificate verify failed": f"{{}} (put the certificate of its authority into /etc/docker/certs.d/HOST/ca.crt, or {_INSECURE})",
}
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Passing(Unreachable):
    """A failure that may pass; ``after`` is how many seconds the registry wants to be left alone."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


def of(response: httpx.Response, body: bytes, who: str) -> LabError:
    """The error that an answer without a 2xx status stands for, with ``who`` answered in front."""
    message = f"{who}: {complaint(response, body)}"
    status = response.status_code
    if status in _PASSING:
        return Passing(message, retry_after(response.headers.get("retry-after", "")))
    if status in (401, 403):
        return Denied(message)
    if status == 404:
        return NotFound(message)
    return InvalidInput(message) if 400 <= status < 500 else Unreachable(message)


def complaint(response: httpx.Response, body: bytes) -> str:
    """``manifest unknown: manifest unknown``, as Docker words a registry's error; else the status."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    try:
        error = json.loads(body)["errors"][0]
        code, message = str(error["code"]).lower().replace("_", " "), str(error.get("message", ""))
        return _printable(f"{code}: {message}" if message else code)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return f"{response.request.method} {response.url.path} was answered with {status}"


def retry_after(header: str) -> float | None:
    """Seconds, from either form that RFC 9110 allows."""
    if header.isascii() and header.isdecimal():
        return float(header[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def cause(error: Exception) -> str:
    """Why there was no answer: httpx says ``[Errno 111] Connection refused``, or nothing at all for a time-out."""
    if isinstance(error, httpx.ConnectTimeout):
        return "connecting took too long"
    if isinstance(error, httpx.TimeoutException):
        return "it has fallen silent"
    said = _printable(str(error).partition("] ")[2] or str(error))
    said = said.partition(" (_ssl.c")[0]
    for part, meaning in _TLS.items():
        if part in said.lower():
            return meaning.format(said)
    return said[:1].lower() + said[1:] if said[:2].istitle() else said


def _printable(text: str) -> str:
    """At most 500 characters of what a stranger says, none of which moves the cursor of a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text[:500])
