"""The filter over plain columns. The analysis' tests hold its language; here is what columns without types add."""

import pytest

from ltsweep.errors import UserError
from ltsweep.grid.where import chosen

COLUMNS = {
    "seed": [0, 1, None],
    "init": ["he_n", "xavier_u", None],
    "init.gain": ["relu", 1.5, None],
    "flag": [True, False, None],
    "status": ["done", "failed", "unreadable"],
    "odd": [{"name": 1}, {"name": 1}, {"name": 1}],  # as a stranger's config may have it
}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("seed < 1", [True, False, False]),
        ("seed != 0", [False, True, True]),
        ("seed == null", [False, False, True]),
        ("init.gain > 1", [False, True, False]),
        ("init.gain == 'relu'", [True, False, False]),
        ("flag == true", [True, False, False]),
        ("status in ['failed', 'unreadable'] and not seed == 1", [False, False, True]),
    ],
)
def test_what_holds(expression, found):
    assert chosen(COLUMNS, expression) == found


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("sed < 1", "no config column 'sed': did you mean seed? These vary here: seed, init, init.gain, flag, status"),
        ("status == done", "text goes in quotes: 'done'"),
        ("init=he_n", "cannot be read (invalid syntax"),
        ("seed > 3", "holds for none of the 3 cells; seed is 0, 1, null"),
        ("flag", "flag is neither true nor false; compare it: flag is False, True, null"),
    ],
)
def test_a_mistake_is_a_line(expression, says):
    with pytest.raises(UserError) as raised:
        chosen(COLUMNS, expression)
    assert str(raised.value).startswith(f"--where {expression!r}: {says}")
