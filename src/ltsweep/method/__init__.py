"""Methods: what a level trains, from where, under which mask."""

from ltsweep.method.axes import TICKET, Arm, Past
from ltsweep.method.imp import IMP

__all__ = ["IMP", "TICKET", "Arm", "Past"]
