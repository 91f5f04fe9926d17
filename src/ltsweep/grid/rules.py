"""Rules for values of a config: a test, and in words what passes it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """holds: whether a value is allowed. allowed: what is, in words that follow `NAME is`."""

    holds: Callable[[Any], bool]
    allowed: str

    def in_words(self, allowed: str) -> "Rule":
        """Return the same test with other words."""
        return Rule(self.holds, allowed)


def whole(low: int, high: int) -> Rule:
    """Allow whole numbers from `low` to `high`."""

    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Rule(holds, f"a whole number from {low:,} to {high:,}")


def number(low: float, high: float, *, above: bool = False, below: bool = False) -> Rule:
    """Allow finite numbers from `low` to `high`; `above` and `below` leave out the ends."""

    def holds(value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return False
        return (low < value if above else low <= value) and (value < high if below else value <= high)

    return Rule(holds, f"a number {'above' if above else 'from'} {low:g} {'and below' if below else 'to'} {high:g}")


def flag() -> Rule:
    """Allow true and false."""
    return Rule(lambda value: isinstance(value, bool), "true or false")


def one_of(*choices: str) -> Rule:
    """Allow these names."""
    return Rule(lambda value: value in choices, f"one of {', '.join(choices)}")


def text() -> Rule:
    """Allow a line of text that is not blank."""
    return Rule(lambda value: isinstance(value, str) and bool(value.strip()) and "\n" not in value, "a line of text")


def lines() -> Rule:
    """Allow a list of lines."""
    return Rule(
        lambda value: isinstance(value, list) and all(isinstance(line, str) and "\n" not in line for line in value),
        "a list of lines",
    )


def either(special: str | None, rule: Rule) -> Rule:
    """Allow one special value, such as `auto` or null, and all that another rule allows."""
    words = "null" if special is None else special
    return Rule(
        lambda value: (value is None if special is None else value == special) or rule.holds(value),
        f"{words}, or {rule.allowed}",
    )
