"""Kinds of values that options take: how each is written, and what it is in the API's JSON.

    >>> BYTES.convert("64m", None, None), CPUS.convert(".5", None, None), DURATION.convert("1m30s", None, None)
    (67108864, 500000000, 90000000000)

A text that is no such value is refused as docker's ``pflag`` does: ``invalid argument "x" for "-m, --memory" flag: invalid size: 'x'``.
Source: ``opts`` of github.com/docker/cli; Go's ``time.ParseDuration``, ``strconv`` and ``math/big``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from fractions import Fraction
from ipaddress import ip_address

import click

from labkit.cli import human

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


class Kind(click.ParamType[object]):
    """A kind of value: what the help calls it, and how its text is read. ``ValueError`` of ``read`` says what is wrong."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self.read = read

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """The value that ``value`` stands for."""
        if not isinstance(value, str):
            return value  # a default
        try:
            return self.read(value)
        except ValueError as error:
            forms = ", ".join([form for form in param.opts if len(form) == 2] + [_long(param)]) if param else self.name
            raise click.BadParameter(f'invalid argument "{value}" for "{forms}" flag: {error}', ctx, param) from None


def _long(param: click.Parameter) -> str:
    """The name of an option that stands in the help, not one that it had long ago."""
    return f"--{str(param.name).replace('_', '-')}"


def _int(text: str) -> int:
    try:
        return int(text, 0 if not re.fullmatch(r"[-+]?0\d+", text) else 8)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _uint16(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) >= 1 << 16:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def size(text: str) -> int:
    """A number of bytes, such as ``64m``; 1k is 1024."""
    found = human.bytes_of(text) if re.fullmatch(r"\d+(\.\d+)*\s?([kKmMgGtTpP]?[iI]?[bB]?)", text) else None
    if found is None:
        raise ValueError(f"invalid size: '{text}'")
    return found


def _swap(text: str) -> int:
    return -1 if text == "-1" else size(text)


def _cpus(text: str) -> int:
    try:
        nano = Fraction(text) * 10**9
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if nano.denominator != 1:
        raise ValueError("value is too precise")
    return int(nano)


def _duration(text: str) -> int:
    """Nanoseconds. As in Go, a number needs a unit, but for zero."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", digits)
    if digits == "0":
        return 0
    if not digits or "".join(number + unit for number, unit in parts) != digits:
        why = "missing unit in" if re.fullmatch(r"\d+(\.\d*)?", digits) else "invalid"
        raise ValueError(f'time: {why} duration "{text}"')
    return sign * int(sum(Fraction(number) * _UNITS[unit] for number, unit in parts))


def fields(text: str) -> list[str]:
    """``a=b,"c=d,e"``: what lies between commas, as CSV has it."""
    try:
        return next(csv.reader([text]))
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _env(text: str) -> str:
    if text.startswith("="):
        raise ValueError(f"invalid environment variable: {text}")
    return text


def _filter(text: str) -> str:
    if "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    return text


def _ulimit(text: str) -> dict[str, object]:
    """``nofile=100:200``: soft and hard."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    soft, colon, hard = value.partition(":")
    try:
        low = -1 if soft == "unlimited" else int(soft)
        high = low if not colon else -1 if hard == "unlimited" else int(hard)
    except ValueError:
        raise ValueError(f"invalid ulimit type: {name}") from None
    if high != -1 and (low > high or low == -1):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    return {"Name": name, "Soft": low, "Hard": high}


def _weight_device(text: str) -> dict[str, object]:
    path, colon, weight = text.partition(":")
    if not colon or not path.startswith("/dev/"):
        raise ValueError(f"bad format: {text}" if not colon else f"bad format for device path: {text}")
    if not weight.isdigit() or (int(weight) and not 10 <= int(weight) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(weight)}


def _rate(read: Callable[[str], int]) -> Callable[[str], dict[str, object]]:
    def throttle(text: str) -> dict[str, object]:
        path, colon, rate = text.partition(":")
        if not colon or not path.startswith("/dev/"):
            raise ValueError(f"bad format: {text}" if not colon else f"bad format for device path: {text}")
        try:
            return {"Path": path, "Rate": read(rate)}
        except ValueError:
            raise ValueError(f"invalid rate for device: {text}") from None

    return throttle


def _attach(text: str) -> str:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def _host(text: str) -> str:
    """``name:address``, or ``name=address``, which an address of IPv6 reads better with."""
    name, sign, address = text.partition("=") if "=" in text else text.partition(":")
    if not sign or not name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address != "host-gateway":
        try:
            ip_address(address.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{address}"') from None
    return f"{name}:{address}"


def _ip(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {text}") from None


def _domain(text: str) -> str:
    if text.strip() != "." and not re.fullmatch(r"[A-Za-z0-9_]([-\w]*\w)?(\.[A-Za-z0-9_]([-\w]*\w)?)*\.?", text.strip(" .") or "-"):
        raise ValueError(f"{text} is not a valid domain")
    if text.endswith(".."):
        raise ValueError(f"{text} is not a valid domain")
    return text.strip()


def _label(text: str) -> str:
    if text.startswith("="):
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def _link(text: str) -> str:
    name, colon, alias = text.partition(":")
    if not text or ":" in alias:
        raise ValueError(f"bad format for links: {text}" if text else "empty string specified for links")
    return f"{name}:{alias if colon else name}"


def _sysctl(text: str) -> str:
    """Those that a namespace has of its own."""
    shared = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
              "kernel.shm_rmid_forced")  # fmt: skip
    name, equals, _ = text.partition("=")
    if not equals or not (name in shared or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return text


def _cgroup_rule(text: str) -> str:
    if not re.fullmatch(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}", text):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def _gpus(text: str) -> dict[str, object]:
    count = text.removeprefix("count=")
    if count != "all" and not re.fullmatch(r"-?\d+", count):
        raise ValueError(f'invalid count ({count}): value must be either "all" or an integer: invalid syntax')
    return {"Driver": "", "Count": -1 if count == "all" else int(count), "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}


STRING = Kind("string", str)
LIST = Kind("list", str)
INT = Kind("int", _int)
UINT16 = Kind("uint16", _uint16)
BYTES = Kind("bytes", size)
SWAP = Kind("bytes", _swap)
CPUS = Kind("decimal", _cpus)
DURATION = Kind("duration", _duration)
ENV = Kind("list", _env)
FILTER = Kind("filter", _filter)
ULIMIT = Kind("ulimit", _ulimit)
WEIGHT_DEVICE = Kind("list", _weight_device)
BYTE_RATE = Kind("list", _rate(size))
ATTACH = Kind("list", _attach)
ADD_HOST = Kind("list", _host)
IP_LIST = Kind("list", _ip)
DOMAINS = Kind("list", _domain)
LABEL = Kind("list", _label)
LINK = Kind("list", _link)
MAP = Kind("map", str)
SYSCTL = Kind("map", _sysctl)
CGROUP_RULE = Kind("list", _cgroup_rule)
GPUS = Kind("gpu-request", _gpus)
OPERATION_RATE = Kind("list", _rate(int))
