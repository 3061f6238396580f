"""``labkit cp``: files between this machine and a container, running or not.

    labkit cp web:/etc/nginx .                       labkit cp index.html web:/usr/share/nginx/html
    labkit cp web:/var/log - | tar t                 tar -c . | labkit cp - web:/srv

    source            destination                       comes out as
    file or dir       a directory that is there         destination/name of source
    dir/.             a directory that is there         its contents in destination
    file              a file, or nothing yet            destination
    dir               nothing yet                       destination

Files travel as a tar archive, whose first name is the source's; here it gets the destination's. ``archives_local.py`` writes and reads
files on this side. Source: docker-cp(1); ``archive/copy.go`` of github.com/moby/go-archive. Shown in notebook 06.
"""

from __future__ import annotations

import posixpath
import sys

from labkit.cli import exits, human
from labkit.cli.client import answers, api, complete, local_files
from labkit.cli.client.api import Api
from labkit.cli.client.grammar import Failed, ask, say
from labkit.cli.client.local_files import Place
from labkit.cli.grammar import switch
from labkit.errors import NotFound


@ask("cp", "CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH", at_least=2, at_most=2, complete=complete.containers())
@switch("-a", "--archive", help="Archive mode (copy all uid/gid information)")
@switch("-L", "--follow-link", help="Always follow symbol link in SRC_PATH")
@switch("-q", "--quiet", help="Suppress progress output during copy")
def cp(words: tuple[str, ...], archive: bool, follow_link: bool, quiet: bool) -> int:
    """Copy files/folders between a container and the local filesystem.

    Use '-' as the source to read a tar archive from stdin and extract it to a directory destination in a container. Use '-' as the
    destination to stream a tar archive of a container source to stdout.
    """
    source, target = _split(words[0]), _split(words[1])
    if source[0] and target[0]:
        raise Failed("copying between containers is not supported")
    if not source[0] and not target[0]:
        raise Failed("must specify at least one container source")
    with api.connect() as daemon:
        if source[0]:
            size = _out(daemon, *source, target[1], follow_link, archive)
        else:
            size = _in(daemon, source[1], *target, follow_link, archive)
    if sys.stderr.isatty() and not quiet and "-" not in words:
        say(f"Successfully copied {human.size(size)} to {words[1]}")
    return exits.DONE


def _split(word: str) -> tuple[str, str]:
    """Container and path. What begins with a dot or a slash is a path here, whatever colons are in it."""
    container, colon, path = word.partition(":")
    return (container, path) if colon and not word.startswith((".", "/")) and container else ("", word)


def _out(daemon: Api, container: str, path: str, target: str, follow: bool, archive: bool) -> int:
    address = f"/containers/{container}/archive"
    there = Place("-") if target == "-" else local_files.place(target)
    if follow and (link := _stat(daemon, container, path)) and link.linkTarget:
        linked = link.linkTarget
        path = linked if linked.startswith("/") else posixpath.join(posixpath.dirname(path), linked)
    with daemon.answer("GET", address, path=path) as answer:
        chunks = answer.iter_content(chunk_size=None)
        if target == "-":
            if sys.stdout.isatty():
                raise Failed("cowardly refusing to write a tar archive to a terminal: redirect it")
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return 0
        about = answers.PathStat.of(answer.headers)
        place = _placed(there, about.is_directory, _base(path))
        return local_files.extract(chunks, place, keep_owner=archive)


def _in(daemon: Api, source: str, container: str, path: str, follow: bool, archive: bool) -> int:
    address = f"/containers/{container}/archive"
    directory = source != "-" and local_files.is_directory(source, follow)
    link = _stat(daemon, container, path)
    if link and link.linkTarget:
        linked = link.linkTarget
        path = linked if linked.startswith("/") else posixpath.join(posixpath.dirname(path.rstrip("/")), linked)
        link = _stat(daemon, container, path)
    there = Place(path, link is not None, link is not None and link.is_directory)
    counted = [0]
    if source == "-":
        if not there.is_directory:
            raise Failed(f'destination "{container}:{path}" must be a directory')
        place, chunks = Place(path, True, True), iter(lambda: sys.stdin.buffer.read(1 << 16), b"")
    else:
        place = _placed(there, directory, _base(source))
        chunks = local_files.archive(source, place.name, follow, counted)
    owner = True if archive else None
    daemon.put(address, chunks, path=place.directory, noOverwriteDirNonDir=True, copyUIDGID=owner)
    return counted[0]


def _placed(target: Place, directory: bool, name: str) -> Place:
    """The directory to copy into, and what the source is called there ("." is: its contents)."""
    if target.exists and target.is_directory:
        return Place(target.path, True, True, target.path, name)
    if directory and target.exists:
        raise Failed("cannot copy directory")
    if not target.exists and not directory and target.path.endswith(("/", "/.")):
        raise Failed("no such directory")
    bare = target.path.rstrip("/")
    return Place(target.path, target.exists, False, posixpath.dirname(bare) or ".", posixpath.basename(bare))


def _base(path: str) -> str:
    """The last name of a path; "." for what ends with a dot, which means the contents."""
    return "." if path in (".", "/") or path.endswith("/.") else posixpath.basename(path.rstrip("/")) or "."


def _stat(daemon: Api, container: str, path: str) -> answers.PathStat | None:
    """What is there; None if nothing is."""
    try:
        return answers.PathStat.of(daemon.head(f"/containers/{container}/archive", path=path))
    except NotFound:
        return None
