"""nftables: tables of rules about packets, handed to the kernel in one transaction, as ``nft -j -f -`` does.

    >>> from labkit.linux import nftables
    >>> nftables.run([{"add": {"table": {"family": "inet", "name": "labkit"}}}])
    >>> nftables.listed("chain", "inet", "labkit", "published")
    [{'chain': {…}}, {'rule': {'handle': 7, 'comment': 'web', 'expr': […]}}]

A transaction happens as a whole or not at all. The words are nftables' own JSON: ``man 5 libnftables-json``, ``man 8 nft``. They go to
the library that ``nft`` itself is made of, which takes a tenth of a millisecond, or to the program where there is no such library.
Shown in notebook 07-networks-and-ports.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence

from labkit.errors import LabError, NotFound, Unsupported

Command = Mapping[str, object]

_LIBRARY = "libnftables.so.1"
_HANDLES, _JSON = 1 << 3, 1 << 4  # nft -a, nft -j
_lock = threading.Lock()  # the library keeps some things for all of the process
_library: ctypes.CDLL | None = None


def run(commands: Sequence[Command]) -> None:
    """Carry out all commands, or none. ``NotFound`` if one of them names what is not there, ``LabError`` with nft's own words."""
    _nft(json.dumps({"nftables": list(commands)}), "-f -")


def listed(*what: str) -> list[dict[str, object]]:
    """What ``nft list …`` says, with the handles by which rules are deleted; ``NotFound``."""
    words = " ".join(("list", *what))
    found = json.loads(_nft(words, words))["nftables"]
    return [each for each in found if "metainfo" not in each]


def _nft(given: str, words: str) -> str:
    try:
        code, output, said = _by_library(given)
    except OSError:
        code, output, said = _by_program(given, words)
    if code == 0:
        return output
    said = said.strip() or f"exit code {code}"
    if "No such file or directory" in said:
        raise NotFound(f"nft {words}: {said}")
    if "Operation not supported" in said or "Protocol not supported" in said:
        raise Unsupported(f"nft {words}: {said} (the kernel was built without a part of nftables)")
    raise LabError(f"nft {words}: {said}")


def _by_library(given: str) -> tuple[int, str, str]:
    """Exit code, output and complaint. ``OSError`` if there is no such library."""
    nft = _loaded()
    with _lock:
        context = ctypes.c_void_p(nft.nft_ctx_new(0))
        nft.nft_ctx_output_set_flags(context, _HANDLES | _JSON)
        nft.nft_ctx_buffer_output(context)
        nft.nft_ctx_buffer_error(context)
        code = nft.nft_run_cmd_from_buffer(context, given.encode())
        output, said = nft.nft_ctx_get_output_buffer(context).decode(), nft.nft_ctx_get_error_buffer(context).decode()
    # It is done; but to close the socket takes ten milliseconds, until no processor looks at what was deleted any more. Who has threads
    # leaves that to one of them.
    if threading.active_count() > 1:
        threading.Thread(target=nft.nft_ctx_free, args=(context,), name="labkit-nft", daemon=True).start()
    else:
        nft.nft_ctx_free(context)
    return code, output, said


def _loaded() -> ctypes.CDLL:
    global _library
    if _library is None:
        found = ctypes.CDLL(_LIBRARY)
        found.nft_ctx_new.restype = ctypes.c_void_p
        found.nft_ctx_get_output_buffer.restype = found.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        _library = found
    return _library


def _by_program(given: str, words: str) -> tuple[int, str, str]:
    try:
        done = subprocess.run(["nft", "-j", "-a", *words.split()], input=given, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise Unsupported(
            "nft: there is no such program here, and networks of containers need it"
            " (`apt install nftables`; a container with --network none or host does without)"
        ) from None
    except subprocess.TimeoutExpired:
        raise LabError("nft: no answer in 60 seconds") from None
    return done.returncode, done.stdout, done.stderr


def available() -> bool:
    """Whether the program is there."""
    return shutil.which("nft") is not None
