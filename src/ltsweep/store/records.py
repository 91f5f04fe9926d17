"""A cell's tables and tickets: written level by level, read when the cell goes on.

Every file is written aside and moved. A level counts once status.json says so; what a killed run wrote of a level that
does not count is written again. status.json holds the SHA-256 of its own text and of every file of the levels that
count. The tables carry a checksum on every page too, since a table may already hold a level that does not count yet.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from ltsweep.errors import BrokenFileError
from ltsweep.grid.cell import Cell
from ltsweep.schema import (
    CONFIG,
    DONE,
    EVALUATIONS_FILE,
    FINISHED,
    INITIAL,
    LEVELS_FILE,
    READINGS_FILE,
    RUNNING,
    SCORE_OF,
    TICKET_ARM,
    TICKETS,
    is_weights_file,
    ticket_file,
    weights_file,
)
from ltsweep.store import disk, tables, tickets
from ltsweep.store.checkpoints import drop_checkpoint, stack_name
from ltsweep.store.disk import Noted
from ltsweep.store.folder import CellFolder, last_mask
from ltsweep.store.tables import Row

Tensors = dict[str, torch.Tensor]


class CellRecords(CellFolder):
    """The folder of one cell, with its tables and tickets."""

    def __init__(self, study: Path, key: str) -> None:
        """Name the folder `study`/`key`, which need not exist yet."""
        super().__init__(study, key)
        self.evaluations: list[Row] = []
        self.summaries: list[Row] = []
        self.readings: list[Row] = []
        self.files: dict[str, Noted] = {}

    def resume(self) -> Tensors | None:
        """Return the initial weights, name -> (*shape), and keep the rows that count.

        None where nothing counts; or, with the reason in the log, where a file cannot be read, be it one mask.
        """
        status = self.status()
        files, arms = status.get("files", {}), status.get("arms", {})
        if not arms:
            return None
        try:
            initial = self._initial(files)
            for level in range(1, last_mask(status) + 1):
                self._masks(level, files, initial)
            for name in filter(is_weights_file, files):
                self._weights(name, files, initial)
            evaluations = tables.rows_kept(self.folder / EVALUATIONS_FILE, arms)
            summaries = tables.rows_kept(self.folder / LEVELS_FILE, arms)
            tables.check_alike(evaluations[0], summaries[0])
            readings = tables.rows_kept(self.folder / READINGS_FILE, arms) if READINGS_FILE in files else []
        except Exception as error:  # whatever is wrong with a file, the cell can be computed again
            self.log(f"its records cannot be gone on from: {error}")
            return None
        self.evaluations, self.summaries, self.readings, self.files = evaluations, summaries, readings, dict(files)
        return initial

    def initial(self) -> Tensors | None:
        """Return the same weights; None if they cannot be read. Nothing is kept, or written."""
        try:
            return self._initial(self.status().get("files", {}))
        except Exception:  # whatever is wrong with a file, a stack can train without it
            return None

    def masks(self, level: int) -> Tensors | None:
        """Return the masks of a level, name -> (*shape), zeros and ones; None where none count or can be read."""
        status = self.status()
        if not 1 <= level <= last_mask(status):
            return None
        try:
            return self._masks(level, status.get("files", {}), self._initial(status.get("files", {})))
        except Exception:
            return None

    def weights(self, level: int, step: int) -> Tensors:
        """Return the ticket's weights and buffers after a step of a level, name -> (*shape).

        Raises BrokenFileError where they are not there, or are not what was written.
        """
        files = self.status().get("files", {})
        return self._weights(weights_file(level, step), files, self._initial(files))

    def _weights(self, name: str, files: Mapping[str, Noted], initial: Tensors) -> Tensors:
        if name not in files:
            raise BrokenFileError(f"{name} was not kept")
        disk.check(self.folder / name, files[name], thorough=True)
        weights = load_file(self.folder / name)
        shapes = {one: value.shape for one, value in weights.items()}
        scores = {f"{SCORE_OF}{one}": value.shape for one, value in initial.items() if f"{SCORE_OF}{one}" in shapes}
        if shapes != {one: value.shape for one, value in initial.items()} | scores:
            raise BrokenFileError(f"{name} is not of the shape of the initial weights")
        return weights

    def _initial(self, files: Mapping[str, Noted]) -> Tensors:
        disk.check(self.folder / INITIAL, files.get(INITIAL), thorough=True)
        return load_file(self.folder / INITIAL)

    def _masks(self, level: int, files: Mapping[str, Noted], initial: Tensors) -> Tensors:
        name = ticket_file(level)
        packed = tickets.unpack(self.folder / name, files.get(name))
        masks = {name: torch.from_numpy(mask).float() for name, mask in packed.items()}
        _check_alike(initial, masks)
        return masks

    def save_initial(self, weights: Tensors) -> None:
        """Write the weights, name -> (*shape), that a cell begins with; its earlier levels no longer count."""
        self._make_tickets()
        contiguous = {name: value.contiguous() for name, value in weights.items()}
        config = {name: noted for name, noted in self.status().get("files", {}).items() if name == CONFIG}
        self.files = config | {INITIAL: disk.write(self.folder / INITIAL, save(contiguous))}
        self.evaluations, self.summaries, self.readings = [], [], []
        disk.remove(self.folder / READINGS_FILE)  # the other tables are written by every level, this one by some

    def save_level(
        self,
        arms: Mapping[str, int],
        status: str,
        error: str | None,
        *,
        evaluations: Sequence[Row],
        summaries: Sequence[Row],
        readings: Sequence[Row] = (),
        next_masks: Mapping[str, torch.Tensor] | None = None,
        measured: Sequence[str] = (),
        kept: Mapping[int, Tensors] | None = None,
        learned: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Write a finished level: the next level's masks, the rows, and last the status that makes it count.

        arms: arm -> the level, for those that now have it. Rows have the columns of `ltsweep.schema`. next_masks:
        name -> (*shape), zeros and ones, or None where the ticket was not trained, or diverged. measured: names of the
        measurements whose readings these are. kept: step -> the ticket's weights and buffers there, name -> (*shape).
        learned: this level's own masks, where it learned them.
        """
        before = self.status()
        arms = {**before.get("arms", {}), **arms}
        level = arms[TICKET_ARM]
        for name, masks in ((ticket_file(level + 1), next_masks), (ticket_file(level), learned)):
            if masks is not None:
                self._make_tickets()
                packed = tickets.pack({layer: mask.numpy() for layer, mask in masks.items()})
                self.files[name] = disk.write(self.folder / name, packed)
        for step, weights in (kept or {}).items():
            self._make_tickets()
            name, contiguous = weights_file(level, step), {one: value.contiguous() for one, value in weights.items()}
            self.files[name] = disk.write(self.folder / name, save(contiguous))
        whole = {
            EVALUATIONS_FILE: tables.in_order([*self.evaluations, *evaluations]),
            LEVELS_FILE: tables.in_order([*self.summaries, *summaries]),
            READINGS_FILE: tables.in_order([*self.readings, *readings]),
        }
        for name, rows in whole.items():
            if rows or name != READINGS_FILE:
                self._write_table(name, rows)
        self.evaluations, self.summaries, self.readings = whole.values()  # once all of them are on the disk
        # A measurement counts when every level has it.
        first = not before.get("arms")
        named = [name for name in measured if first or name in before.get("measured", [])]
        fields: dict[str, Any] = {"measured": named} if named or "measured" in before else {}
        seconds = float(before.get("seconds", 0.0)) + sum(row["seconds"] for row in summaries)
        self.set_status(status, level=level, arms=arms, error=error, seconds=seconds, files=self.files, **fields)

    def add_readings(self, readings: Sequence[Row], measured: Sequence[str]) -> None:
        """Add the readings of measurements that were taken later of a cell that is done, and their names.

        After `resume`. Until all is written the cell counts as running, since its table is then newer than its note.
        """
        before = self.status()
        new = {_place(row) for row in readings}  # a killed run may have written them
        rows = [row for row in self.readings if _place(row) not in new]
        self.set_status(RUNNING)
        self.readings = tables.in_order([*rows, *readings])
        self._write_table(READINGS_FILE, self.readings)
        names = list(dict.fromkeys([*before.get("measured", []), *measured]))
        self.set_status(DONE, files=self.files, measured=names)

    def _write_table(self, name: str, rows: Sequence[Row]) -> None:
        self.files[name] = disk.write(self.folder / name, tables.as_parquet(name, rows))

    def _make_tickets(self) -> None:
        disk.make(self.folder / TICKETS)


def _place(row: Row) -> tuple[Any, ...]:
    """Return what names a reading."""
    return tuple(row[name] for name in ("arm", "draw", "level", "iteration", "name", "place", "at"))


def _check_alike(initial: Tensors, masks: Tensors) -> None:
    for name, mask in masks.items():
        if name not in initial or initial[name].shape != mask.shape:
            raise BrokenFileError(f"the mask of {name} is not of the shape of its weights")
    for name, weights in initial.items():
        if weights.is_floating_point() and not torch.isfinite(weights).all():
            raise BrokenFileError(f"the initial weights of {name} are not finite")


def forget(study: Path, cells: Sequence[Cell]) -> None:
    """Remove what was computed of the cells, and of their stacks in the middle of a level. The caller holds them.

    Raises UserError, before anything is removed, where a folder is a link.
    """
    folders = [CellFolder(study, cell.key) for cell in cells]
    for folder in folders:
        folder.check_folders()
    drop_unnamed(study, (folder.status() for folder in folders), {cell.key for cell in cells})
    for folder in folders:
        folder.forget()


def drop_unnamed(study: Path, statuses: Iterable[Mapping[str, Any]], leaving: Collection[str] = ()) -> None:
    """Remove the checkpoints of the stacks that `statuses` name, but for stacks that an unfinished cell is still in.

    leaving: keys of cells that do not count. A status whose `stack_keys` do not make the name of its stack is older
    than these, or not to be believed: then nothing is removed.
    """
    for name, keys in {(status.get("stack"), tuple(status.get("stack_keys", ()))) for status in statuses}:
        others = (CellFolder(study, key).status() for key in keys if key not in leaving)
        still = any(status.get("stack") == name and status["status"] not in FINISHED for status in others)
        if name == stack_name(keys) and not still:
            drop_checkpoint(study, name)
