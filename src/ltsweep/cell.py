"""The name under which Slurm tasks that earlier versions queued know a cell."""

from ltsweep.grid.cell import Cell

__all__ = ["Cell"]
