"""Studies that figures have to bear: from one cell to seventy-two with controls, and sixty choices."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from ltsweep.schema import DIVERGED, REINIT, TICKET

Write = Callable[..., str]

INITS = ("xavier_u", "xavier_n", "kaiming_u", "kaiming_n", "lecun_u", "lecun_n")


def _one_cell(write: Write, study: Path) -> None:
    write(study, levels=6, epochs=3, tickets=True)


def _one_seed(write: Write, study: Path) -> None:
    for init, lr in itertools.product(INITS[:3], (1.2e-3, 0.1)):
        write(study, init=init, lr=lr, levels=6, epochs=3, tickets=True, arms={TICKET: 1, REINIT: 1})


def _six_by_two(write: Write, study: Path) -> None:
    for init, lr, seed in itertools.product(INITS, (1.2e-3, 0.01), range(3)):
        write(study, init=init, lr=lr, seed=seed, levels=12, epochs=4, tickets=not seed)


def _seventy_two(write: Write, study: Path) -> None:
    arms = {TICKET: 1, REINIT: 2}
    for init, lr, rate, seed in itertools.product(INITS[:4], (1.2e-3, 0.01, 0.1), (0.2, 0.5), range(3)):
        write(study, init=init, lr=lr, prune_rate=rate, seed=seed, levels=6, epochs=3, arms=arms, tickets=not seed)


def _sixty_choices(write: Write, study: Path) -> None:
    for n in range(60):
        write(study, init=f"my_init_{n:02d}_n", levels=3, epochs=2, tickets=True)


def _diverged(write: Write, study: Path) -> None:
    for init, seed in itertools.product(INITS[:2], range(3)):
        write(study, init=init, seed=seed, levels=6, epochs=3, tickets=True)
    write(study, init="xavier_u", seed=3, levels=6, epochs=3, status=DIVERGED, last=2, error="loss is nan")
    write(study, init="kaiming_u", seed=0, levels=6, epochs=3, status=DIVERGED, last=3, error="loss is nan")


def _schedules(write: Write, study: Path) -> None:
    step = {"lr__name": "step", "lr__milestones": [0.6667, 0.8333], "lr__gamma": 0.1, "lr__warmup": 0}
    for seed in range(2):
        for schedule in (step, {"lr__name": "cosine", "lr__warmup": 0}, {}):
            write(study, levels=6, epochs=3, seed=seed, tickets=True, **schedule)


CASES: dict[str, Callable[[Write, Path], None]] = {
    "one_cell": _one_cell,
    "one_seed": _one_seed,
    "six_by_two": _six_by_two,
    "seventy_two": _seventy_two,
    "sixty_choices": _sixty_choices,
    "diverged": _diverged,
    "schedules": _schedules,
}


@pytest.fixture(scope="session", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, write: Write) -> Path:
    """Return the folder of each study in turn."""
    study = tmp_path_factory.mktemp("cases") / request.param
    CASES[request.param](write, study)
    return study
