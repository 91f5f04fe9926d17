"""Data sets, each a short function and a YAML in conf/dataset/."""

from ltsweep.data.cifar import torchvision_cifar, torchvision_svhn
from ltsweep.data.embedded import digits
from ltsweep.data.environments import Acrobot, CartPole
from ltsweep.data.episodes import games
from ltsweep.data.examples import Examples
from ltsweep.data.folder import image_folder
from ltsweep.data.mnist import torchvision_mnist
from ltsweep.data.scale import scale
from ltsweep.data.streamed import imagenet
from ltsweep.data.text import Text, characters, words

# The name by which users' own data sets import `Examples`.
Dataset = Examples

__all__ = [
    "Acrobot",
    "CartPole",
    "Dataset",
    "Examples",
    "Text",
    "characters",
    "digits",
    "games",
    "image_folder",
    "imagenet",
    "scale",
    "torchvision_cifar",
    "torchvision_mnist",
    "torchvision_svhn",
    "words",
]
