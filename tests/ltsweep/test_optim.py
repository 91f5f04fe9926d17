import math

import pytest
import torch

from ltsweep.optim import constant, cosine, step

STEPS = 60


def stock(make, value):
    """Return the rates of a stock torch scheduler over STEPS steps."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=value)
    scheduler = make(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_constant():
    assert [constant(i, STEPS, 0.3) for i in range(STEPS)] == [0.3] * STEPS


@pytest.mark.parametrize("schedule", [constant, cosine, step])
def test_warmup_is_a_straight_line_to_the_value_that_starts_above_zero(schedule):
    rates = [schedule(i, STEPS, 0.5, warmup=20) for i in range(20)]
    assert rates == pytest.approx([0.5 * (i + 1) / 20 for i in range(20)], rel=1e-12)
    assert rates[19] == 0.5


def test_constant_stays_after_its_warmup():
    assert [constant(i, STEPS, 0.5, warmup=20) for i in range(20, STEPS)] == [0.5] * 40


def test_step_equals_the_stock_scheduler():
    rates = [step(i, STEPS, 0.1, milestones=[0.5, 0.75], gamma=0.2) for i in range(STEPS)]
    expected = stock(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [30, 45], 0.2), 0.1)
    assert rates == pytest.approx(expected, rel=1e-12)
    assert len({round(rate, 9) for rate in rates}) == 3


def test_step_milestones_are_fractions_of_the_level():
    # 2/3 and 5/6 of 30,000 iterations: the drops of the paper's ResNet-18
    drops = [
        i for i in range(1, 30_000) if step(i, 30_000, 1.0, (2 / 3, 5 / 6)) < step(i - 1, 30_000, 1.0, (2 / 3, 5 / 6))
    ]
    assert drops == [20_000, 25_000]
    # 0.29 of 100 is 29, though binary arithmetic makes it 28.999999999999996
    assert [step(i, 100, 1.0, (0.29,)) for i in (28, 29)] == [1.0, 0.1]


def test_cosine_equals_the_stock_scheduler():
    rates = [cosine(i, STEPS, 0.1) for i in range(STEPS)]
    expected = stock(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS), 0.1)
    assert rates == pytest.approx(expected, rel=1e-9)


def test_cosine_after_a_warmup_falls_from_the_value_to_almost_zero():
    rates = [cosine(i, STEPS, 0.1, warmup=10) for i in range(10, STEPS)]
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * i / 50)) for i in range(50)], rel=1e-12)
    assert rates[0] == 0.1
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("schedule", [constant, cosine, step])
def test_a_rate_is_proportional_to_its_value(schedule):
    for i in range(STEPS):
        assert schedule(i, STEPS, 0.6, warmup=5) == pytest.approx(3 * schedule(i, STEPS, 0.2, warmup=5), rel=1e-12)


def test_cosine_with_a_warmup_as_long_as_the_level():
    assert [cosine(i, 4, 1.0, warmup=4) for i in range(4)] == [0.25, 0.5, 0.75, 1.0]
