"""What a cell leaves on the disk: its rows, tickets, status and log.

    multirun/<study>/<key>/config.yaml                    the resolved config
                           status.json                    pending, running, done, failed, diverged; written last
                           evaluations.parquet            one row for each (arm, draw, level, evaluation)
                           levels.parquet                 one row for each (arm, draw, level)
                           tickets/init.safetensors       the initial weights
                           tickets/level_03.safetensors   the mask of level 3, one bit a weight
                           cell.log
    multirun/<study>/<key>/.broken/                       what was found not to be as it was written

Every file is written aside and moved. A level counts once status.json says so; what a killed run left behind it is
written again. status.json holds the SHA-256 of its own text and of every file of the levels that count; tables carry
checksums of their pages too, since one of a level that does not count yet may have been moved already.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from ltsweep.engine.stack import Tensors
from ltsweep.errors import BrokenFileError
from ltsweep.grid.cell import Cell
from ltsweep.lottery.loop import LevelDone
from ltsweep.lottery.rows import SPLITS, Row
from ltsweep.store import disk
from ltsweep.store.disk import Noted
from ltsweep.store.folder import FINISHED, CellFolder

_COUNTS = [("weights_remaining", pa.int64()), ("weights_total", pa.int64())]
_ARM = [("arm", pa.string()), ("draw", pa.int64()), ("level", pa.int64()), *_COUNTS]
EVALUATIONS = pa.schema(
    [*_ARM, ("epoch", pa.float64()), ("iteration", pa.int64())]
    + [(f"{split}_{what}", pa.float64()) for split in SPLITS for what in ("loss", "accuracy")]
    + [("lr", pa.float64()), ("seconds", pa.float64())]
)
LEVELS = pa.schema(
    [*_ARM, ("iterations", pa.int64())]
    + [(f"final_{split}_{what}", pa.float64()) for split in SPLITS for what in ("loss", "accuracy")]
    + [("best_iteration", pa.int64()), ("best_val_accuracy", pa.float64()), ("best_test_accuracy", pa.float64())]
    + [("early_stop_iteration", pa.int64()), ("early_stop_val_loss", pa.float64())]
    + [("early_stop_test_accuracy", pa.float64()), ("seconds", pa.float64())]
    + [("layers", pa.list_(pa.string()))]
    + [("layer_remaining", pa.list_(pa.int64())), ("layer_total", pa.list_(pa.int64()))]
)


_TABLES = {"evaluations.parquet": EVALUATIONS, "levels.parquet": LEVELS}
_INITIAL = "tickets/init.safetensors"


class CellRecords(CellFolder):
    """The folder of one cell, with its tables and tickets."""

    def __init__(self, study: Path, key: str) -> None:
        """Look at `study`/`key`, which need not exist yet."""
        super().__init__(study, key)
        self.evaluations: list[Row] = []
        self.summaries: list[Row] = []
        self.files: dict[str, Noted] = {}

    def need_folders(self) -> None:
        """Raise UserError where the cell's folder or that of its tickets is a link, or a file."""
        disk.need_folders(self.folder, self.folder / "tickets")

    def forget(self) -> None:
        """Remove what was computed, for force=true."""
        self._drop_results()
        (self.folder / "cell.log").unlink(missing_ok=True)

    def repair(self, cell: Cell) -> list[str]:
        """Set aside each file that is not as it was written, and forget a cell that cannot do without it.

        Returns a line on each such file, which is in the cell's log too. Of a finished cell, a file whose size and time
        of change are as they were is not read. Only for who holds the cell.
        """
        disk.drop_leftovers(self.folder)
        disk.drop_leftovers(self.folder / "tickets")
        try:
            status = self.read_status()
        except FileNotFoundError:
            return []
        except BrokenFileError as torn:
            broken: dict[str, BrokenFileError] = {"status.json": torn}
            files: dict[str, Noted] = {}
        else:
            files = status.get("files", {})
            broken = self._broken(status, files)
        if not broken:
            return []
        lost = broken.keys() != {"config.yaml"}  # a config is known from the command, and its hash is the cell's key
        lines = []
        for name, error in broken.items():
            aside = disk.set_aside(self.folder / name, self.folder)
            lines.append(
                f"{self.folder / name} {error}; "
                + (f"it was set aside as {aside.relative_to(self.folder)}, and " if aside else "")
                + ("its cell is computed again" if lost else "it was written anew")
            )
            self.log(lines[-1])
        if lost:
            self._drop_results()
        else:
            self.set_status(status["status"], files=files | {"config.yaml": self.write_config(cell)})
        return lines

    def resume(self, level: int) -> tuple[Tensors, Tensors] | None:
        """Return the initial weights and the masks that `level` starts from, keeping the rows of the levels before.

        None, with the reason in the log, when a file that is needed cannot be read.
        """
        files = self.status().get("files", {})
        try:
            for name in (_INITIAL, _ticket(level)):
                disk.check(self.folder / name, files.get(name), thorough=True)
            ticket = load_file(self.folder / _INITIAL), load_masks(self.folder / _ticket(level))
            self.evaluations, self.summaries = (_rows_before(self.folder / name, level) for name in _TABLES)
        except Exception as error:  # whatever is wrong with a file, the cell can be computed again
            self.log(f"level {level} cannot be gone on from: {error}")
            return None
        self.files = dict(files)
        return ticket

    def save_initial(self, weights: Tensors) -> None:
        """Write the weights that every level rewinds to."""
        self._make_tickets()
        contiguous = {name: value.contiguous() for name, value in weights.items()}
        config = {name: noted for name, noted in self.status().get("files", {}).items() if name == "config.yaml"}
        self.files = config | {_INITIAL: disk.write(self.folder / _INITIAL, save(contiguous))}

    def save_level(self, done: LevelDone, status: str, error: str | None) -> None:
        """Write a finished level: the next level's masks, the rows, and last the status that makes it count."""
        if done.next_masks is not None:
            self._make_tickets()
            name = _ticket(done.level + 1)
            self.files[name] = save_masks(done.next_masks, self.folder / name)
        self.evaluations += done.evaluations
        self.summaries += done.summaries
        for (name, schema), rows in zip(_TABLES.items(), (self.evaluations, self.summaries), strict=True):
            self.files[name] = disk.write(self.folder / name, _table(rows, schema))
        seconds = float(self.status().get("seconds", 0.0)) + sum(row["seconds"] for row in done.summaries)
        self.set_status(status, level=done.level, error=error, seconds=seconds, files=self.files)

    def _broken(self, status: Mapping[str, Any], files: Mapping[str, Noted]) -> dict[str, BrokenFileError]:
        """Return file -> what is wrong with it, of those that a finished cell has or another one goes on from."""
        finished, level = status["status"] in FINISHED, status["level"] + 1
        names = [*files] if finished else ["config.yaml"] * ("config.yaml" in files)
        if not finished and level:
            names += [_INITIAL, _ticket(level), *_TABLES]
        broken = {}
        for name in names:
            try:
                if name in _TABLES and not finished:
                    _rows_before(self.folder / name, level)
                else:
                    disk.check(self.folder / name, files.get(name), thorough=not finished)
                    if name not in files:
                        _try_to_load(self.folder / name)
            except BrokenFileError as error:
                broken[name] = error
        return broken

    def _make_tickets(self) -> None:
        disk.make(self.folder / "tickets")

    def _drop_results(self) -> None:
        for name in ("status.json", *_TABLES):
            disk.remove(self.folder / name)
        disk.remove(self.folder / "tickets")


def save_masks(masks: Tensors, path: Path) -> Noted:
    """Write masks of zeros and ones at one bit a weight, first weight in the highest bit; returns what to note."""
    packed = {name: torch.from_numpy(np.packbits(mask.flatten().numpy() != 0)) for name, mask in masks.items()}
    # One entry: safetensors writes several in any order, and equal masks should be equal files.
    shapes = {"shapes": json.dumps({name: list(mask.shape) for name, mask in masks.items()})}
    return disk.write(path, save(packed, metadata=shapes))


def load_masks(path: Path) -> Tensors:
    """Read masks as float32 zeros and ones in their shapes."""
    masks = {}
    with safe_open(path, framework="numpy") as file:
        for name, shape in json.loads(file.metadata()["shapes"]).items():
            bits = np.unpackbits(file.get_tensor(name), count=int(np.prod(shape)))
            masks[name] = torch.from_numpy(bits.astype(np.float32)).view(*shape)
    return masks


def _ticket(level: int) -> str:
    return f"tickets/level_{level:02d}.safetensors"


def _try_to_load(path: Path) -> None:
    """Raise BrokenFileError for a ticket that cannot be read, where an older record has no SHA-256 of it."""
    try:
        load_file(path)
    except Exception as error:
        raise BrokenFileError("is no ticket, or not whole") from error


def _table(rows: list[Row], schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _rows_before(path: Path, level: int) -> list[Row]:
    """Return the rows of the levels before `level`. Raises BrokenFileError unless all of them are there."""
    try:
        table = pq.read_table(pa.BufferReader(disk.read(path)), page_checksum_verification=True)
    except FileNotFoundError as error:
        raise BrokenFileError("is missing") from error
    except BrokenFileError:
        raise
    except Exception as error:
        raise BrokenFileError("is no Parquet file, or not whole") from error
    if not table.schema.equals(_TABLES[path.name]):
        raise BrokenFileError("does not have the columns of this version")
    rows: list[Row] = table.to_pylist()
    kept = [row for row in rows if row["level"] < level]
    if {row["level"] for row in kept} != set(range(level)):
        raise BrokenFileError("lacks rows of a finished level")
    return kept
