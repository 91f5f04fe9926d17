"""Methods: what a level trains, from where, under which mask."""

from ltsweep.method.imp import IMP

__all__ = ["IMP"]
