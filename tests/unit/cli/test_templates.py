"""``--format``: what Go's templates print for the same data, and what is said of a template that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.cli import templates
from labkit.errors import InvalidInput

DATA = {
    "Id": "sha256:a752",
    "Size": 1982256,
    "Tags": ["web:v1", "web:v2"],
    "None": None,
    "On": True,
    "Empty": [],
    "Config": {"Labels": {"a.b": "c", "x": "y"}, "Cmd": ["sh", "-c"]},
    "Ports": {"80/tcp": [{"HostPort": "8080"}], "443/tcp": None},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('{{printf "%s %q %v|%-6s|%4d|%t|%%" .Id "q" .Tags "l" 7 .On}}', 'sha256:a752 "q" [web:v1 web:v2]|l     |   7|true|%'),
        ("plain", "plain"),
        ("{{.Id}}", "sha256:a752"),
        ("<{{ .Size }}>", "<1982256>"),
        ("{{.Config.Cmd}}", "[sh -c]"),
        ("{{.Config.Labels}}", "map[a.b:c x:y]"),
        ("{{.None}} {{.On}}", "<nil> true"),
        ("{{json .Config}}", '{"Labels":{"a.b":"c","x":"y"},"Cmd":["sh","-c"]}'),
        ('{{index .Config.Labels "a.b"}}', "c"),
        ('{{index .Config.Labels "none"}}', ""),
        ("{{index .Tags 1}}", "web:v2"),
        ("{{(index .Tags 0)}}", "web:v1"),
        ('{{join .Tags ", "}}', "web:v1, web:v2"),
        ('{{.Tags | len | printf "%03d"}}', "002"),
        ("{{upper .Id}} {{lower .Id}} {{title .Id}}", "SHA256:A752 sha256:a752 Sha256:A752"),
        ("{{range .Tags}}{{.}};{{end}}", "web:v1;web:v2;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range $i, $t := .Tags}}{{$i}}={{$t}} {{end}}", "0=web:v1 1=web:v2 "),
        ("{{range $p, $c := .Ports}}{{$p}}→{{with $c}}{{(index . 0).HostPort}}{{else}}-{{end}} {{end}}", "443/tcp→- 80/tcp→8080 "),
        ("{{if .Empty}}a{{else if .On}}b{{else}}c{{end}}", "b"),
        ("{{if and .On (not .Empty)}}yes{{end}}", "yes"),
        ('{{if eq .Id "x" "sha256:a752"}}yes{{end}}', "yes"),
        ("{{with .Config}}{{.Cmd}} {{$.Size}}{{end}}", "[sh -c] 1982256"),
        ("{{$x := 1}}{{range .Tags}}{{$x = len .}}{{end}}{{$x}}", "6"),
        ("a {{- .Size -}} b", "a1982256b"),
        ("a{{/* a comment */}}b", "ab"),
        ('{{`raw "text"`}}', 'raw "text"'),
        ('{{println "a" 1}}', "a 1\n"),
        ("{{gt .Size 5}}", "true"),
        ("{{slice .Id 7}}", "a752"),
        ('{{truncate .Id 3}}|{{pad "x" 1 2}}', "sha| x  "),
        ('{{range split "a,b" ","}}<{{.}}>{{end}}', "<a><b>"),
    ],
)
def test_a_template_prints_what_gos_would(template: str, text: str) -> None:
    assert templates.parse(template).render(DATA) == text


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{", "unclosed action"),
        ("{{.Id", "unclosed action"),
        ('{{"a}}', "unclosed action"),
        ("{{}}", "missing value"),
        ("{{.Id | }}", "missing value"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{if .On}}x", "an {{end}} is missing"),
        ("{{foo .Id}}", 'function "foo" not defined'),
        ("{{.Id .Size}}", "no function"),
        ("{{(.Id}}", "unclosed left paren"),
        ("{{break}}", "break is not supported"),
        ('{{template "x"}}', "not supported"),
        ("{{$x}}", "undefined variable"),
        ("{{.Foo}}", "there is Config, Empty, Id"),
        ("{{.Id.Foo}}", "has no fields"),
        ("{{range .Size}}{{end}}", "can't iterate over 1982256"),
        ("{{index .Tags 9}}", "out of range"),
        ("{{lt .Id 3}}", "incompatible types"),
        ("{{len}}", "len"),
        ('{{printf "%d" .Id}}', "printf"),
        ('{{printf "%d"}}', "takes 1 values"),
        ("{{.Id ~}}", "unexpected '~'"),
        ("{{1 := .Id}}", "only variables"),
    ],
)
def test_a_mistake_is_named(template: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match="template parsing error") as caught:
        templates.parse(template).render(DATA)
    assert complaint in str(caught.value)


@given(st.text(alphabet='{}. "`|$()-=:,aI/*\\if endrange\n', max_size=40))
def test_whatever_is_written_either_works_or_is_told_to_be_wrong(template: str) -> None:
    try:
        assert isinstance(templates.parse(template).render(DATA), str)
    except InvalidInput as error:
        assert str(error).startswith("template parsing error")
