"""What a build's context is: .dockerignore, patterns, the Dockerfile, and the files that may be copied."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.engine.build import context, ignore, patterns
from labkit.engine.build.sources import Source
from labkit.errors import InvalidInput, NotFound


@pytest.mark.parametrize(
    ("rules", "ignored", "kept"),
    [
        ("*.log", ["a.log"], ["src/a.log", "a.logs"]),
        ("**/*.log", ["a.log", "src/deep/a.log"], ["a.txt"]),
        ("/docs/", ["docs", "docs/a/b"], ["src/docs"]),
        ("./a//b/../c", ["a/c", "a/c/d"], ["a/b"]),
        ("src/*/tmp?", ["src/a/tmp1", "src/a/tmp1/x"], ["src/tmp1", "src/a/tmp"]),
        ("*\n!a.txt", ["b", "dir/a.txt"], ["a.txt"]),
        ("*\n!dir/keep\ndir/keep/not", ["dir/x", "dir/keep/not"], ["dir/keep", "dir/keep/y"]),
        ("# a\n\n  b  \n", ["b"], ["# a", "a"]),
        ("node_modules/**", ["node_modules/x"], ["node_modules"]),
        ("a[0-9]", ["a7"], ["ab"]),
        ("../x", [], ["x"]),
        ("", [], ["a"]),
    ],
)
def test_the_last_rule_that_matches_a_path_or_what_it_is_in_decides(rules: str, ignored: list[str], kept: list[str]) -> None:
    parsed = ignore.parse(rules)
    assert [path for path in (*ignored, *kept) if parsed.ignores(path)] == ignored


@pytest.mark.parametrize("line", ["!", "! ", "a[b", "a\\"])
def test_a_rule_that_is_none_is_told_with_its_line(line: str) -> None:
    with pytest.raises(InvalidInput, match=r"\.dockerignore line 2: "):
        ignore.parse(f"a\n{line}\n")


@given(st.text(max_size=30))
def test_a_pattern_with_all_escaped_matches_itself_alone(text: str) -> None:
    escaped = "".join(f"\\{char}" for char in text)
    assert not patterns.is_pattern(escaped) and patterns.compile(escaped).fullmatch(text)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a*c", "abc", True),
        ("a*c", "a/c", False),
        ("[^a]b", "cb", True),
        ("[^a]b", "/b", False),
        ("**/a", "x/y/a", False),
        ("?", "/", False),
    ],
)
def test_patterns_of_copy_stay_in_one_directory(pattern: str, text: str, matches: bool) -> None:
    assert bool(patterns.compile(pattern).fullmatch(text)) is matches


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_a_directory_is_a_context_with_its_dockerfile_and_what_it_ignores(tmp_path: Path) -> None:
    make(tmp_path, "Dockerfile", "other")
    (tmp_path / ".dockerignore").write_text("*.log\n")
    with context.directory(str(tmp_path)) as found:
        assert (found.root, found.dockerfile, found.ignore.ignores("a.log")) == (str(tmp_path), b"Dockerfile", True)
    with context.directory(str(tmp_path), str(tmp_path / "other")) as found:
        assert found.dockerfile == b"other"


def test_a_context_that_is_not_there_or_has_no_dockerfile_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r'unable to prepare context: path ".*/nothing" not found'), context.directory(f"{tmp_path}/nothing"):
        pass
    with pytest.raises(NotFound, match=r"unable to evaluate symlinks in Dockerfile path: .*/Dockerfile"), context.directory(str(tmp_path)):
        pass


def test_a_dockerfile_alone_is_a_context_without_files(tmp_path: Path) -> None:
    with context.received(io.BytesIO(b"FROM scratch\n"), beside=str(tmp_path)) as found:
        assert found.dockerfile == b"FROM scratch\n" and list(Source(found.root).walk("")) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_a_tar_archive_is_a_context_that_is_gone_afterwards(tmp_path: Path, mode: str) -> None:
    files = make(tmp_path / "files", "sub/Dockerfile", "a.txt")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        archive.add(files, ".")
    stream.seek(0)
    place = tmp_path / "place"
    place.mkdir()
    with context.received(stream, "sub/Dockerfile", str(place)) as found:
        assert found.dockerfile == b"sub/Dockerfile"
        assert list(Source(found.root).walk("")) == ["a.txt", "sub", "sub/Dockerfile"]
    assert list(place.iterdir()) == []


def test_files_are_found_by_name_and_by_pattern_but_not_where_they_are_ignored(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "b.txt", "sub/c.txt", "tmp/keep", "tmp/not", "x.log")
    (tmp_path / "link").symlink_to("sub/c.txt")
    source = Source(str(tmp_path), ignore.parse("*.log\ntmp\n!tmp/keep"), (0, 0), is_context=True)
    assert list(source.walk("")) == ["a.txt", "b.txt", "link", "sub", "sub/c.txt", "tmp", "tmp/keep"]
    assert [found.path for found in source.find("*.txt")] == ["a.txt", "b.txt"]
    assert [found.path for found in (*source.find("/sub"), *source.find("./link"), *source.find("tmp"))] == ["sub", "sub/c.txt", "tmp"]
    for missing in ("nothing", "x.log", "tmp/not", "sub/../x.log"):
        with pytest.raises(NotFound, match=r"file not found in build context or excluded by \.dockerignore: stat "):
            source.find(missing)
    assert source.find("*.log") == []


def test_no_path_and_no_link_leads_out_of_a_context(tmp_path: Path) -> None:
    make(tmp_path, "secret", "context/secret")
    inside = tmp_path / "context"
    (inside / "link").symlink_to("../secret")
    (inside / "absolute").symlink_to("/secret")
    source = Source(str(inside), owner=(0, 0), is_context=True)
    assert {source.find(name)[0].path for name in ("link", "absolute", "/../secret")} == {"secret"}
    with pytest.raises(InvalidInput, match=r"forbidden path outside the build context: \.\./secret"):
        source.find("../secret")


def test_a_sum_is_of_the_content_and_not_of_the_time(tmp_path: Path) -> None:
    one, other = make(tmp_path / "1", "dir/a", "dir/b"), make(tmp_path / "2", "dir/b", "dir/a")
    sums = [Source(str(root), owner=(0, 0)).find("dir")[0].sum for root in (one, other)]
    assert sums[0] == sums[1] and sums[0].startswith("dir:")
    (other / "dir/a").write_text("A")
    assert Source(str(other), owner=(0, 0)).find("dir")[0].sum != sums[0]


def test_the_sum_of_a_file_is_dockers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "a.txt").chmod(0o644)
    found = Source(str(tmp_path), owner=(0, 0)).find("a.txt")[0]
    assert found.sum == "file:fb2ef221e83c84a93740c829bee4baab212d1689bfb4058b34bada70a5899e97"


def test_a_link_that_leads_elsewhere_is_another_content(tmp_path: Path) -> None:
    make(tmp_path, "dir/a", "dir/b")
    (tmp_path / "dir/b").write_text("dir/a")
    (tmp_path / "dir/link").symlink_to("a")
    before = Source(str(tmp_path)).find("dir")[0]
    (tmp_path / "dir/link").unlink()
    (tmp_path / "dir/link").symlink_to("b")
    assert Source(str(tmp_path)).find("dir")[0] != before
