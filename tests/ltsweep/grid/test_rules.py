import pytest

from ltsweep.errors import UserError
from ltsweep.grid.rules import rule_from

RULES = [
    ({"whole": [1, 5]}, [1, 5], [0, 6, 1.0, True, "1", None], "a whole number from 1 to 5"),
    ({"number": [0, 1]}, [0, 1, 0.5], [-0.1, 1.1, 10**400, "x", None, True, float("nan")], "a number from 0 to 1"),
    ({"number": [0, 1], "without": [0, 1]}, [0.5], [0, 1], "a number above 0 and below 1"),
    ({"one_of": ["relu", "tanh"]}, ["relu"], ["gelu", None, 1], "one of relu, tanh"),
    ({"flag": True}, [True, False], [0, 1, None, "yes"], "true or false"),
    ({"each": {"whole": [1, 2]}}, [[], [1, 2]], [[3], 1, None, "12"], "a list, each of it a whole number from 1 to 2"),
    ({"null_or": {"whole": [1, 2]}}, [None, 1], [0, []], "null, or a whole number from 1 to 2"),
]


@pytest.mark.parametrize(("given", "good", "bad", "words"), RULES, ids=lambda value: str(value)[:20])
def test_a_rule_of_a_yaml_allows_what_it_says(given, good, bad, words):
    rule = rule_from("model.depth", given)
    assert all(rule.holds(value) for value in good)
    assert not any(rule.holds(value) for value in bad)
    assert rule.allowed == words


@pytest.mark.parametrize(
    "given",
    [None, 3, {}, {"whole": 3}, {"whole": [1]}, {"whole": [1, 2], "number": [1, 2]}, {"number": [0, 1], "without": [2]},
     {"one_of": []}, {"each": {"some": 1}}, {"number": ["a", "b"]}],
)  # fmt: skip
def test_what_is_no_rule_is_one_line(given):
    with pytest.raises(UserError, match=r"^the rule of model\.depth is .*; it is one of \{whole: \[LOW, HIGH\]\}"):
        rule_from("model.depth", given)
