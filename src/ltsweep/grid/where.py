"""A filter over cells: comparisons of config values, joined by `and`, `or`, `not`. No part of it is executed.

It is the language of every `--where`. No torch, no Hydra: the analysis uses it too.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ltsweep.errors import UserError, did_you_mean
from ltsweep.words import shown

# Types that a config value may be compared with.
Value = str | int | float | bool | None

# Values that an expression may write as YAML does.
_NAMED: dict[str, Value] = {"null": None, "true": True, "false": False}

# Node of the syntax tree -> the comparison that it stands for.
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

# The comparison with its sides changed over, where that is another one.
_SWAPPED: dict[Callable[[Any, Any], Any], Callable[[Any, Any], Any]] = {
    operator.lt: operator.gt,
    operator.le: operator.ge,
    operator.gt: operator.lt,
    operator.ge: operator.le,
}

# Characters of an expression, and bits of the greatest whole number that columns hold.
_MOST, _BITS = 100_000, 64

# Values of a column, and columns, that an error lists.
_SHOWN, _COLUMNS = 8, 40


def chosen(
    columns: Mapping[str, Sequence[Value]], expression: str, varying: Callable[[], Sequence[str]] | None = None
) -> list[bool]:
    """Return for each cell whether `expression` holds.

    columns: dotted name of a config value, `key` or `status` -> its value in each cell, None where a cell has none.
    varying: names those of them that an error is to list, in place of all that vary.

    The expression is over these names: `seed < 3 and init in ['a', 'b']`. Raises UserError for anything but
    comparisons, `and`, `or`, `not`, `in` and literals, for an unknown column, and where no cell is left.
    """
    asked = _Question(columns, expression, varying)
    found = asked.answer()
    if not any(found):
        raise asked.error(f"holds for none of the {len(found)} cells; {asked.values()}")
    return found


class _Column:
    """The values of one name. is_text: numbers and words together are text, as numbers and true or false are."""

    def __init__(self, name: str, values: Sequence[Value]) -> None:
        kinds = {type(value) for value in values if value is not None and value == value}
        self.name = name
        self.is_flag = kinds == {bool} and not any(value is None for value in values)
        self.is_text = not self.is_flag and not kinds <= {int, float}
        self.values = [_known(value, self.is_text) for value in values]

    def numbers(self) -> list[float | None]:
        """Return the values that are numbers, though written among words, and None for the others."""
        return [_number(value) for value in self.values]

    def listed(self) -> str:
        """Return the values as text for an error, in order, null last."""
        found = sorted(dict.fromkeys(value for value in self.values if value is not None))
        names = [f"{value:g}" if isinstance(value, float) else str(value) for value in found]
        names += ["null"] * (None in self.values)
        return ", ".join(names[:_SHOWN]) + (", ..." if names[_SHOWN:] else "")


class _Question:
    """One expression and the cells it is about. Nodes of its syntax tree that are not named here are refused."""

    def __init__(
        self,
        columns: Mapping[str, Sequence[Value]],
        expression: str,
        varying: Callable[[], Sequence[str]] | None,
    ) -> None:
        self.columns, self.expression, self.varying = columns, expression, varying
        self.cells = len(next(iter(columns.values()), ()))
        self.used: dict[str, _Column] = {}

    def answer(self) -> list[bool]:
        """Return true or false for each cell."""
        if len(self.expression) > _MOST:
            raise self.error(f"is longer than {_MOST:,} characters")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a regular expression's backslash, or `3 is 4`
                tree = ast.parse(self.expression.strip(), mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            why = shown(error.msg if isinstance(error, SyntaxError) else str(error)) or "nested too deep"
            raise self.error(f"cannot be read ({why}); write it like \"seed < 3 and init == 'xavier_u'\"") from None
        try:
            return self._truth(tree.body)
        except RecursionError:
            raise self.error("is nested too deep") from None

    def error(self, says: str) -> UserError:
        """Return the error that quotes the expression."""
        return UserError(f"--where {shown(self.expression)!r}: {says}")

    def values(self) -> str:
        """Return the values that the columns of the expression have, as text for an error."""
        return "; ".join(f"{name} is {column.listed()}" for name, column in self.used.items())

    def _truth(self, node: ast.expr) -> list[bool]:
        match node:
            case ast.BoolOp(op=joint, values=parts):
                join = all if isinstance(joint, ast.And) else any
                return [join(row) for row in zip(*[self._truth(part) for part in parts], strict=True)]
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return [not true for true in self._truth(operand)]
            case ast.Compare(left=first, ops=ops, comparators=others):
                sides = zip([first, *others], ops, others, strict=False)
                return [all(row) for row in zip(*[self._compared(*side) for side in sides], strict=True)]
            case ast.Name() | ast.Attribute():
                column = self._column(node)
                if column.is_flag:
                    return [bool(value) for value in column.values]
                raise self.error(f"{_written_node(node)} is neither true nor false; compare it: {self.values()}")
        raise self._refused(node)

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> list[bool]:
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set):
                raise self.error("`in` takes a list, such as seed in [0, 1]")
            column = self._column(left)
            found = [False] * self.cells
            for item in right.elts:
                found = [
                    a or b for a, b in zip(found, self._against(column, operator.eq, self._value(item)), strict=True)
                ]
            return found if isinstance(op, ast.In) else [not true for true in found]
        if type(op) not in _COMPARE:
            raise self.error("compare with ==, !=, <, <=, >, >= or in")
        compare = _COMPARE[type(op)]
        match _is_literal(left), _is_literal(right):
            case False, False:
                one, other = self._column(left), self._column(right)
                return self._ordered(compare, one.name, one.values, other.values)
            case False, True:
                return self._against(self._column(left), compare, self._value(right))
            case True, False:
                return self._against(self._column(right), _SWAPPED.get(compare, compare), self._value(left))
        raise self.error(
            f"{_written_node(left)} is compared with {_written_node(right)}, and no config column with either"
        )

    def _against(self, column: _Column, compare: Callable[[Any, Any], Any], value: Value) -> list[bool]:
        if value is None:
            if compare not in (operator.eq, operator.ne):
                raise self.error("null has no order; use == or !=")
            return [(one is None) == (compare is operator.eq) for one in column.values]
        values: Sequence[Value] = column.values
        if column.is_text and isinstance(value, bool):
            value = str(value)
        elif column.is_text and not isinstance(value, str):
            values = column.numbers()  # one config may give a number where another gives a word, as init.gain does
            if not any(one is not None for one in values):
                raise self.error(f"{column.name} is text, and text goes in quotes: {self.values()}")
        elif not column.is_text and isinstance(value, str):
            raise self.error(f"{column.name} is no text, so no quotes: {self.values()}")
        return self._ordered(compare, column.name, values, [value] * self.cells)

    def _ordered(
        self, compare: Callable[[Any, Any], Any], name: str, left: Sequence[Value], right: Sequence[Value]
    ) -> list[bool]:
        """Return how values compare, cell by cell; a null differs from everything, and has no order."""
        try:
            return [
                compare is operator.ne if one is None or other is None else bool(compare(one, other))
                for one, other in zip(left, right, strict=True)
            ]
        except TypeError:
            raise self.error(f"{name} has no order with that: {self.values()}") from None

    def _column(self, node: ast.expr) -> _Column:
        name = _dotted(node)
        if name is None:
            raise self._refused(node)
        if name not in self.columns:
            raise self.error(self._unknown(name))
        return self.used.setdefault(name, _Column(name, self.columns[name]))

    def _unknown(self, name: str) -> str:
        known = {column: set(_Column(column, values).values) for column, values in self.columns.items()}
        if any(name in map(str, values) for values in known.values()):
            return f"text goes in quotes: '{name}'"
        vary = self.varying() if self.varying else [column for column, values in known.items() if len(values) > 1]
        there_are = ", ".join(vary[:_COLUMNS]) + ", ..." * (len(vary) > _COLUMNS) or "none"
        return f"no config column {shown(name)!r}: {did_you_mean(name, self.columns)}These vary here: {there_are}"

    def _value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return _bounded(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return _bounded(-value)
            case ast.Name(id=name) if name in _NAMED:
                return _NAMED[name]
            case ast.Name() | ast.Attribute():
                self._column(node)  # says what is wrong with the name, if anything is
                raise self.error(f"{_written_node(node)} is a column; a list holds numbers and texts in quotes")
        raise self._refused(node)

    def _refused(self, node: ast.expr) -> UserError:
        joined = "; join comparisons by and, or, not" if isinstance(node, ast.BinOp) else ""
        return self.error(f"{_written_node(node)!r} is not allowed here: only comparisons, and, or, not, in{joined}")


def _known(value: Value, as_text: bool) -> Value:
    if value is None or value != value:
        return None
    return str(value) if as_text else value


def _number(value: Value) -> float | None:
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if math.isnan(found) else found


def _bounded(value: Value) -> Value:
    """Return a whole number that no column can hold as the nearest one that has a place among them."""
    if not isinstance(value, int) or value.bit_length() <= _BITS:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _written_node(node: ast.expr) -> str:
    return shown(ast.unparse(node))


def _is_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant | ast.UnaryOp) or (isinstance(node, ast.Name) and node.id in _NAMED)


def _dotted(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=last):
            before = _dotted(inner)
            return None if before is None else f"{before}.{last}"
    return None
