"""Numbers as they are written on the page."""

import math

import pytest

from multirun_analysis.claims import Claim
from multirun_analysis.metrics import of
from multirun_analysis.pairing import Side
from multirun_analysis.report import form

ACCURACY = of("test_accuracy")


def claim(**changes: object) -> Claim:
    return Claim(
        **{
            "name": "c",
            "source": "s",
            "text": "t",
            "compare": ((Side(), Side(dense=True)),),
            "remaining": 0.21,
            "direction": "greater",
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (form.remaining(0.2107), "21.1 %"),
        (form.score(0.97126, ACCURACY), "97.13 %"),
        (form.difference(-0.0012, ACCURACY), "−0.12"),
        (form.difference(-0.00001, ACCURACY), "0.00"),
        (form.interval(-0.0012, 0.003, ACCURACY), "−0.12 to +0.30"),
        (form.score_interval(0.97, 0.98, ACCURACY), "97.00 to 98.00"),
        (form.p_value(0.0004), "< 0.001"),
        (form.p_value(0.0332), "0.033"),
        (form.score_interval(-0.02, 1.01, ACCURACY), "0.00 to 100.00"),
        (form.size(-0.0052, ACCURACY), "0.52"),
        (form.duration(0.4), "0 s"),
        (form.duration(42), "42 s"),
        (form.duration(59.7), "1 min 00 s"),
        (form.duration(200), "3 min 20 s"),
        (form.duration(3599.6), "1 h 00 min"),
        (form.duration(7510), "2 h 05 min"),
        (form.duration(360000), "100 h 00 min"),
        (form.matches(1.0), "never"),
        (form.matches(0.21), "21 %"),
        (form.several(1, "cell"), "1 cell"),
        (form.several(2, "cell"), "2 cells"),
        (form.pair({"axis": "arm", "left_name": "ticket", "right_name": "random_mask"}), "ticket less random mask"),
        (form.pair({"axis": "init", "left_name": "he_n", "right_name": "he_u"}), "he_n less he_u"),
        (form.count(1234.0), "1,234"),
        (form.count(math.inf), "over 1,000,000"),
        (form.moment("2020-01-31T12:00:00+00:00"), "2020-01-31 12:00:00 UTC"),
        (form.effect(-0.1, claim()), "−10.00 points"),
        (form.effect(-0.38, claim(relative=True)), "−38.0 %"),
        (form.effect(-917.0, claim(metric="early_stop_iteration")), "−917"),
        (form.claim_interval({"low": -0.1, "high": 0.1}, claim()), "−10.00 to +10.00"),
        (form.held_against(claim(value=0.003)), "> +0.30 points"),
        (form.held_against(claim(direction="not_less", margin=0.005)), "> −0.50 points"),
        (form.held_against(claim(direction="not_greater", margin=0.005)), "< +0.50 points"),
        (form.held_against(claim(direction="less")), "< 0"),
        (form.held_against(claim(direction="equal", value=-0.1, margin=0.05)), "between −15.00 and −5.00 points"),
        (
            form.held_against(claim(direction="equal", value=-0.38, margin=0.11, relative=True)),
            "between −49.0 and −27.0 %",
        ),
        (form.of_what(claim()), "test accuracy of arm ticket less dense network"),
        (
            form.of_what(claim(compare=((Side({"init": "he_n"}), Side({"init": "he_u"})),), relative=True)),
            "test accuracy of init=he_n less init=he_u, as a part of the latter",
        ),
        (form.looked_at({"remaining": 0.03518}, claim(remaining="area")), "100 to 3.5 %"),
        (form.looked_at({"remaining": 0.03518}, claim(remaining=(0.388, 0.0))), "38.8 to 3.5 %"),
        (form.looked_at({"remaining": 0.2097}, claim()), "21 %"),
    ],
)
def test_numbers(written: str, wanted: str) -> None:
    assert written == wanted


@pytest.mark.parametrize("write", [form.remaining, form.p_value, form.duration, form.count])
def test_what_is_not_known_is_a_dash(write: object) -> None:
    assert write(math.nan) == form.NONE
    assert form.score(math.nan, ACCURACY) == form.difference(math.nan, ACCURACY) == form.NONE
    assert form.interval(math.nan, 0.1, ACCURACY) == form.NONE
    assert form.effect(math.nan, claim()) == form.NONE
