"""A filter over cells: comparisons of config values, joined by `and`, `or`, `not`. No part of it is executed."""

import ast
import dataclasses
import math
import operator
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd

from ltsweep.words import shown
from multirun_analysis import view
from multirun_analysis.errors import AnalysisError
from multirun_analysis.load import Study

# Types that a config value may be compared with.
Value = str | int | float | bool | None

# Values that an expression may write as YAML does.
_NAMED: dict[str, Value] = {"null": None, "true": True, "false": False}

# Columns that are not config values and may be compared all the same.
_ALSO = ("key", "status")

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

# Values of a column that an error lists.
_SHOWN = 8


def only(study: Study, expression: str) -> Study:
    """Return the cells of a study for which `expression` holds, and their records.

    The expression is over config values by their dotted names, `key` and `status`: `seed < 3 and init in ['a', 'b']`.
    Raises AnalysisError for anything but comparisons, `and`, `or`, `not`, `in` and literals, for an unknown column,
    and where no cell is left.
    """
    asked = _Question(study.cells, expression)
    kept = study.cells[asked.answer()]
    if kept.empty:
        raise asked.error(f"holds for none of the {len(study.cells)} cells; {asked.values()}")
    keys = set(kept["key"])
    return dataclasses.replace(
        study,
        cells=kept.reset_index(drop=True),
        levels=_of(study.levels, keys),
        evaluations=_of(study.evaluations, keys),
        readings=_of(study.readings, keys),
    )


def _of(records: pd.DataFrame, keys: set[str]) -> pd.DataFrame:
    return records[records["key"].isin(keys)].reset_index(drop=True)


class _Question:
    """One expression and the cells it is about. Nodes of its syntax tree that are not named here are refused."""

    def __init__(self, cells: pd.DataFrame, expression: str) -> None:
        self.cells, self.expression = cells, expression
        self.used: dict[str, None] = {}

    def answer(self) -> pd.Series:
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

    def error(self, says: str) -> AnalysisError:
        """Return the error that quotes the expression."""
        return AnalysisError(f"--where {shown(self.expression)!r}: {says}")

    def values(self) -> str:
        """Return the values that the columns of the expression have, as text for an error."""
        return "; ".join(f"{name} is {_listed(self.cells[name])}" for name in self.used)

    def _truth(self, node: ast.expr) -> pd.Series:
        match node:
            case ast.BoolOp(op=joint, values=parts):
                join = operator.and_ if isinstance(joint, ast.And) else operator.or_
                found = self._truth(parts[0])
                for part in parts[1:]:
                    found = join(found, self._truth(part))
                return found
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self._truth(operand)
            case ast.Compare(left=first, ops=ops, comparators=others):
                found = pd.Series(True, index=self.cells.index)
                for left, op, right in zip([first, *others], ops, others, strict=False):
                    found &= self._compared(left, op, right)
                return found
            case ast.Name() | ast.Attribute():
                column = self._column(node)
                if column.dtype == bool:
                    return column
                raise self.error(f"{_written_node(node)} is neither true nor false; compare it: {self.values()}")
        raise self._refused(node)

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pd.Series:
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set):
                raise self.error("`in` takes a list, such as seed in [0, 1]")
            column = self._column(left)
            found = pd.Series(False, index=self.cells.index)
            for item in right.elts:
                found |= self._against(column, operator.eq, self._value(item))
            return found if isinstance(op, ast.In) else ~found
        if type(op) not in _COMPARE:
            raise self.error("compare with ==, !=, <, <=, >, >= or in")
        compare = _COMPARE[type(op)]
        match _is_literal(left), _is_literal(right):
            case False, False:
                return self._ordered(compare, _plain(self._column(left)), _plain(self._column(right)))
            case False, True:
                return self._against(self._column(left), compare, self._value(right))
            case True, False:
                return self._against(self._column(right), _SWAPPED.get(compare, compare), self._value(left))
        raise self.error(
            f"{_written_node(left)} is compared with {_written_node(right)}, and no config column with either"
        )

    def _against(self, column: pd.Series, compare: Callable[[Any, Any], Any], value: Value) -> pd.Series:
        if value is None:
            if compare not in (operator.eq, operator.ne):
                raise self.error("null has no order; use == or !=")
            return column.isna() if compare is operator.eq else column.notna()
        if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object or column.dtype == "str":
            if isinstance(value, bool):
                return self._ordered(compare, _plain(column), str(value))
            if isinstance(value, str):
                return self._ordered(compare, _plain(column), value)
            # One config may give a number where another gives a word, as init.gain does.
            numbers = pd.to_numeric(_plain(column), errors="coerce")
            if numbers.notna().any():
                return self._ordered(compare, numbers, value)
            raise self.error(f"{column.name} is text, and text goes in quotes: {self.values()}")
        if isinstance(value, str):
            raise self.error(f"{column.name} is no text, so no quotes: {self.values()}")
        return self._ordered(compare, column, value)

    def _ordered(self, compare: Callable[[Any, Any], Any], left: pd.Series, right: Any) -> pd.Series:
        try:
            found: pd.Series = compare(left, right)
        except TypeError:
            raise self.error(f"{left.name} has no order with that: {self.values()}") from None
        return found.fillna(False).astype(bool)

    def _column(self, node: ast.expr) -> pd.Series:
        name = _dotted(node)
        if name is None:
            raise self._refused(node)
        if name not in _ALSO:
            try:
                view.check_column(name, self.cells)
            except AnalysisError as error:
                quotes = f"text goes in quotes: '{name}'" if self._is_text(name) else str(error)
                raise self.error(quotes) from None
        self.used[name] = None
        return self.cells[name]

    def _is_text(self, name: str) -> bool:
        return any(name in set(self.cells[column].astype("str")) for column in view.config_columns(self.cells))

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

    def _refused(self, node: ast.expr) -> AnalysisError:
        joined = "; join comparisons by and, or, not" if isinstance(node, ast.BinOp) else ""
        return self.error(f"{_written_node(node)!r} is not allowed here: only comparisons, and, or, not, in{joined}")


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


def _plain(column: pd.Series) -> pd.Series:
    return column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column


def _listed(column: pd.Series) -> str:
    found = column.drop_duplicates().sort_values()
    names = [_written(value) for value in found.astype(object)]
    return ", ".join(names[:_SHOWN]) + (", ..." if names[_SHOWN:] else "")


def _written(value: object) -> str:
    if value is None or value != value:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value)
