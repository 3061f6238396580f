"""Go templates, as far as people use them in ``--format``.

    >>> templates.parse("{{.Name}}: {{json .Tags}}").render({"Name": "web", "Tags": ["v1"]})
    'web: ["v1"]'
    >>> templates.parse("{{range $i, $t := .Tags}}{{$i}}={{upper $t}} {{end}}").render({"Tags": ["v1"]})
    '0=V1 '

A template is text with actions in ``{{ }}``. It is parsed once into functions, each from a scope (what ``.`` is, and the variables) to
a value. There are fields, ``$variables``, pipelines, ``if``, ``else``, ``with``, ``range``, ``end``, comments, trimming with ``{{-`` and
``-}}``, and the functions of ``templates_functions``. Not there are named templates, ``break`` and ``continue``: they get an error.

Source: Go's text/template; docker's "Format command and log output". Seen in notebook 05.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labkit.cli.templates_functions import FUNCTIONS, HEADER_FUNCTIONS, Function, text
from labkit.cli.templates_scope import Evaluate, Scope, Write, called, choice, loop, method, path, sequence
from labkit.errors import InvalidInput

_TOKEN = re.compile(r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>-?\d+)|(?P<field>(?:\.[A-Za-z_]\w*)+)|(?P<dot>\.)"""
                    r"""|(?P<variable>\$\w*)|(?P<word>[A-Za-z_]\w*)|(?P<sign>:=|[=|(),]))""")  # fmt: skip
_ACTION = re.compile(r"""\{\{(- )?\s*((?:/\*.*?\*/|"(?:[^"\\]|\\.)*"|`[^`]*`|[^"`}]|\}(?!\}))*?)( -)?\}\}""", re.DOTALL)
_REFUSED = frozenset({"define", "template", "block", "break", "continue"})
_VALUES = {"true": True, "false": False, "nil": None}


@dataclass(frozen=True)
class Template:
    """A parsed template."""

    write: Write

    def render(self, data: object) -> str:
        """The text for ``data``, as ``json.loads`` gives it; ``InvalidInput`` for a field that is not there."""
        return self._rendered(data, FUNCTIONS)

    def render_header(self, headers: Mapping[str, object]) -> str:
        """The text of a table's first line: the same fields, with what stands above them."""
        return self._rendered(headers, HEADER_FUNCTIONS)

    def _rendered(self, data: object, functions: Mapping[str, Function]) -> str:
        out: list[str] = []
        self.write(Scope(data, {"$": data}, functions), out)
        return "".join(out)


def parse(source: str) -> Template:
    """Read a template; ``InvalidInput`` says what is wrong with it."""
    parser = _Parser(list(_pieces(source)))
    write, end = parser.block(())
    assert not end
    return Template(write)


def _pieces(source: str) -> Sequence[tuple[str, str]]:
    """The template cut in pieces: ``("text", …)`` and ``("action", …)``."""
    pieces: list[tuple[str, str]] = []
    place, trim = 0, False
    for match in _ACTION.finditer(source):
        before = source[place : match.start()]
        before = before.lstrip() if trim else before
        pieces.append(("text", before.rstrip() if match[1] else before))
        if not match[2].startswith("/*"):
            pieces.append(("action", match[2].strip()))
        place, trim = match.end(), bool(match[3])
    rest = source[place:]
    pieces.append(("text", rest.lstrip() if trim else rest))
    if any(kind == "text" and "{{" in piece for kind, piece in pieces):
        raise InvalidInput("template parsing error: template: :1: unclosed action")
    return pieces


@dataclass
class _Parser:
    """Reads the pieces from first to last. An action's tokens are taken from ``tokens``."""

    pieces: list[tuple[str, str]]
    tokens: list[tuple[str, str]] = field(default_factory=list)
    action: str = ""

    def block(self, ends: Sequence[str]) -> tuple[Write, str]:
        """Everything up to an action that begins with one of ``ends``, and that word; its rest is left in ``tokens``."""
        writes: list[Write] = []
        while self.pieces:
            kind, piece = self.pieces.pop(0)
            if kind == "text":
                writes.append(lambda _scope, out, piece=piece: out.append(piece))  # type: ignore[misc]
                continue
            self.action, self.tokens = piece, _tokens(piece)
            word = self.tokens[0][1] if self.tokens and self.tokens[0][0] == "word" else ""
            if word in ends:
                self.tokens.pop(0)
                return sequence(writes), word
            if word in ("end", "else") or word in _REFUSED:
                raise self._mistake(f"unexpected {{{{{word}}}}}" if word in ("end", "else") else f"{word} is not supported here")
            writes.append(self._control(word) if word in ("if", "with", "range") else self._statement())
        if ends:
            raise InvalidInput("template parsing error: template: :1: unexpected EOF: an {{end}} is missing")
        return sequence(writes), ""

    def _statement(self) -> Write:
        """``{{pipeline}}`` is written; ``{{$x := pipeline}}`` is not."""
        names, declares = self._variables()
        value = self._pipeline()
        self._finish()
        if not names:
            return lambda scope, out: out.append(text(value(scope)))
        name = names[0]

        def assign(scope: Scope, _out: list[str]) -> None:
            holder = scope if declares else scope.holder(name)
            holder.variables[name] = value(scope)

        return assign

    def _control(self, word: str) -> Write:
        self.tokens.pop(0)
        names, _ = self._variables()
        value = self._pipeline()
        self._finish()
        body, end = self.block(("end", "else"))
        otherwise: Write = sequence(())
        if end == "else":
            if self.tokens:  # {{else if …}} is {{else}}{{if …}} with one {{end}} for both
                kind, inner = self.tokens[0]
                if (kind, inner) not in (("word", "if"), ("word", "with")):
                    raise self._mistake("after else there can be if")
                otherwise = self._control(inner)
            else:
                otherwise, _ = self.block(("end",))
        return loop(names, value, body, otherwise) if word == "range" else choice(word, names, value, body, otherwise)

    def _variables(self) -> tuple[list[str], bool]:
        """``$i, $x :=`` at the front, if it is there, and whether it declares them."""
        signs = [index for index, token in enumerate(self.tokens) if token[0] == "sign" and token[1] in (":=", "=")]
        if not signs:
            return [], False
        front, sign, self.tokens = self.tokens[: signs[0]], self.tokens[signs[0]][1], self.tokens[signs[0] + 1 :]
        names = [value for kind, value in front if kind == "variable"]
        if not names or len(front) != 2 * len(names) - 1 or len(names) > 2:
            raise self._mistake(f"only variables can stand before {sign}")
        return names, sign == ":="

    def _pipeline(self) -> Evaluate:
        value = self._command(None)
        while self.tokens and self.tokens[0][1] == "|" and self.tokens[0][0] == "sign":
            self.tokens.pop(0)
            value = self._command(value)
        return value

    def _command(self, piped: Evaluate | None) -> Evaluate:
        """A function with its operands, the last of which may come through the pipe; or one operand."""
        if not self.tokens or self.tokens[0] in (("sign", "|"), ("sign", ")")):
            raise self._mistake("missing value for command")
        kind, word = self.tokens[0]
        if kind == "word" and word not in _VALUES:
            self.tokens.pop(0)
            if word not in FUNCTIONS:
                raise self._mistake(f'function "{word}" not defined')
            operands = self._operands() + ([piped] if piped else [])
            return lambda scope: called(word, scope, [operand(scope) for operand in operands])
        operand = self._operand()
        if kind == "field" and self._more():
            arguments = self._operands()
            return lambda scope: method(word, operand(scope), [argument(scope) for argument in arguments])
        if piped or self._more():
            raise self._mistake("can't give an argument to a value that is no function")
        return operand

    def _more(self) -> bool:
        return bool(self.tokens) and self.tokens[0] not in (("sign", "|"), ("sign", ")"))

    def _operands(self) -> list[Evaluate]:
        found = []
        while self._more():
            found.append(self._operand())
        return found

    def _operand(self) -> Evaluate:
        kind, value = self.tokens.pop(0)
        if kind == "string":
            constant = value[1:-1] if value[0] == "`" else json.loads(value.replace("\t", "\\t").replace("\n", "\\n"))
            return lambda _scope: constant
        if kind == "number":
            return lambda _scope: int(value)
        if kind == "dot":
            return lambda scope: scope.dot
        if kind == "field":
            return lambda scope: path(scope.dot, value)
        if kind == "variable":
            return self._chain(lambda scope: scope.holder(value).variables[value])
        if kind == "word" and value in _VALUES:
            return lambda _scope: _VALUES[value]
        if kind == "word" and value in FUNCTIONS:
            return lambda scope: called(value, scope, [])
        if (kind, value) == ("sign", "("):
            inner = self._pipeline()
            if not self.tokens or self.tokens.pop(0) != ("sign", ")"):
                raise self._mistake("unclosed left paren")
            return self._chain(inner)
        raise self._mistake(f"unexpected {value!r}")

    def _chain(self, value: Evaluate) -> Evaluate:
        """``$x.Field`` and ``(…).Field``."""
        if self.tokens and self.tokens[0][0] == "field":
            _, fields = self.tokens.pop(0)
            return lambda scope: path(value(scope), fields)
        return value

    def _finish(self) -> None:
        if self.tokens:
            raise self._mistake(f"unexpected {self.tokens[0][1]!r}")

    def _mistake(self, what: str) -> InvalidInput:
        return InvalidInput(f"template parsing error: {{{{{self.action}}}}}: {what}")


def _tokens(action: str) -> list[tuple[str, str]]:
    tokens, place = [], 0
    while place < len(action):
        match = _TOKEN.match(action, place)
        if match is None or match.lastgroup is None:
            raise InvalidInput(f"template parsing error: {{{{{action}}}}}: unexpected {action[place:].strip()[:1]!r}")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        place = match.end()
    if not tokens:
        raise InvalidInput("template parsing error: template: :1: missing value for command")
    return tokens
