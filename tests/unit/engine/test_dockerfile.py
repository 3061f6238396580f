"""A Dockerfile's text: lines, stages, and what is wrong with which line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.engine.build import dockerfile
from labkit.engine.build.instructions import Instruction, split_words
from labkit.errors import InvalidInput


def only(text: str) -> Instruction:
    """The one instruction after FROM."""
    (stage,) = dockerfile.parse(f"FROM scratch\n{text}").stages
    (instruction,) = stage.instructions
    return instruction


@pytest.mark.parametrize(
    ("text", "arguments", "exec_form"),
    [
        ("RUN make  all", ("make  all",), False),
        ('RUN ["make", "all"]', ("make", "all"), True),
        ("RUN ['make']", ("['make']",), False),
        ('RUN [ "$x" = 1 ] && make', ('[ "$x" = 1 ] && make',), False),
        ("CMD", (), False),
        ("ENTRYPOINT []", (), True),
        ("COPY a  b\tc/", ("a", "b", "c/"), False),
        ('ADD ["a b", "c"]', ("a b", "c"), True),
        ('ENV a=b c=\'d e\' f="g\\"h"', ("a", "b", "c", "'d e'", "f", '"g\\"h"'), False),
        ("ENV name a value = this", ("name", "a value = this"), False),
        ("LABEL a= b=c", ("a", "", "b", "c"), False),
        ("ARG a b=c d", ("a", "b=c", "d"), False),
        ("EXPOSE 80 443/tcp", ("80", "443/tcp"), False),
        ("HEALTHCHECK cmd curl  x", ("CMD", "curl  x"), False),
        ('HEALTHCHECK --retries=2 CMD ["curl", "x"]', ("CMD", "curl", "x"), True),
        ("workdir /a b", ("/a b",), False),
        ("ONBUILD RUN make", ("RUN make",), False),
        ("MAINTAINER me <me@example.org>", ("me <me@example.org>",), False),
    ],
)
def test_each_instruction_has_its_arguments_in_its_own_form(text: str, arguments: tuple[str, ...], exec_form: bool) -> None:
    found = only(text)
    assert (found.arguments, found.exec_form, found.line) == (arguments, exec_form, 2)


def test_flags_stand_before_the_arguments() -> None:
    found = only("COPY --from=base --chown=1:2 --chmod=755 a /b/")
    assert dict(found.flags) == {"from": "base", "chown": "1:2", "chmod": "755"} and found.arguments == ("a", "/b/")


def test_lines_are_joined_without_the_comments_and_empty_lines_between() -> None:
    (stage,) = dockerfile.parse("FROM a\n# one\nRUN x \\\n  # two\n\n   && y \\  \n && z\nCMD end").stages
    assert [(each.line, each.arguments) for each in stage.instructions] == [(3, ("x    && y  && z",)), (8, ("end",))]


def test_another_escape_character_joins_lines_and_leaves_backslashes_alone() -> None:
    file = dockerfile.parse("# syntax = docker/dockerfile:1\n# escape=`\nFROM a\nCOPY c:\\x `\n  /y\\\nCMD z")
    assert file.escape == "`"
    assert [each.arguments for each in file.stages[0].instructions] == [("c:\\x", "/y\\"), ("z",)]


def test_a_comment_ends_the_directives() -> None:
    assert dockerfile.parse("# hello\n# escape=`\nFROM a").escape == "\\"


def test_text_of_windows_is_read_as_any_other() -> None:
    file = dockerfile.parse("\ufeffFROM a\r\nRUN x \\\r\n y\r\n".encode())
    assert file.stages[0].instructions[0].arguments == ("x  y",)


def test_stages_have_names_and_platforms_and_arguments_before_them() -> None:
    file = dockerfile.parse("ARG V=1\nARG W\nfrom --platform=linux/arm64 a:$V as Base\nRUN x\nFROM base")
    assert [each.arguments for each in file.arguments] == [("V=1",), ("W",)]
    first, second = file.stages
    assert (first.base, first.name, first.platform, first.line) == ("a:$V", "base", "linux/arm64", 3)
    assert (second.base, second.name, second.instructions) == ("base", "", ())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("FROM a\nFOO x", "dockerfile parse error line 2: unknown instruction: FOO"),
        ("\n\n# c\nRUN x", "dockerfile parse error line 4: no build stage in current context"),
        ("FROM a b", "line 1: FROM requires either one or three arguments"),
        ("FROM a AS 1b", 'line 1: invalid name for build stage: "1b"'),
        ("FROM a\nRUN x \\\n y\nCOPY b", "line 4: COPY requires at least two arguments"),
        ("FROM a\nENV x", "line 2: ENV must have two arguments"),
        ("FROM a\nLABEL a= b", 'line 2: Syntax error - can\'t find = in "b". Must be of the form: name=value'),
        ("FROM a\nENV =x", "line 2: ENV names can not be blank"),
        ("FROM a\nCMD [1]", "line 2: when using JSON array syntax, arrays must be comprised of strings only"),
        ("FROM a\nUSER", "line 2: USER requires exactly one argument"),
        ('FROM a\nVOLUME [" "]', "line 2: VOLUME specified can not be an empty string"),
        ("FROM a\nSHELL sh -c", "line 2: SHELL requires the arguments to be in JSON form"),
        ("FROM a\nONBUILD ONBUILD RUN x", "line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("FROM a\nONBUILD FROM x", "line 2: FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a\nONBUILD FOO", "line 2: unknown instruction: FOO"),
        ("FROM a\nHEALTHCHECK RUN x", 'line 2: Unknown type "RUN" in HEALTHCHECK (try CMD)'),
        ("FROM a\nHEALTHCHECK --interval=1us CMD x", 'line 2: Interval "interval" cannot be less than 1ms'),
        ("FROM a\nHEALTHCHECK --timeout=soon CMD x", 'line 2: time: invalid duration "soon"'),
        ("FROM a\nHEALTHCHECK --retries=0 CMD x", "line 2: --retries must be at least 1 (not 0)"),
        ("FROM a\nCOPY --nope=1 a b", "line 2: Unknown flag: nope"),
        ("FROM a\nCOPY --from a b", "line 2: Missing a value on flag: from"),
        ("FROM a\nRUN --mount=type=cache x", "line 2: the --mount option requires BuildKit"),
        ("FROM a\nRUN cat <<EOF > /x\nhello\nEOF", "line 2: heredocs such as <<EOF take BuildKit"),
        ("# escape=x\nFROM a", "line 1: invalid escape token 'x'"),
        ("# escape=`\n# escape=`\nFROM a", "line 2: only one escape parser directive can be used"),
        ("", "the Dockerfile cannot be empty"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(InvalidInput) as error:
        dockerfile.parse(text)
    assert complaint in str(error.value)


def test_what_is_no_text_is_told_with_its_line() -> None:
    with pytest.raises(InvalidInput, match="line 2: is not UTF-8 text"):
        dockerfile.parse(b"FROM a\nRUN \xff")


@pytest.mark.parametrize("line", ['RUN cat <<< "$x"', 'RUN echo "<<EOF"', "RUN echo $((1<<X))", "RUN a << b", "CMD cat <<EOF"])
def test_what_only_looks_like_a_heredoc_is_for_the_shell(line: str) -> None:
    assert only(line).text == line


@given(st.text(max_size=200))
def test_any_text_is_either_a_dockerfile_or_refused(text: str) -> None:
    try:
        file = dockerfile.parse(text)
    except InvalidInput:
        return
    assert file.stages


@given(st.lists(st.from_regex(r"[A-Za-z0-9_./=-]{1,8}", fullmatch=True), max_size=6))
def test_words_without_quotes_are_what_is_between_the_spaces(words: list[str]) -> None:
    assert split_words("  ".join(words)) == words
