"""Names: read as Docker reads them, refused in its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import InvalidInput
from labkit.image import references
from labkit.image.references import Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4
LONG_DIGEST = "sha512:" + "0123456789abcdef" * 8

words = st.text("abz019", min_size=1, max_size=4)
separators = st.sampled_from([".", "_", "__", "-", "---"])
more = st.lists(st.builds(str.__add__, separators, words), max_size=2).map("".join)
components = st.builds(str.__add__, words, more)
paths = st.lists(components, min_size=1, max_size=4).map("/".join)
hosts = st.sampled_from(["localhost", "docker.io", "example.com", "127.0.0.1", "[::1]", "[fc00:1:2:3:4:5:6:7]", "Foo", "a-b.c"])
ports = st.one_of(st.just(""), st.integers(0, 65535).map(":{}".format))
domains = st.builds(str.__add__, hosts, ports)
tags = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
given_references = st.builds(
    Reference,
    domains.filter(lambda domain: domain != "docker.io:0"),
    paths,
    st.none() | tags,
    st.none() | st.sampled_from([DIGEST, LONG_DIGEST]),
)


@given(given_references)
def test_the_full_name_is_read_back_as_it_was(reference: Reference) -> None:
    again = references.parse(str(reference))
    # What has no slash on Docker Hub is of library/, and cannot be called otherwise.
    hub = reference.domain == "docker.io" and "/" not in reference.path
    assert again == (Reference("docker.io", f"library/{reference.path}", reference.tag, reference.digest) if hub else reference)


@given(given_references)
def test_the_familiar_name_means_the_same_image(reference: Reference) -> None:
    canonical = references.parse(str(reference))
    assert references.parse(canonical.familiar) == canonical
    assert len(canonical.familiar) <= len(str(canonical))


@given(st.text("aAzZ09._-/:@[] \né", max_size=40) | st.text(max_size=40))
def test_any_text_is_read_or_refused_with_a_message(text: str) -> None:
    try:
        reference = references.parse(text)
    except InvalidInput as error:
        assert str(error).startswith(("invalid reference format: ", "invalid repository name "))
    else:
        assert references.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("nginx", "docker.io/library/nginx", "nginx"),
        ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
        ("library/nginx", "docker.io/library/nginx", "nginx"),
        ("docker.io/nginx", "docker.io/library/nginx", "nginx"),
        ("index.docker.io/nginx", "docker.io/library/nginx", "nginx"),
        ("index.docker.io/me/web", "docker.io/me/web", "me/web"),
        ("me/web", "docker.io/me/web", "me/web"),
        ("library/foo/bar", "docker.io/library/foo/bar", "library/foo/bar"),
        ("test_com/foo", "docker.io/test_com/foo", "test_com/foo"),
        ("localhost/web", "localhost/web", "localhost/web"),
        ("127.0.0.1:5000/me/web:v1", "127.0.0.1:5000/me/web:v1", "127.0.0.1:5000/me/web:v1"),
        ("[::1]:5000/web", "[::1]:5000/web", "[::1]:5000/web"),
        ("Foo/bar", "Foo/bar", "Foo/bar"),
        ("192.168.0.1:80", "docker.io/library/192.168.0.1:80", "192.168.0.1:80"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}", f"nginx:1@{DIGEST}"),
        (f"nginx@{LONG_DIGEST}", f"docker.io/library/nginx@{LONG_DIGEST}", f"nginx@{LONG_DIGEST}"),
        ("docker.io/my.org/app", "docker.io/my.org/app", "docker.io/my.org/app"),
        ("docker.io/localhost/app", "docker.io/localhost/app", "docker.io/localhost/app"),
        (f"docker.io/{'ab' * 32}", f"docker.io/library/{'ab' * 32}", f"docker.io/library/{'ab' * 32}"),
    ],
)
def test_what_a_name_leaves_out_is_filled_in(text: str, canonical: str, familiar: str) -> None:
    reference = references.parse(text)
    assert (str(reference), reference.familiar) == (canonical, familiar)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("BAD", "invalid reference format: repository name (library/BAD) must be lowercase"),
        ("BAD^img", "invalid reference format: repository name (library/BAD^img) must be lowercase"),
        ("docker/Docker:V1", "invalid reference format: repository name (docker/Docker) must be lowercase"),
        ("ab" * 32, f"invalid repository name ({'ab' * 32}), cannot specify 64-byte hexadecimal strings"),
        ("nginx@sha256:" + "a" * 40, "invalid checksum digest length"),
        ("nginx@sha256:" + "A" * 64, "invalid checksum digest format"),
        ("nginx@md5:" + "a" * 32, "unsupported digest algorithm"),
        ("a" * 256, "must not be more than 255 characters"),
    ],
)
def test_what_cannot_be_a_name_is_refused_in_dockers_words(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        references.parse(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "/", "@", "nginx:", "nginx@", "nginx\n", " nginx", "a//b", "docker/", "-docker", "-docker/docker", "docker-/docker",
        "_docker/_docker", "dock..er/docker", "dock_.er/docker", "a___b", "https://github.com/docker/docker", "[::1]", "[::1]:5000",
        "fc00::1:5000/debian", "[fe80::1%eth0]:5000/debian", "[2001:db8:3:4::192.0.2.33]:5000/debian", "nginx:-1", "nginx:" + "a" * 129,
        "nginx@sha256:short", f"@{DIGEST}", "../../etc/passwd", "a:b:c", f"nginx@{DIGEST}:v1",
    ],
)  # fmt: skip
def test_what_is_out_of_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^invalid reference format: "):
        references.parse(text)


def test_255_characters_are_a_name_still() -> None:
    assert references.parse("example.com:5000/" + "a" * 255).repository == "a" * 255


def test_latest_is_meant_where_neither_tag_nor_digest_is_said() -> None:
    assert references.parse("nginx").tagged.familiar == "nginx:latest"
    assert references.parse("nginx:1").tagged.familiar == "nginx:1"
    assert references.parse(f"nginx@{DIGEST}").tagged.familiar == f"nginx@{DIGEST}"


def test_a_tag_or_a_digest_takes_the_place_of_what_was_said_before() -> None:
    both = references.parse(f"nginx:1@{DIGEST}")
    assert both.with_tag("2").familiar == "nginx:2"
    assert both.with_digest(LONG_DIGEST).familiar == f"nginx@{LONG_DIGEST}"
    assert both.bare.familiar == "nginx"


@pytest.mark.parametrize("tag", ["", "-1", ".", "a b", "a:b", "a" * 129, "é"])
def test_a_tag_that_cannot_be_one_is_refused(tag: str) -> None:
    with pytest.raises(InvalidInput, match=r"^invalid tag format: "):
        references.parse("nginx").with_tag(tag)


def test_a_digest_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match="digest"):
        references.parse("nginx").with_digest("sha256:short")
