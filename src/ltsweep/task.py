"""The name under which pickles of queued Slurm tasks know their class, wherever it is written."""

from ltsweep.cluster.node import Task

__all__ = ["Task"]
