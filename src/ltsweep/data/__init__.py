"""What is learned: data sets, each a short function and a YAML in conf/dataset/."""

from ltsweep.data.embedded import digits
from ltsweep.data.examples import Examples
from ltsweep.data.mnist import torchvision_mnist

# The name that data sets of one's own know it by.
Dataset = Examples

__all__ = ["Dataset", "Examples", "digits", "torchvision_mnist"]
