"""The name under which tasks that were queued by earlier versions know themselves."""

from ltsweep.cluster.node import Task

__all__ = ["Task"]
