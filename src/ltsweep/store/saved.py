"""Saved tickets by name, <study>/<key>@<level>: where a ticket lies, the SHA-256 of its files, and its tensors."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.grid.place import NAME, ROOT
from ltsweep.schema import INITIAL, KEY, STATUS, TICKETS, ticket_file, weights_file
from ltsweep.store import disk, reader, tickets
from ltsweep.store.folder import last_mask
from ltsweep.store.tickets import Array
from ltsweep.words import shown

_KEPT = re.compile(rf"{TICKETS}/weights_00_([0-9]+)\.safetensors")  # as `schema.weights_file` names those of level 0
# The field of the config that names a trained network, also a dense one: level 0.
SOURCE = "init.source"
_TICKET = re.compile(rf"({NAME})/({KEY})@([0-9]{{1,4}})")


@dataclass(frozen=True)
class Saved:
    """A ticket on the disk.

    folder: of its cell. weights, mask: the names of its two files there; without a mask it is a dense network. files:
    what status.json notes of all files. field: the name of the config that names it.
    """

    name: str
    folder: Path
    weights: str
    mask: str
    files: Mapping[str, disk.Noted]
    field: str

    @property
    def sha256(self) -> str:
        """Return the SHA-256 over those of its files.

        Raises UserError where a file is missing, or is not what was written.
        """
        digests = [self._digest(file) for file in (self.weights, self.mask) if file]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def read(self, sha256: str) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return the weights, name -> (*shape), and the masks, name -> booleans, true where a weight remains.

        Raises UserError where its SHA-256 is not the given one, or a file is not what was written.
        """
        if self.sha256 != sha256:
            raise UserError(
                f"{self.field}={self.name} is not what it was: its SHA-256 is {self.sha256}, and the cell is of "
                f"{shown(sha256)}; without {self.field}_sha256 the command makes a cell of what it is now"
            )
        file = self.weights
        try:
            weights = tickets.initial(self.folder / file, self.files.get(file))
            file = self.mask
            masks = tickets.unpack(self.folder / file, self.files.get(file)) if file else {}
            for name, values in masks.items():
                if name not in weights or weights[name].shape != values.shape:
                    raise BrokenFileError(f"has a mask of {shown(name)} that is not of the shape of its weights")
        except BrokenFileError as error:
            raise UserError(f"{self.field}={self.name}: {self.folder / file} {error}") from error
        return weights, masks

    def _digest(self, file: str) -> str:
        path, noted = self.folder / file, self.files.get(file)
        try:
            disk.check(path, noted, thorough=False)
            return str(noted[2]) if noted else disk.sha256(path)  # older records note nothing
        except BrokenFileError as error:
            raise UserError(f"{self.field}={self.name}: {path} {error}") from error


def saved(name: object, step: object = None, root: Path = Path(ROOT), field: str = "method.ticket") -> Saved:
    """Return the ticket of a name, of a study in `root`. Raises UserError for a name that is none, or of no ticket.

    step: of the dense network, after which its weights are taken, 0 the initial ones; None for these or, where the
    field is SOURCE, for the last that the cell kept. field: of the config.
    """
    found = _TICKET.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise UserError(
            f"{field}={'null' if name is None else shown(name)} is no ticket: it is <study>/<key>@<level>, such "
            f"as default/0123456789abcdef@3, of a study in {ROOT}"
        )
    study, key, level = root / found[1], found[2], int(found[3])
    folder = study / key
    disk.check_folders(study, folder)
    if not folder.is_dir():
        lacks = f"{study} has no cell {key}; python -m ltsweep.study ls {study} lists them"
        raise UserError(f"{field}={name}: " + (lacks if study.is_dir() else f"there is no study {study}"))
    status = _status(f"{field}={name}", folder)
    last = last_mask(status)
    if not (0 if field == SOURCE else 1) <= level <= last:
        there = f"its levels with a mask are 1 to {last}" if last else "it has no mask yet"
        raise UserError(f"{field}={name}: cell {key} has no mask of level {level}; {there}")
    files = status.get("files", {})
    kept = sorted(int(at[1]) for file in files if (at := _KEPT.fullmatch(file)))
    if step is None and field == SOURCE:
        if not kept:
            raise UserError(
                f"{field}={name}: cell {key} kept no trained weights; a cell with method.rewind=5ep keeps those of its "
                "dense network after 5 epochs"
            )
        step = kept[-1]
    weights = INITIAL if step in (None, 0) else weights_file(0, step) if isinstance(step, int) else ""
    if weights != INITIAL and weights not in files:
        there = f"it kept those after {', '.join(map(str, kept))}" if kept else "it kept none"
        raise UserError(
            f"{field.partition('.')[0]}.step={shown(step)}: cell {key} did not keep the weights of its dense network "
            f"there; {there}"
        )
    return Saved(str(name), folder, weights, ticket_file(level) if level else "", files, field)


def _status(said: str, folder: Path) -> dict[str, Any]:
    try:
        return reader.status(folder)
    except FileNotFoundError as error:
        raise UserError(f"{said}: {folder / STATUS} is missing") from error
    except BrokenFileError as error:
        raise UserError(f"{said}: {folder / STATUS} {error}") from error
