"""Models: each a function that builds one network, and a YAML in conf/model/."""

from ltsweep.models.convolutional import alexnet, conv, lenet5, vgg
from ltsweep.models.dense import lenet_300_100, mlp, residual_mlp
from ltsweep.models.dropout import Dropout
from ltsweep.models.recurrent import lstm
from ltsweep.models.residual import resnet
from ltsweep.models.transformer import transformer

__all__ = [
    "Dropout",
    "alexnet",
    "conv",
    "lenet5",
    "lenet_300_100",
    "lstm",
    "mlp",
    "residual_mlp",
    "resnet",
    "transformer",
    "vgg",
]
