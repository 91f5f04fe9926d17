"""MNIST, Fashion-MNIST and KMNIST from files in torchvision's layout, checked against published hashes."""

import gzip
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

from ltsweep.data.examples import Examples
from ltsweep.data.published import fetch
from ltsweep.data.scale import PerChannel, scale
from ltsweep.errors import UserError
from ltsweep.words import shown

# File names in torchvision's layout: training pictures and labels, test pictures and labels.
_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# SHA-256 of the files in the order of _FILES. Of the data sets without, torchvision publishes MD5 of compressed files.
_SHA256 = {
    "MNIST": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "FashionMNIST": (),
    "KMNIST": (),
}


def torchvision_mnist(
    data_dir: Path,
    kind: str,
    mean: PerChannel = 0.0,
    std: PerChannel = 1.0,
    augment: Sequence[str] = (),
    download: bool = True,
) -> Examples:
    """Return MNIST, FashionMNIST or KMNIST from `data_dir`/<kind>/raw; torchvision downloads missing files there.

    mean and std are of pixels in [0, 1]. Raises UserError where files are missing and cannot be downloaded,
    or are not this data set's. MNIST's files are checked by their SHA-256. Those of the others are compared with the
    compressed files, checked by MD5, that torchvision leaves beside them; without these they are not checked. Raises
    NotHereError for missing files where `download` is false.
    """
    from torchvision import datasets  # slow to import, and needed for these data sets alone
    from torchvision.datasets.mnist import read_image_file, read_label_file

    if kind not in _SHA256:
        raise UserError(f"dataset.kind={shown(kind)} is unknown; choose {', '.join(_SHA256)}")
    source = getattr(datasets, kind)
    raw = Path(data_dir) / kind / "raw"
    help_line = f"put the four {kind} files into {raw}, set data_dir or LTSWEEP_DATA, or take dataset=digits"
    if not all((raw / name).is_file() for name in _FILES):
        fetch(kind, raw, lambda: source(str(data_dir), download=True), help_line, download)
    for name, (_, md5), sha256 in itertools.zip_longest(_FILES, source.resources, _SHA256[kind]):
        wrong = _wrong(raw / name, md5, sha256)
        if wrong:
            raise UserError(f"{raw / name} is not {kind}'s, or truncated: {wrong}; {help_line}")
    parts = []
    for pictures, labels, examples in ((*_FILES[:2], 60_000), (*_FILES[2:], 10_000)):
        try:
            x, y = read_image_file(str(raw / pictures)), read_label_file(str(raw / labels))
        except Exception as error:
            raise UserError(
                f"{kind} in {raw} cannot be read: a file is truncated or not {kind}'s; {help_line}"
            ) from error
        if x.shape != (examples, 28, 28) or y.shape != (examples,):
            found = f"{tuple(x.shape)} pictures and {tuple(y.shape)} labels"
            raise UserError(f"{kind} in {raw} is not whole: {found}, not {examples} of each; {help_line}")
        parts += [x.unsqueeze(1), y]
    return Examples(*parts, scale=scale(mean, std), augment=augment)


def _wrong(path: Path, md5: str, sha256: str | None) -> str:
    """Return how a file differs from the published file; empty where they agree, or no hash can be compared."""
    compressed = path.with_name(f"{path.name}.gz")
    try:
        if sha256:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            return "" if found == sha256 else f"its SHA-256 is {found[:16]}..., and should be {sha256[:16]}..."
        if not compressed.is_file():
            return ""
        content = compressed.read_bytes()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            return f"the MD5 of {compressed.name} beside it is not {md5}"
        return (
            "" if gzip.decompress(content) == path.read_bytes() else f"{compressed.name} beside it holds another file"
        )
    except OSError as error:
        return error.strerror or str(error)
