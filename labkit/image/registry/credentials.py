"""Who you are at which registry: Docker's own config.json, so that ``docker login`` and ``labkit login`` know the same.

    ~/.docker/config.json, or $DOCKER_CONFIG/config.json; mode 0600
    {
        "auths": {"127.0.0.1:5000": {"auth": "bWU6c2VjcmV0"}},        base64 of user:password: hidden, not encrypted
        "credHelpers": {"registry.lab": "pass"},                      or docker-credential-pass keeps it
        "credsStore": "secretservice"                                 or docker-credential-secretservice keeps all
    }

    >>> from labkit.image.registry import credentials
    >>> credentials.login("127.0.0.1:5000", "me", "secret", Settings())
    >>> credentials.find("127.0.0.1:5000")
    Credential(username='me')
    >>> credentials.logout("127.0.0.1:5000")
    True

Docker Hub is called https://index.docker.io/v1/ in there, for old times' sake. Whatever else stands in the file stays. Source: Docker's
CLI reference, "docker login"; github.com/docker/docker-credential-helpers. Shown in notebook 05.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import re
import subprocess
from urllib.parse import urlsplit

from labkit.errors import InvalidInput, KernelError, LabError, NotFound
from labkit.image.registry import endpoints
from labkit.image.registry.auth import Credential
from labkit.image.registry.client import Client
from labkit.image.registry.settings import Settings

HUB_KEY = "https://index.docker.io/v1/"
_HELPER_SECONDS = 60.0
_NO_PASSWORD = "<token>"  # the user name that helpers give with what is a token, no password


def path() -> str:
    """The file that holds them."""
    return os.path.join(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"), "config.json")


def find(registry: str, file: str | None = None) -> Credential | None:
    """What is known for a registry, called as in an image's name: ``docker.io``, ``127.0.0.1:5000``."""
    file = file or path()
    document = _read(file)
    key = _key(registry)
    if helper := _helper_of(document, key, file):
        return _ask(helper, key)
    auths = _object(document, "auths", file)
    entry = auths.get(key) or next((value for name, value in auths.items() if _host(name) == _host(key)), None)
    return _decoded(entry, registry, file) if isinstance(entry, dict) else None


def login(registry: str, username: str, password: str, settings: Settings, file: str | None = None) -> None:
    """Ask the registry whether it knows this user, then remember it. ``Denied`` if it does not."""
    file = file or path()
    credential = Credential(username, password)
    with Client(endpoints.registry(registry, settings), credential) as client:
        client.ping()
    document, key = _read(file), _key(registry)
    if helper := _helper_of(document, key, file):
        _run(helper, "store", json.dumps({"ServerURL": key, "Username": username, "Secret": password}))
        return
    encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
    _write(file, {**document, "auths": {**_object(document, "auths", file), key: {"auth": encoded}}})


def logout(registry: str, file: str | None = None) -> bool:
    """Forget it; whether there was anything to forget."""
    file = file or path()
    document, key = _read(file), _key(registry)
    if helper := _helper_of(document, key, file):
        known = _ask(helper, key) is not None
        _run(helper, "erase", key)
        return known
    auths = _object(document, "auths", file)
    kept = {name: value for name, value in auths.items() if _host(name) != _host(key)}
    if len(kept) == len(auths):
        return False
    _write(file, {**document, "auths": kept})
    return True


def _key(registry: str) -> str:
    return HUB_KEY if registry == endpoints.HUB else registry


def _host(key: str) -> str:
    """A key may be a URL, as old clients wrote it."""
    return urlsplit(key).netloc if "://" in key else key.partition("/")[0]


def _read(file: str) -> dict[str, object]:
    try:
        with open(file, encoding="utf-8") as opened:
            document = json.load(opened)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KernelError.of(error, "read", file) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{file}: is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{file}: must be an object, not {document!r:.60}")
    return document


def _write(file: str, document: dict[str, object]) -> None:
    """By rename, so that whoever reads it meanwhile sees the one or the other; a link stays a link."""
    target = os.path.realpath(file)
    new = f"{target}.{os.urandom(4).hex()}"
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        with open(new, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_EXCL, 0o600)) as opened:
            json.dump(document, opened, indent="\t", ensure_ascii=False)
        os.rename(new, target)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        raise KernelError.of(error, "write", file) from None


def _object(document: dict[str, object], key: str, file: str) -> dict[str, object]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{file}: {key}: must be an object, not {value!r:.60}")
    return value


def _decoded(entry: dict[str, object], registry: str, file: str) -> Credential | None:
    encoded, token = entry.get("auth") or "", entry.get("identitytoken") or ""
    try:
        if not isinstance(encoded, str) or not isinstance(token, str):
            raise ValueError
        username, colon, password = base64.b64decode(encoded, validate=True).decode().strip("\0").partition(":")
        if encoded and not colon:
            raise ValueError
    except (ValueError, binascii.Error):
        raise InvalidInput(f"{file}: auths: {registry}: auth must be base64 of user:password (labkit login {registry})") from None
    return Credential(username, password, token) if encoded or token else None


def _helper_of(document: dict[str, object], key: str, file: str) -> str | None:
    """The program that keeps the password instead of the file, if one does."""
    name = _object(document, "credHelpers", file).get(key.removeprefix("https://")) or document.get("credsStore")
    if not name:
        return None
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise InvalidInput(f"{file}: {name!r:.60} must be the last part of the name of a program docker-credential-…")
    return f"docker-credential-{name}"


def _ask(helper: str, key: str) -> Credential | None:
    try:
        answer = json.loads(_run(helper, "get", key))
        username, secret = answer["Username"], answer["Secret"]
        if not isinstance(username, str) or not isinstance(secret, str):
            raise ValueError
    except NotFound:
        return None
    except (ValueError, LookupError, TypeError):
        raise InvalidInput(f"{helper} get: its answer for {key} must be an object with Username and Secret") from None
    return Credential("", "", secret) if username == _NO_PASSWORD else Credential(username, secret)


def _run(helper: str, action: str, said: str) -> str:
    """What the helper answers; ``NotFound`` if it knows nothing."""
    try:
        done = subprocess.run([helper, action], input=said, capture_output=True, text=True, timeout=_HELPER_SECONDS)
    except FileNotFoundError:
        raise InvalidInput(f"{path()}: passwords are kept by {helper}, which is not in $PATH: install it, or take it out there") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{helper} {action}: {error}") from None
    if done.returncode:
        complaint = (done.stdout or done.stderr).strip()
        if "credentials not found" in complaint:
            raise NotFound(complaint)
        raise LabError(f"{helper} {action}: {complaint:.300}")
    return done.stdout
