"""The name under which Slurm tasks that earlier versions queued know their class."""

from ltsweep.cluster.node import Task

__all__ = ["Task"]
