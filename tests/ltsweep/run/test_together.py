"""What torchrun's processes are refused: anything but one cell whose batches fall into equal parts."""

import pytest

from ltsweep.engine.problem import Part
from ltsweep.errors import UserError
from ltsweep.grid.cell import from_config
from ltsweep.run import together
from ltsweep.run.build import load_data


@pytest.mark.parametrize(
    ("overrides", "cells", "says"),
    [
        ((), 2, r"^torchrun's 3 processes train one cell together, and the grid has 2; without torchrun, several GPUs"),
        (("batch_size=10",), 1, r"^batch_size=10 is not divisible by 3, the number of torchrun's processes$"),
        (("validation=199",), 1, r"^the last batch of an epoch has 2 of 6 examples, .* 3 processes; validation=201 "),
        ((), 1, None),  # of 1,437 - 198 examples the last batch has 3
    ],
    ids=["cells", "batch", "last batch", "nothing"],
)
def test_what_cannot_be_shared_is_one_line(compose, tmp_path, monkeypatch, overrides, cells, says):
    every = ("dataset=digits", "batch_size=6", "validation=198", *overrides)
    grid = [from_config(compose(*every, f"seed={seed}")) for seed in range(cells)]
    data = load_data(grid, tmp_path)
    together.check_together(grid, data)  # a process alone trains anything
    monkeypatch.setattr(together, "part", lambda: Part(0, 3))
    if says is None:
        together.check_together(grid, data)
        return
    with pytest.raises(UserError, match=says) as refused:
        together.check_together(grid, data)
    assert "\n" not in str(refused.value)
