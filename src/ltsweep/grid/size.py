"""The number of cells of a grid, before any is made: range(10000000000) is short to write."""

import math
from collections.abc import Iterable
from fractions import Fraction

from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep

from ltsweep.errors import UserError
from ltsweep.grid.rules import whole
from ltsweep.words import shown

_MOST = whole(1, 1_000_000_000)

# Number of cells up to which a message gives it.
_WRITTEN = 10**15


def check_size(overrides: Iterable[Override], most: object) -> None:
    """Raise UserError if the product of the sweeps has more than `most` cells; of one name the last sweep counts."""
    if not _MOST.holds(most):
        raise UserError(f"max_cells={shown(most)} is out of range: max_cells is {_MOST.allowed}")
    assert isinstance(most, int)
    cells = math.prod({override.get_key_element(): count_values(override) for override in overrides}.values())
    if cells > most:
        found = f"{cells:,}" if cells <= _WRITTEN else f"over {_WRITTEN:,}"
        raise UserError(
            f"the grid has {found} cells, more than max_cells={most:,}; take fewer values, or a larger max_cells"
        )


def count_values(override: Override) -> int:
    """Return the number of values of an override, without making them. Raises UserError for a range without an end."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if isinstance(value, RangeSweep):
        ends = (value.start, value.stop, value.step)
        if not all(isinstance(end, int) or (end is not None and math.isfinite(end)) for end in ends) or not value.step:
            raise UserError(f"{shown(override.input_line)}: a range has two ends and a step other than 0")
        start, stop, step = (Fraction(end) for end in ends if end is not None)
        return max(0, math.ceil((stop - start) / step))
    return 1
