"""HTTP status codes: the only file that has them.

    NotFound 404    Conflict 409    InvalidInput 400    Denied 403    Unsupported 501    everything else 500

Source: RFC 9110; Docker Engine API v1.47.
"""

from __future__ import annotations

from labkit.daemon.failures import Malformed
from labkit.errors import Conflict, Denied, InvalidInput, LabError, NotFound, Unsupported

SWITCHING_PROTOCOLS = 101
OK = 200
CREATED = 201
NO_CONTENT = 204
NOT_MODIFIED = 304
BAD_REQUEST = 400
NOT_FOUND = 404
TOO_LARGE = 431
INTERNAL_SERVER_ERROR = 500

REASONS = {
    SWITCHING_PROTOCOLS: b"UPGRADED",
    OK: b"OK",
    CREATED: b"Created",
    NO_CONTENT: b"No Content",
    NOT_MODIFIED: b"Not Modified",
    BAD_REQUEST: b"Bad Request",
    403: b"Forbidden",
    NOT_FOUND: b"Not Found",
    409: b"Conflict",
    TOO_LARGE: b"Request Header Fields Too Large",
    INTERNAL_SERVER_ERROR: b"Internal Server Error",
    501: b"Not Implemented",
}

_KINDS: tuple[tuple[type[LabError], int], ...] = (
    (NotFound, NOT_FOUND),
    (Conflict, 409),
    (InvalidInput, BAD_REQUEST),
    (Malformed, BAD_REQUEST),
    (Denied, 403),
    (Unsupported, 501),
)


def of(error: LabError) -> int:
    """The status code that stands for an error."""
    return next((status for kind, status in _KINDS if isinstance(error, kind)), INTERNAL_SERVER_ERROR)
