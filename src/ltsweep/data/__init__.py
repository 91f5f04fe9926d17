"""Data sets, each a short function and a YAML in conf/dataset/."""

from ltsweep.data.embedded import digits
from ltsweep.data.examples import Examples
from ltsweep.data.mnist import torchvision_mnist

# The name by which users' own data sets import `Examples`.
Dataset = Examples

__all__ = ["Dataset", "Examples", "digits", "torchvision_mnist"]
