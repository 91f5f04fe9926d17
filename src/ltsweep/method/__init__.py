"""Methods: which networks a level trains, from which weights, under which masks."""

from ltsweep.method.at_init import AtInit
from ltsweep.method.axes import TICKET, Arm, Past
from ltsweep.method.edge_popup import EdgePopup
from ltsweep.method.imp import IMP
from ltsweep.method.transfer import Transfer

__all__ = ["IMP", "TICKET", "Arm", "AtInit", "EdgePopup", "Past", "Transfer"]
