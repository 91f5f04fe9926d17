"""Rules for values of a config: each a test, and the allowed values in words."""

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from ltsweep.errors import UserError
from ltsweep.words import shown

# Characters of the name of a choice, and dimensions of an example.
_LONGEST, _DIMENSIONS = 64, 8


class Rule(NamedTuple):
    """holds: the test of a value. allowed: the allowed values, in words that follow `NAME is`."""

    holds: Callable[[Any], bool]
    allowed: str

    def in_words(self, allowed: str) -> "Rule":
        """Return the rule of the same test with other words."""
        return Rule(self.holds, allowed)


def whole(low: int, high: int) -> Rule:
    """Return the rule that allows whole numbers from `low` to `high`."""

    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Rule(holds, f"a whole number from {low:,} to {high:,}")


def number(low: float, high: float, *, above: bool = False, below: bool = False) -> Rule:
    """Return the rule that allows finite numbers from `low` to `high`; `above` and `below` exclude the ends.

    A whole number that no float holds is not finite.
    """

    def holds(value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
            return False
        return (low < value if above else low <= value) and (value < high if below else value <= high)

    end = f" {'and below' if below else 'to'} {high:g}" if math.isfinite(high) else " that is finite"
    return Rule(holds, f"a number {'above' if above else 'from'} {low:g}{end}")


def flag() -> Rule:
    """Return the rule that allows true and false."""
    return Rule(lambda value: isinstance(value, bool), "true or false")


def one_of(*choices: str) -> Rule:
    """Return the rule that allows these names."""
    return Rule(lambda value: value in choices, f"one of {', '.join(choices)}")


def text() -> Rule:
    """Return the rule that allows a line of text that is not blank."""
    return Rule(lambda value: isinstance(value, str) and bool(value.strip()) and "\n" not in value, "a line of text")


def name_of() -> Rule:
    """Return the rule that allows names of choices: short ones, of which a file's name can be made."""

    def holds(value: Any) -> bool:
        return text().holds(value) and len(value) <= _LONGEST and value.isprintable() and "/" not in value

    return Rule(holds, f"a name of up to {_LONGEST} printable characters, without '/'")


def shape(size: Rule) -> Rule:
    """Return the rule that allows the shape of a tensor of one to eight dimensions."""
    return Rule(
        lambda value: each(size).holds(value) and 1 <= len(value) <= _DIMENSIONS,
        f"a list of 1 to {_DIMENSIONS} sizes, each {size.allowed}",
    )


def lines() -> Rule:
    """Return the rule that allows a list of lines."""
    return Rule(
        lambda value: isinstance(value, list) and all(isinstance(line, str) and "\n" not in line for line in value),
        "a list of lines",
    )


def either(special: str | None, rule: Rule) -> Rule:
    """Return the rule that allows a special value, null for None, and all that another rule allows."""
    words = "null" if special is None else special
    return Rule(
        lambda value: (value is None if special is None else value == special) or rule.holds(value),
        f"{words}, or {rule.allowed}",
    )


def each(rule: Rule) -> Rule:
    """Return the rule that allows lists whose elements all pass another rule."""
    return Rule(
        lambda value: isinstance(value, list) and all(rule.holds(one) for one in value),
        f"a list, each of it {rule.allowed}",
    )


def any_of(*rules: Rule) -> Rule:
    """Return the rule that allows all that one of several rules allows."""
    return Rule(lambda value: any(rule.holds(value) for rule in rules), ", or ".join(rule.allowed for rule in rules))


def once(*choices: str) -> Rule:
    """Return the rule that allows lists of some of these names, each at most once."""
    return Rule(
        lambda value: isinstance(value, list) and all(value.count(one) == 1 and one in choices for one in value),
        f"a list of some of {', '.join(choices)}, each once",
    )


def rule_from(name: str, given: object) -> Rule:
    """Return the rule that a YAML gives for field `name`. Raises UserError for any form but these.

    `{whole: [1, 100]}`, `{number: [0, 1]}`, `{number: [0, 1], without: [0]}` (an end that is not allowed itself),
    `{one_of: [relu, tanh]}`, `{flag: true}`, `{each: RULE}` for a list, `{null_or: RULE}`.
    """
    match given:
        case {"whole": [int(low), int(high)], **rest} if not rest:
            return whole(low, high)
        case {"number": [int() | float() as low, int() | float() as high], **rest} if rest.keys() <= {"without"}:
            ends = rest.get("without", [])
            if isinstance(ends, list) and set(ends) <= {low, high}:
                return number(low, high, above=low in ends, below=high in ends)
        case {"one_of": [*choices], **rest} if choices and not rest:
            return one_of(*map(str, choices))
        case {"flag": True, **rest} if not rest:
            return flag()
        case {"each": inner, **rest} if not rest:
            return each(rule_from(name, inner))
        case {"null_or": inner, **rest} if not rest:
            return either(None, rule_from(name, inner))
    raise UserError(
        f"the rule of {name} is {shown(given)}; it is one of {{whole: [LOW, HIGH]}}, {{number: [LOW, HIGH]}}, "
        "{one_of: [NAME, ...]}, {flag: true}, {each: RULE}, {null_or: RULE}"
    )
