"""A ticket read from its study by its address, every file checked. No torch.

A study may come from a stranger: nothing of it is run or written, and links are not followed.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.schema import CONFIG, INITIAL, KEY, SCORE_OF, STATUS, TICKETS, is_weights_file, ticket_file, weights_file
from ltsweep.store import disk, reader, tickets
from ltsweep.store.folder import last_mask
from ltsweep.store.tickets import Array
from ltsweep.words import shown

EXAMPLE = "multirun/default/0123456789abcdef@3"

# The name of the weights that were drawn, among those that a cell holds.
DRAWN = "initial"

# Fewest digits by which a key is known.
_FEWEST = 4
# Keys that a message names.
_NAMED = 4


@dataclass(frozen=True)
class Ticket:
    """The weights and masks of one level of a cell, as checked files hold them.

    initial: the weights and buffers that were drawn, name -> (*shape). weights: those that were asked for, initial or
    kept. masks: name -> booleans of its shape, true where a weight remains. kept: the kept weights that there are, such
    as 0_500. files: name -> SHA-256 of the content, for each file that was read.
    """

    folder: Path
    level: int
    config: dict[str, Any]
    status: dict[str, Any]
    initial: dict[str, Array]
    weights: dict[str, Array]
    masks: dict[str, Array]
    kept: list[str]
    files: dict[str, str]

    @property
    def address(self) -> str:
        """Return STUDY/KEY@LEVEL with the whole key."""
        return f"{self.folder}@{self.level}"


def open_ticket(address: str, weights: str = DRAWN) -> Ticket:
    """Return the ticket at STUDY/KEY@LEVEL, where KEY may be the first digits of a key; level 0 is the dense network.

    weights: `initial`, or those that a method kept after a step of a level, such as `0_500`. Raises UserError for an
    address or weights that are not there, and for a file that is not what was written.
    """
    place, at, level = address.rpartition("@")
    folder = _folder(Path(place if at else address), address)
    disk.check_folders(folder, folder / TICKETS)
    with _blamed_on(folder / STATUS):
        status = reader.status(folder)
    noted = status.get("files", {})
    with _blamed_on(folder / CONFIG):
        config = reader.config(folder, noted.get(CONFIG))
    number = _level(level if at else "", last_mask(status), folder)
    kept = [_name_of(name) for name in sorted(noted) if is_weights_file(name)]
    mask_file, chosen_file = ticket_file(max(1, number)), _weights_file(weights, kept, folder)
    for name in (INITIAL, chosen_file, mask_file):
        if name not in noted:
            raise UserError(f"{folder / STATUS} notes no {name}, so it cannot be checked")
    with _blamed_on(folder / INITIAL):
        initial = tickets.initial(folder / INITIAL, noted[INITIAL])
    with _blamed_on(folder / chosen_file):
        chosen = initial if weights == DRAWN else tickets.initial(folder / chosen_file, noted[chosen_file])
        chosen = {name: value for name, value in chosen.items() if not name.startswith(SCORE_OF)}
        if _shapes(chosen) != _shapes(initial):
            raise BrokenFileError("is not of the shapes of the initial weights")
    with _blamed_on(folder / mask_file):
        masks: dict[str, Array] = dict(tickets.unpack(folder / mask_file, noted[mask_file]))
        for name, mask in masks.items():
            if name not in initial or initial[name].shape != mask.shape:
                raise BrokenFileError(f"has a mask of {shown(name)} that fits no initial weight")
    if number == 0:  # the dense network: all that can be pruned remains
        masks = {name: np.ones_like(mask) for name, mask in masks.items()}
    read = dict.fromkeys((CONFIG, INITIAL, chosen_file, mask_file))
    files = {name: disk.sha256(folder / name) for name in read}
    return Ticket(folder, number, config, status, initial, chosen, masks, kept, files)


def _folder(path: Path, address: str) -> Path:
    """Return the folder of the one cell that a path to its key, or to the first digits of it, means."""
    study, start = path.parent, path.name
    if not re.fullmatch(rf"[0-9a-f]{{{_FEWEST},16}}", start):
        raise UserError(
            f"{shown(address)} is no ticket: one is STUDY/KEY@LEVEL, such as {EXAMPLE}; of KEY, a folder of the study, "
            f"the first {_FEWEST} digits or more will do"
        )
    if not study.is_dir():
        hint = f"did you mean multirun/{study}? " if (Path("multirun") / study).is_dir() else ""
        raise UserError(f"{study} is not a folder; {hint}give a study's, as in {EXAMPLE}")
    keys = sorted(entry.name for entry in os.scandir(study) if re.fullmatch(KEY, entry.name))
    if not keys:
        raise UserError(f"{study} holds no cells; give a study's folder, as in {EXAMPLE}")
    found = [key for key in keys if key.startswith(start)]
    if len(found) != 1:
        says = f"{len(found):,} keys: {_listed(found)}" if found else f"none of the {len(keys):,} keys"
        raise UserError(f"{start} begins {says} of {study}; python -m ltsweep.study ls {study} lists them")
    return study / found[0]


def _level(given: str, last: int, folder: Path) -> int:
    """Return the level that an address gives, of those on record: 0 to `last`."""
    there = f"on record are levels 0 (dense) to {last}"
    if last < 1:
        raise UserError(f"{folder} has no ticket on record yet: its dense network is not trained, or diverged")
    if not re.fullmatch("[0-9]{1,9}", given):
        said = f"@{shown(given)} is no level" if given else "its level is missing"
        raise UserError(f"{folder}: {said}; {there}: {folder}@{last}")
    if int(given) > last:
        raise UserError(f"{folder} has no level {int(given)}; {there}")
    return int(given)


def _weights_file(given: str, kept: list[str], folder: Path) -> str:
    """Return the name of the file of the weights that are asked for."""
    at = re.fullmatch("([0-9]{1,4})_([0-9]{1,10})", given)
    if given != DRAWN and (at is None or f"{int(at[1])}_{int(at[2])}" not in kept):
        raise UserError(f"{folder} holds no weights {shown(given)}; it holds {', '.join([DRAWN, *kept])}")
    return weights_file(int(at[1]), int(at[2])) if at else INITIAL


def _name_of(file: str) -> str:
    """Return the name of kept weights, such as 0_500, from that of their file."""
    level, step = file.removesuffix(".safetensors").rsplit("_", 2)[1:]
    return f"{int(level)}_{int(step)}"


def _shapes(tensors: dict[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in tensors.items()}


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:_NAMED]) + ", ..." * (len(keys) > _NAMED)


@contextlib.contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    """Turn an error about a file's content into a UserError with its name."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except BrokenFileError as error:
        raise UserError(f"{path} {error}") from error
