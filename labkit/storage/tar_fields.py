"""The fields of tar headers and of PAX records, read; ``InvalidInput`` for what is none.

    >>> from labkit.storage import tar_fields
    >>> tar_fields.number(b"0000644\0", "mode")
    420
    >>> tar_fields.pax_records(b"12 path=a/b\n")[0]
    {b'path': b'a/b'}

Source: POSIX.1-2017 ``pax``, "ustar Interchange Format", "pax Header Block"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from functools import lru_cache

from labkit.errors import InvalidInput


def text(header: bytes, at: int, length: int) -> bytes:
    """Bytes up to the first zero."""
    return header[at : at + length].split(b"\0", 1)[0]


@lru_cache(maxsize=4096)  # most entries of a layer have the same modes, owners and times
def number(field: bytes, name: str) -> int:
    """Octal digits, or where these do not suffice, as GNU tar has it, a binary number behind a byte of 0x80 or 0xff."""
    if field[0] in (0x80, 0xFF):
        found = int.from_bytes(field[1:], "big")
        found = found - (1 << 8 * (len(field) - 1)) if field[0] == 0xFF else found
    else:
        digits = field.split(b"\0", 1)[0].strip(b" ")
        if digits.strip(b"01234567"):
            raise damaged(f"the field {name} of a header is {digits!r}")
        found = int(digits, 8) if digits else 0
    if (found < 0 and name != "mtime") or found >= 1 << 63:
        raise damaged(f"the field {name} of a header is {found}")
    return found


def pax_records(data: bytes) -> tuple[dict[bytes, bytes], list[tuple[int, int]]]:
    """``LENGTH KEY=VALUE\\n`` again and again; a value may hold any byte. In GNU's first form of sparse files two keys come many times."""
    found: dict[bytes, bytes] = {}
    offsets: list[int] = []
    lengths: list[int] = []
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 8)
        length = integer(data[at:space], "length of a record") if space > at else 0
        record, end = data[space + 1 : at + length], at + length
        key, equals, value = record.partition(b"=")
        if length < 5 or end > len(data) or not record.endswith(b"\n") or not equals or not key:
            raise damaged("a PAX record is no LENGTH KEY=VALUE")
        value = value[:-1]
        if key == b"GNU.sparse.offset":
            offsets.append(integer(value, "GNU.sparse.offset"))
        elif key == b"GNU.sparse.numbytes":
            lengths.append(integer(value, "GNU.sparse.numbytes"))
        if value or key.startswith(b"SCHILY.xattr."):
            found[key] = value
        else:
            found.pop(key, None)  # an empty value takes it back
        at = end
    if len(offsets) != len(lengths):
        raise damaged("the map of a sparse file has an odd number of numbers")
    return found, list(zip(offsets, lengths, strict=True))


def integer(digits: bytes, name: str) -> int:
    """A decimal number without a sign."""
    if not digits.isdigit() or len(digits) > 19:
        raise damaged(f"{name} is {digits[:40]!r}")
    return int(digits)


def decimal(pax: dict[bytes, bytes], key: bytes, default: int) -> int:
    """The number that a record says, if there is one."""
    return integer(pax[key], key.decode()) if key in pax else default


def nanoseconds(value: bytes) -> int:
    """A time in seconds, with a fraction of up to nine digits."""
    whole, _, fraction = value.partition(b".")
    sign = -1 if whole.startswith(b"-") else 1
    rest = integer((fraction + b"000000000")[:9], "mtime")
    return sign * (integer(whole.lstrip(b"-") or b"0", "mtime") * 10**9 + rest)


def damaged(why: str) -> InvalidInput:
    """The error to raise."""
    return InvalidInput(f"layer: its tar archive is damaged: {why}")
