"""The filter: what it keeps is what Python keeps, row by row; nothing but comparisons has a meaning."""

import pandas as pd
import pytest

from ltsweep.words import shown
from multirun_analysis import where
from multirun_analysis.errors import AnalysisError
from multirun_analysis.load import Study


@pytest.fixture
def study() -> Study:
    """Six cells as a table, with a record or two of each; the gain is a number or a word."""
    cells = pd.DataFrame(
        {
            "key": list("abcdef"),
            "status": pd.Categorical(["done"] * 5 + ["failed"]),
            "seed": [0, 1, 2, 0, 1, 2],
            "lr": [1.2e-3] * 3 + [0.1] * 3,
            "nesterov": [True, False] * 3,
            "init": pd.Categorical(["xavier_u", "kaiming_n", None] * 2),
            "init.gain": pd.Categorical(["1.0", "relu", "2"] * 2),
            "init.slope": [0.05, None, None] * 2,
        }
    )
    records = pd.DataFrame({"key": pd.Categorical(list("aabcdef"))})
    return Study(None, cells, records, records.iloc[1:], records.iloc[2:])


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        ("seed < 2", "abde"),
        ("0 < seed <= 2", "bcef"),
        ("2 > seed", "abde"),
        ("lr == 0.1 and not seed == 0", "ef"),
        ("lr == 1.2e-3 or seed == 2", "abcf"),
        ("init == 'xavier_u'", "ad"),
        ("init != 'xavier_u'", "bcef"),
        ("init in ['xavier_u', 'kaiming_n'] and seed in (0, 1)", "abde"),
        ("seed not in [0, 1]", "cf"),
        ("init == null", "cf"),
        ("init.slope != None", "ad"),
        ("init.slope < 1", "ad"),
        ("init.gain == 'relu'", "be"),
        ("init.gain == 1", "ad"),
        ("init.gain >= 1", "acdf"),
        ("nesterov", "ace"),
        ("not nesterov and lr > 1e-2", "df"),
        ("nesterov == false", "bdf"),
        ("seed > -1", "abcdef"),
        ("init < 'x'", "be"),
        ("init.slope < lr", "d"),
        ("seed < " + "9" * 4000, "abcdef"),
        ("lr < " + "9" * 300, "abcdef"),
        ("seed > -" + "9" * 400, "abcdef"),
        ("status == 'failed' or key == 'a'", "af"),
        (" ( seed == 0 ) ", "ad"),
    ],
)
def test_what_is_kept(study: Study, expression: str, keys: str) -> None:
    found = where.only(study, expression)
    assert "".join(found.cells["key"]) == keys
    assert "".join(found.levels["key"].astype("str")) == "".join(key for key in "aabcdef" if key in keys)
    assert "".join(found.evaluations["key"].astype("str")) == keys
    assert "".join(found.readings["key"].astype("str")) == keys.removeprefix("a")


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("sed < 3", "no config column 'sed': did you mean seed? These vary here: "),
        ("init == xavier_u", "text goes in quotes: 'xavier_u'"),
        ("init == 3", "init is text, and text goes in quotes: init is kaiming_n, xavier_u, null"),
        ("lr == '0.1'", "lr is no text, so no quotes: lr is 0.0012, 0.1"),
        ("seed > 5", "holds for none of the 6 cells; seed is 0, 1, 2"),
        ("init", "init is neither true nor false; compare it: init is kaiming_n, xavier_u, null"),
        ("seed < 3 & lr > 0", "'3 & lr' is not allowed here: only comparisons, and, or, not, in; join comparisons by"),
        ("seed <", "cannot be read (invalid syntax); write it like"),
        ("", "cannot be read (invalid syntax); write it like"),
        ("(" * 500 + "seed" + ")" * 500, "cannot be read (too many nested parentheses)"),
        ("seed = 3", "cannot be read"),
        ("seed is 3", "compare with ==, !=, <, <=, >, >= or in"),
        ("seed in 3", "`in` takes a list, such as seed in [0, 1]"),
        ("3 < 4", "3 is compared with 4, and no config column with either"),
        ("seed < null", "null has no order; use == or !="),
        ("@seed < 3", "cannot be read"),
        ("lr < nesterov.x", "no config column 'nesterov.x'"),
        ("init < seed", "init has no order with that: init is kaiming_n, xavier_u, null; seed is 0, 1, 2"),
        ("seed in [seed]", "seed is a column; a list holds numbers and texts in quotes"),
        # Whatever could run code, or look inside an object, has no meaning.
        ("__import__('os').getpid() > 0", "\"__import__('os').getpid()\" is not allowed here"),
        ("seed.__class__ == 'x'", "no config column 'seed.__class__'"),
        ("init.str.len() > 3", "'init.str.len()' is not allowed here"),
        ("[s for s in (1, 2)] == seed", "'[s for s in (1, 2)]' is not allowed here"),
        ("seed == (lambda x: 0)", "'lambda x: 0' is not allowed here"),
        ("seed[0] == 1", "'seed[0]' is not allowed here"),
        ("seed ** 9999999 > 1", "'seed ** 9999999' is not allowed here"),
        ("seed == f'{lr}'", "\"f'{lr}'\" is not allowed here"),
        ("(x := 3) == seed", "'(x := 3)' is not allowed here"),
        ("lr < " + "9" * 5000, "cannot be read (Exceeds the limit (4300 digits)"),
        ("not " * 10_000 + "seed < 3", "cannot be read ("),
        ("seed" + ".a" * 10_000 + " < 3", "cannot be read ("),
        ("seed" + ".a" * 900 + " < 3", "no config column 'seed.a.a"),
        (" or ".join(["seed > 9"] * 20_000), "is longer than 100,000 characters"),
        ("init == '\\d\udcff'", "cannot be read ("),
    ],
)
def test_anything_else_is_one_line_that_says_why(study: Study, expression: str, says: str) -> None:
    with pytest.raises(AnalysisError) as raised:
        where.only(study, expression)
    message = str(raised.value)
    assert message.startswith(f"--where {shown(expression)!r}: {says}")
    assert len(message) < 1_000
    assert "\n" not in message


def test_a_filter_of_a_real_study_is_that_of_a_loop(mixed: Study) -> None:
    found = where.only(mixed, "lr > 1e-2 and init in ['xavier_u', 'kaiming_u'] and seed < 2")
    rows = [
        row
        for row in mixed.cells.to_dict("records")
        if row["lr"] == 0.1 and row["init"] in ("xavier_u", "kaiming_u") and row["seed"] in (0, 1)
    ]
    assert found.cells["key"].tolist() == [row["key"] for row in rows]
    assert len(rows) == 4
    assert len(found.levels) == sum(key in {row["key"] for row in rows} for key in mixed.levels["key"])
