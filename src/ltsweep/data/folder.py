"""Pictures of the user's own, from class folders in a folder or a .zip, decoded once.

Letters: N pictures, K channels, H and W pixels.
"""

import functools
import hashlib
import io
import os
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from ltsweep.data.examples import Examples
from ltsweep.data.scale import PerChannel, scale
from ltsweep.errors import UserError
from ltsweep.words import shown

_SPLITS = ("train", "test")
_LAYOUT = " and ".join(f"{split}/<class>/" for split in _SPLITS)

# Formats that are decoded, of the many that PIL knows.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")

# A picture's most bytes as a file, and its most pixels: a small file can hold a huge picture.
_MOST_BYTES, _MOST_PIXELS = 64 * 2**20, Image.MAX_IMAGE_PIXELS or 2**26

# Pictures that a thread decodes between two looks at the progress.
_CHUNK = 64


class _Picture(NamedTuple):
    """Where a picture lies, and how its file is read."""

    split: str
    label: str
    where: str
    read: Callable[[], bytes]


class UnreadableError(Exception):
    """A picture cannot be read. The text says why."""


def image_folder(
    data_dir: Path,
    root: str | None,
    shape: Sequence[int],
    size: int | None = None,
    sha256: str | None = None,
    mean: PerChannel = 0.0,
    std: PerChannel = 1.0,
    augment: Sequence[str] = (),
) -> Examples:
    """Return the pictures of `root`/train/<class>/ and `root`/test/<class>/; `root`, from `data_dir` on, may be a .zip.

    The label of a class is its place among the names of train's. shape: (K, H, W); with K = 1 pictures become grey,
    with 3 coloured. size: the shorter side is resized to so many pixels, and the middle square cut out; without it all
    pictures must be H x W. sha256: of the .zip, if it is to be checked.

    Raises UserError for a folder that is not there or not of this form, a class in test that train lacks, a picture
    that cannot be read, and one of another size.
    """
    if not isinstance(root, str) or not root.strip():
        raise UserError(f"dataset.root is needed: a folder, or a .zip, with {_LAYOUT}")
    if len(shape) != 3 or shape[0] not in (1, 3) or (size is not None and list(shape[1:]) != [size, size]):
        wanted = f"[3,{size or 'H'},{size or 'W'}]"
        raise UserError(
            f"dataset.input_shape={shown(list(shape))} is not that of a picture here; "
            f"dataset.input_shape={wanted} is, or 1 in place of 3"
        )
    path = Path(data_dir) / root
    if not path.exists():
        raise UserError(f"{path} is not there; put it there, or set data_dir, LTSWEEP_DATA or dataset.root")
    if path.is_dir() and sha256 is None:
        found = _in_folder(path)
    elif path.is_file():
        found = _in_zip(path, sha256)
    else:
        raise UserError(f"{path} is no {'folder or ' * (sha256 is None)}.zip; dataset.root is a path from data_dir on")
    pictures = sorted(found, key=lambda one: one[:3])
    labels = sorted({one.label for one in pictures if one.split == "train"})
    for split in _SPLITS:
        if not any(one.split == split for one in pictures):
            raise UserError(f"{path} has no pictures in {split}/<class>/")
    for one in pictures:
        if one.label not in labels:
            raise UserError(f"{path}: test has the class {shown(one.label)}, and train does not")
    x = _decoded(pictures, shape, size)
    y = torch.tensor([labels.index(one.label) for one in pictures])
    train = sum(one.split == "train" for one in pictures)
    first = len(pictures) - train  # test comes before train
    return Examples(x[first:], y[first:], x[:first], y[:first], scale=scale(mean, std), augment=augment)


def _in_folder(path: Path) -> Iterator[_Picture]:
    """Yield the pictures in the class folders of a folder; names that begin with a dot are passed over."""
    for split in _SPLITS:
        for label in _listed(path / split, folders=True):
            for file in _listed(label, folders=False):
                yield _Picture(split, label.name, str(file), functools.partial(content_of, file))


def _listed(path: Path, folders: bool) -> list[Path]:
    """Return what is in a folder. Raises UserError where that are not folders, or not files, as they should be."""
    try:
        found = [path / entry.name for entry in os.scandir(path) if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    for one in found:
        if one.is_dir() != folders:
            raise UserError(f"{one} is {'no' if folders else 'a'} folder; pictures lie in {_LAYOUT}")
    return found


def content_of(path: Path) -> bytes:
    """Return the content of a regular file; a pipe would be waited for, and a device never ends."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UnreadableError("it is not a file")
        return _within(opened.read(_MOST_BYTES + 1))


def opened(content: bytes) -> Image.Image:
    """Return a picture that is not decoded yet. Raises UnreadableError where it has too many pixels."""
    found = Image.open(io.BytesIO(content), formats=FORMATS)
    if found.width * found.height > _MOST_PIXELS:
        raise UnreadableError(f"it has {found.width * found.height:,} pixels, more than {_MOST_PIXELS:,}")
    return found


def _within(content: bytes) -> bytes:
    if len(content) > _MOST_BYTES:
        raise UnreadableError(f"it is larger than {_MOST_BYTES // 2**20} MiB")
    return content


def _in_zip(path: Path, sha256: str | None) -> Iterator[_Picture]:
    """Yield the pictures in the class folders of a .zip; names that begin with a dot are passed over."""
    if sha256 is not None:
        with path.open("rb") as content:
            found = hashlib.sha256()
            while block := content.read(2**20):
                found.update(block)
        if found.hexdigest() != sha256:
            raise UserError(f"{path} is another file: its SHA-256 is {found.hexdigest()}, and should be {sha256}")
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as a .zip: {shown(str(error))}") from error
    for entry in archive.infolist():
        parts = PurePosixPath(entry.filename).parts
        if entry.is_dir() or not parts or parts[0] not in _SPLITS or any(part.startswith(".") for part in parts):
            continue
        if len(parts) != 3:
            raise UserError(f"{path}: {shown(entry.filename)} lies elsewhere than in {_LAYOUT}")

        yield _Picture(parts[0], parts[1], f"{path}: {entry.filename}", functools.partial(_entry, archive, entry))


def _entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with opened.open(entry) as file:
        return _within(file.read(_MOST_BYTES + 1))


def _decoded(pictures: Sequence[_Picture], shape: Sequence[int], size: int | None) -> Tensor:
    """Return all pictures as bytes, (N, K, H, W). A thread for each core decodes, mostly outside Python's lock."""
    decoded = torch.empty((len(pictures), *shape), dtype=torch.uint8)
    places = decoded.numpy()

    def fill(first: int) -> int:
        part = pictures[first : first + _CHUNK]
        for place, one in enumerate(part, start=first):
            places[place] = _pixels(one, shape, size)
        return len(part)

    console = Console()
    columns = TextColumn("reading pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of broken remarks beside the pixels
        task = progress.add_task("", total=len(pictures))
        try:
            for done in threads.map(fill, range(0, len(pictures), _CHUNK)):
                progress.advance(task, done)
        finally:
            threads.shutdown(cancel_futures=True)
    return decoded


def _pixels(picture: _Picture, shape: Sequence[int], size: int | None) -> Any:
    """Return a picture's bytes, an array (K, H, W). Raises UserError with its name where it cannot be read."""
    channels, height, width = shape
    try:
        with opened(picture.read()) as found:
            if size is None and found.size != (width, height):
                raise UserError(
                    f"{shown(picture.where)} is {found.height} high and {found.width} wide, dataset.input_shape says "
                    f"{height} and {width}; give its shape, or dataset.size=N to resize all pictures"
                )
            pixels = found.convert("L" if channels == 1 else "RGB")
            if size is not None:
                pixels = ImageOps.fit(pixels, (size, size), Image.Resampling.BILINEAR)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{shown(picture.where)} is no picture of {', '.join(FORMATS)}") from error
    except Exception as error:
        raise UserError(f"{shown(picture.where)} cannot be read: {shown(str(error))}") from error
    return np.asarray(pixels).reshape(height, width, channels).transpose(2, 0, 1)
