"""The name under which pickles of queued Slurm tasks know a cell, wherever the class is written."""

from ltsweep.grid.cell import Cell

__all__ = ["Cell"]
