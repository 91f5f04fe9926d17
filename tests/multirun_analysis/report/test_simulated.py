"""What the page says of studies with known effects is seldom wrong: a small version of the committed table."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "simulate_report.py"


@pytest.fixture(scope="module")
def simulate() -> ModuleType:
    found = importlib.util.spec_from_file_location("simulate_report", SCRIPT)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(("choices", "seeds"), [(2, 3), (4, 5)])
def test_words_are_seldom_wrong_and_see_what_is_there(simulate: ModuleType, choices: int, seeds: int) -> None:
    found = simulate.rates(choices, seeds, 120)
    # 5 % of 120 studies is 6, and 14 or more come by chance in 0.3 %.
    for name in ("none: better, over all", "none: better, in a setting", "none: depends", "half: wrong", "edge: small"):
        assert found[name] <= 13 / 120, name
    assert found["half: better, over all"] > 0.8
    assert found["half: better, in a setting"] < found["half: better, over all"] - 0.1
    assert found["none: small"] > 0.8


def test_the_same_seed_gives_the_same_table(simulate: ModuleType) -> None:
    assert simulate.rates(2, 3, 5) == simulate.rates(2, 3, 5)
