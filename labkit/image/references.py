"""Names of images, as Docker reads them: what is left out is filled in, what cannot be a name is refused in Docker's words.

    nginx                              127.0.0.1:5000/me/web:v1@sha256:9834…
    └─ path: library/nginx             └─ domain ───┘ └path┘ tag └─ digest
       domain: docker.io

    >>> from labkit.image import references
    >>> nginx = references.parse("nginx")
    >>> str(nginx.tagged), nginx.tagged.familiar
    ('docker.io/library/nginx:latest', 'nginx:latest')

The first component is a domain if it has a dot or a colon, is ``localhost`` or is not in lower case; else the name is of Docker Hub,
where what has no slash is of ``library/``. Source: the grammar of github.com/distribution/reference. Shown in notebook 05.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from labkit.errors import InvalidInput

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
MAX_PATH = 255  # characters of a repository's path, the domain not counted

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[A-Fa-f0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?", re.ASCII
)
_HEX_LENGTH = {"sha256": 64, "sha512": 128}


@dataclass(frozen=True)
class Reference:
    """A name that ``parse`` has read: the repository, and which of its images, by tag, by digest, by both or not said yet."""

    domain: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """The repository with its domain: ``docker.io/library/nginx``."""
        return f"{self.domain}/{self.path}"

    @property
    def repository(self) -> str:
        """The repository as its registry calls it: ``library/nginx``."""
        return self.path

    def __str__(self) -> str:
        """All of it, nothing left out: ``docker.io/library/nginx:latest``."""
        return self.name + self._suffix

    @property
    def familiar(self) -> str:
        """As Docker shows it: ``nginx:latest``. ``parse`` reads it back as this reference."""
        return self.familiar_name + self._suffix

    @property
    def familiar_name(self) -> str:
        """The repository as Docker shows it: ``nginx``, ``me/web``, ``127.0.0.1:5000/me/web``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        official, _, rest = self.path.partition("/")
        short = rest if official == "library" and "/" not in rest else self.path
        # docker.io/my.org/app is not called my.org/app: that would be the image "app" of the registry my.org.
        return short if _split(short) == (self.domain, self.path) and not _is_identifier(short) else self.name

    @property
    def tagged(self) -> Reference:
        """The same with ``:latest`` if it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    @property
    def bare(self) -> Reference:
        """The repository alone, without tag and digest."""
        return Reference(self.domain, self.path)

    def with_tag(self, tag: str) -> Reference:
        """The same repository by this tag alone; ``InvalidInput`` if it cannot be one."""
        if not re.fullmatch(_TAG, tag):
            raise InvalidInput(f"invalid tag format: {tag!r} must be 1 to 128 letters, digits and _.- and not begin with . or -")
        return Reference(self.domain, self.path, tag)

    def with_digest(self, digest: str) -> Reference:
        """The same repository by this digest alone; ``InvalidInput`` if it cannot be one."""
        return Reference(self.domain, self.path, None, _checked_digest(digest, digest))

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The reference that a user means by ``text``; ``InvalidInput`` in Docker's words if it is none."""
    if _is_identifier(text):
        raise InvalidInput(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split(text)
    path = rest.partition(":")[0]
    if path != path.lower():
        raise InvalidInput(f"invalid reference format: repository name ({path}) must be lowercase")
    found = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if not found:
        raise InvalidInput(f"invalid reference format: {text!r} is not [DOMAIN[:PORT]/]NAME[:TAG][@DIGEST]")
    if len(found["path"]) > MAX_PATH:
        raise InvalidInput(f"invalid reference format: repository name ({found['path'][:20]}…) must not be more than {MAX_PATH} characters")
    digest = _checked_digest(found["digest"], text) if found["digest"] else None
    return Reference(found["domain"], found["path"], found["tag"], digest)


def _split(text: str) -> tuple[str, str]:
    """Domain and rest. Not a word of it is checked yet."""
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, f"library/{text}"
    if first == "index.docker.io":  # what Docker Hub was called once
        first = DEFAULT_DOMAIN
    elif not (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        return DEFAULT_DOMAIN, text
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _is_identifier(text: str) -> bool:
    """Whether it is an image's ID in full: nothing else may be called so."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def _checked_digest(digest: str, text: str) -> str:
    algorithm, _, encoded = digest.partition(":")
    length = _HEX_LENGTH.get(algorithm)
    if length is None:
        raise InvalidInput(f"invalid reference format: {text}: unsupported digest algorithm: {algorithm!r} is not sha256 or sha512")
    if len(encoded) != length:
        raise InvalidInput(f"invalid reference format: {text}: invalid checksum digest length: {algorithm} has {length} digits")
    if not re.fullmatch("[0-9a-f]+", encoded):
        raise InvalidInput(f"invalid reference format: {text}: invalid checksum digest format: must be hexadecimal, in lower case")
    return digest
