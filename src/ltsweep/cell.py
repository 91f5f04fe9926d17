"""The name under which tasks that were queued by earlier versions know a cell."""

from ltsweep.grid.cell import Cell

__all__ = ["Cell"]
