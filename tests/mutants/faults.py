"""The faults that can be put into a file."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from random import Random
from textwrap import dedent
from typing import Any

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators
from tests.mutants.packages import Key

__all__ = ["Fault", "drawn", "faults_of"]

_TYPES = m.Call(func=m.Name("TypeVar") | m.Name("ParamSpec") | m.Name("NewType"))
_LEFT_OUT = (
    m.Annotation()
    | m.Decorator()
    | m.Import()
    | m.ImportFrom()
    | m.Expr(m.SimpleString() | m.ConcatenatedString())
    | m.Assign(targets=[m.AssignTarget(m.Name("__slots__") | m.Name("__all__"))])
    | m.Assign(value=_TYPES | m.Call(func=m.Name("auto")))
    | m.AnnAssign(annotation=m.Annotation(m.Name("TypeAlias")))
    | m.Expr(m.Call(func=m.Attribute(m.Name("_log"))))
    | m.If(test=m.Name("TYPE_CHECKING"))
    | m.FunctionDef(decorators=[m.ZeroOrMore(), m.Decorator(m.Name("overload")), m.ZeroOrMore()])
)
_LARGE = 1_000
_PROTOCOL = m.Arg(m.Name("Protocol") | m.Subscript(m.Name("Protocol")))
# Their arguments stay: without them there is nothing but a TypeError to notice.
_PLAIN_CALL = m.Call(func=m.Name("len") | m.Name("isinstance") | m.Name("assert_never"))
_CALL = m.Call() | m.Await(m.Call())
_CONDITION = m.Name() | m.Attribute() | m.Call() | m.Await()
# What mutmut makes of None. No type checker lets it pass, and hardly any code minds.
_EMPTY = m.Assign(value=m.SimpleString('""')) | m.AnnAssign(value=m.SimpleString('""'))

Operator = Callable[[Any], Iterable[cst.CSTNode]]


def _left_out(node: cst.Expr | cst.Del) -> Iterator[cst.CSTNode]:
    # To forget a name changes nothing.
    if m.matches(node, m.Expr(_CALL) | m.Del(m.Subscript() | m.Attribute())):
        yield cst.Pass(semicolon=node.semicolon)


def _turned_around(node: cst.If) -> Iterator[cst.CSTNode]:
    # Of all other conditions mutmut changes the operators.
    if m.matches(node.test, _CONDITION):
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), node.test))


_OPERATORS: Sequence[tuple[type, Operator]] = [
    *mutation_operators,
    (cst.Expr, _left_out),
    (cst.Del, _left_out),
    (cst.If, _turned_around),
]


@dataclass(frozen=True, eq=False)
class Fault:
    """One fault.

    Attributes:
        path: the file, below the checkout.
        function: the function that has it, with its classes; empty if it is outside of all.
        line: where it begins.
        lines: a test that runs one of these lines may notice it.
        body: a test that runs one of these lines calls its function; empty if it is outside of all.
    """

    path: Path
    function: str
    line: int
    lines: frozenset[int]
    body: range
    _module: cst.Module
    _context: cst.CSTNode
    _before: cst.CSTNode
    _after: cst.CSTNode

    def undone(self) -> "Fault":
        """The same without the fault: whatever notices it is wrong."""
        return replace(self, _after=self._before)

    @property
    def source(self) -> str:
        """The file with the fault."""
        return _code(self._module.deep_replace(self._before, self._after))

    @cached_property
    def change(self) -> tuple[str, str]:
        """The lines that differ, without it and with it."""
        texts = [_code(self._context), _code(_replaced(self._context, self._before, self._after))]
        before, after = (text.splitlines() for text in texts)
        same = _equal(before, after)
        last = _equal(before[same:][::-1], after[same:][::-1])
        return _text(before[same : len(before) - last]), _text(after[same : len(after) - last])

    @property
    def key(self) -> Key:
        """What says that it is the same one, wherever in the file it has moved."""
        return str(self.path), self.function, *self.change


def _code(node: Any) -> str:
    return str(cst.Module([]).code_for_node(node))


def _replaced(context: cst.CSTNode, before: cst.CSTNode, after: cst.CSTNode) -> Any:
    return after if context is before else context.deep_replace(before, after)


def _equal(one: Sequence[str], other: Sequence[str]) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def _text(lines: Sequence[str]) -> str:
    return dedent("\n".join(lines)).strip()


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, path: Path, module: cst.Module) -> None:
        self.faults: list[Fault] = []
        self._path = path
        self._module = module
        # Classes and functions around, and the innermost function or statement and the innermost statement.
        self._names: list[str] = []
        self._functions: list[cst.FunctionDef] = []
        self._statements: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, _LEFT_OUT) or _is_text(node):
            return False
        if isinstance(node, cst.ClassDef) and any(m.matches(base, _PROTOCOL) for base in node.bases):
            return False
        if isinstance(node, cst.BaseStatement):
            self._statements.append(node)
        if isinstance(node, cst.ClassDef | cst.FunctionDef):
            self._names.append(node.name.value)
        if isinstance(node, cst.FunctionDef):
            self._functions.append(node)
        if m.matches(node, m.Call(func=m.Name("cast"))):
            cst.ensure_type(node, cst.Call).args[1].visit(self)
            return False
        if not (m.matches(node, _PLAIN_CALL) or _is_large(node)):
            self._put_into(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if self._statements and self._statements[-1] is original_node:
            self._statements.pop()
            if isinstance(original_node, cst.ClassDef | cst.FunctionDef):
                self._names.pop()
            if isinstance(original_node, cst.FunctionDef):
                self._functions.pop()

    def _put_into(self, node: cst.CSTNode) -> None:
        for kind, operator in _OPERATORS:
            if isinstance(node, kind):
                for after in operator(node):
                    if not (m.matches(after, _EMPTY) or _is_about_text(node, after)):
                        self.faults.append(self._fault(node, after))

    def _fault(self, node: cst.CSTNode, after: cst.CSTNode) -> Fault:
        start, end = self._lines(node)
        statement, _ = self._lines(self._statements[-1]) if self._statements else (start, end)
        own = range(start, end + 1) if isinstance(node, cst.BaseExpression) else range(start, start + 1)
        function = self._functions[-1] if self._functions else None
        return Fault(
            self._path,
            ".".join(self._names),
            start,
            frozenset({statement, *own}),
            range(self._lines(function.body)[0], self._lines(function)[1] + 1) if function else range(0),
            self._module,
            function or (self._statements[-1] if self._statements else self._module),
            node,
            after,
        )

    def _lines(self, node: cst.CSTNode) -> tuple[int, int]:
        position = self.get_metadata(PositionProvider, node, None)
        if position is None:  # an operator like `and` has none
            return self._lines(self._statements[-1])
        return position.start.line, position.end.line


def _is_text(node: cst.CSTNode) -> bool:
    """Whether it is a string for people."""
    if isinstance(node, cst.SimpleString):
        return " " in node.raw_value.strip()
    if isinstance(node, cst.FormattedString):
        return any(isinstance(part, cst.FormattedStringText) and " " in part.value for part in node.parts)
    return isinstance(node, cst.ConcatenatedString)


def _is_large(node: cst.CSTNode) -> bool:
    """Whether it is a number to which one more makes no difference."""
    return isinstance(node, cst.Integer | cst.Float) and abs(node.evaluated_value) >= _LARGE


def _is_about_text(node: cst.CSTNode, after: cst.CSTNode) -> bool:
    """Whether a fault takes away a string for people."""
    if isinstance(node, cst.Assign | cst.AnnAssign):
        return node.value is not None and _is_text(node.value)
    if isinstance(node, cst.Call):
        kept = {id(argument.value) for argument in cst.ensure_type(after, cst.Call).args}
        return any(_is_text(argument.value) for argument in node.args if id(argument.value) not in kept)
    return False


def faults_of(path: Path, source: str) -> list[Fault]:
    """Return all faults of a file, in the order of its lines."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = _Visitor(path, wrapper.module)
    wrapper.visit(visitor)
    return visitor.faults


def drawn(faults: Iterable[Fault], seed: str) -> list[Fault]:
    """Return faults in a drawn order: one of each line, then a second of each line that has one, and so on."""
    random = Random(seed)
    by_line: defaultdict[tuple[Path, int], list[Fault]] = defaultdict(list)
    for fault in faults:
        by_line[fault.path, fault.line].append(fault)
    ranked = []
    for of_line in by_line.values():
        random.shuffle(of_line)
        ranked += [(turn, random.random(), fault) for turn, fault in enumerate(of_line)]
    return [fault for *_, fault in sorted(ranked, key=lambda one: one[:2])]
