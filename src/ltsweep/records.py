"""What a study leaves on the disk: a cell's rows, tickets, status and log, and the checkpoints of stacks.

    multirun/<study>/<key>/config.yaml                    the resolved config
                           status.json                    pending, running, done, failed, diverged; written last
                           evaluations.parquet            one row for each (arm, draw, level, evaluation)
                           levels.parquet                 one row for each (arm, draw, level)
                           tickets/init.safetensors       the initial weights
                           tickets/level_03.safetensors   the mask of level 3, one bit a weight
                           cell.log
    multirun/<study>/.stacks/<id>.safetensors             the state of a stack in the middle of a level

Every file is written aside and moved. A level counts once status.json says so; what a killed run left behind it is
written again.
"""

import contextlib
import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltsweep.folder import CellFolder, write
from ltsweep.levels import Checkpoint, LevelDone
from ltsweep.rows import SPLITS, Row
from ltsweep.stack import Tensors

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


class CellRecords(CellFolder):
    """The folder of one cell, with its tables and tickets."""

    def __init__(self, study: Path, key: str) -> None:
        """Look at `study`/`key`, which need not exist yet."""
        super().__init__(study, key)
        self.evaluations: list[Row] = []
        self.summaries: list[Row] = []

    def forget(self) -> None:
        """Remove what was computed, for force=true."""
        for name in ("status.json", "evaluations.parquet", "levels.parquet", "cell.log"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "tickets", ignore_errors=True)

    def resume(self, level: int) -> tuple[Tensors, Tensors] | None:
        """Return the initial weights and the masks that `level` starts from, keeping the rows of the levels before.

        None, with the reason in the log, when a file that is needed cannot be read.
        """
        try:
            evaluations = _rows_before(self.folder / "evaluations.parquet", level)
            summaries = _rows_before(self.folder / "levels.parquet", level)
            ticket = load_file(self.folder / "tickets/init.safetensors"), load_masks(self._ticket(level))
        except Exception as error:  # whatever is wrong with a file, the cell can be computed again
            self.log(f"level {level} cannot be gone on from: {error}")
            return None
        self.evaluations, self.summaries = evaluations, summaries
        return ticket

    def save_initial(self, weights: Tensors) -> None:
        """Write the weights that every level rewinds to."""
        (self.folder / "tickets").mkdir(exist_ok=True)
        contiguous = {name: value.contiguous() for name, value in weights.items()}
        write(self.folder / "tickets/init.safetensors", lambda path: save_file(contiguous, path))

    def save_level(self, done: LevelDone, status: str, error: str | None) -> None:
        """Write a finished level: the next level's masks, the rows, and last the status that makes it count."""
        if done.next_masks is not None:
            save_masks(done.next_masks, self._ticket(done.level + 1))
        self.evaluations += done.evaluations
        self.summaries += done.summaries
        for name, rows, schema in (("evaluations", self.evaluations, EVALUATIONS), ("levels", self.summaries, LEVELS)):
            table = pa.Table.from_pylist(rows, schema=schema)
            write(self.folder / f"{name}.parquet", functools.partial(pq.write_table, table))
        seconds = float(self.status().get("seconds", 0.0)) + sum(row["seconds"] for row in done.summaries)
        self.set_status(status, level=done.level, error=error, seconds=seconds)

    def _ticket(self, level: int) -> Path:
        return self.folder / f"tickets/level_{level:02d}.safetensors"


def save_checkpoint(study: Path, stack: str, checkpoint: Checkpoint) -> None:
    """Write the state of a stack in the middle of a level, over its last one."""
    facts = {"level": checkpoint.level, "step": checkpoint.step, "seconds": checkpoint.seconds, "rows": checkpoint.rows}
    tensors = {name: value.contiguous() for name, value in checkpoint.tensors.items()}
    path = _checkpoint_path(study, stack)
    path.parent.mkdir(exist_ok=True)
    write(path, lambda aside: save_file(tensors, aside, metadata={"checkpoint": json.dumps(facts)}))


def load_checkpoint(study: Path, stack: str) -> Checkpoint | None:
    """Return what a stack was last in the middle of; None if nothing, or nothing that can be read."""
    try:
        with safe_open(_checkpoint_path(study, stack), framework="pt") as file:
            facts = json.loads(file.metadata()["checkpoint"])
            return Checkpoint(**facts, tensors={name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except Exception:  # missing, torn or foreign: the level is begun again
        return None


def drop_checkpoint(study: Path, stack: str) -> None:
    """Forget what a stack was in the middle of."""
    _checkpoint_path(study, stack).unlink(missing_ok=True)


def drop_leftovers(study: Path) -> None:
    """Remove what killed processes were writing beside the checkpoints. Only for who holds the whole study."""
    folder = study / ".stacks"
    for path in folder.glob(".*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # other stacks are in the middle of a level, or there never were any
        folder.rmdir()


def _checkpoint_path(study: Path, stack: str) -> Path:
    return study / ".stacks" / f"{stack}.safetensors"


def save_masks(masks: Tensors, path: Path) -> None:
    """Write masks of zeros and ones at one bit a weight, first weight in the highest bit."""
    packed = {name: torch.from_numpy(np.packbits(mask.flatten().numpy() != 0)) for name, mask in masks.items()}
    # One entry: safetensors writes several in any order, and equal masks should be equal files.
    shapes = {"shapes": json.dumps({name: list(mask.shape) for name, mask in masks.items()})}
    path.parent.mkdir(exist_ok=True)
    write(path, lambda aside: save_file(packed, aside, metadata=shapes))


def load_masks(path: Path) -> Tensors:
    """Read masks as float32 zeros and ones in their shapes."""
    masks = {}
    with safe_open(path, framework="numpy") as file:
        for name, shape in json.loads(file.metadata()["shapes"]).items():
            bits = np.unpackbits(file.get_tensor(name), count=int(np.prod(shape)))
            masks[name] = torch.from_numpy(bits.astype(np.float32)).view(*shape)
    return masks


def _rows_before(path: Path, level: int) -> list[Row]:
    rows: list[Row] = pq.read_table(path).to_pylist()
    kept = [row for row in rows if row["level"] < level]
    if {row["level"] for row in kept} != set(range(level)):
        raise ValueError(f"{path.name} lacks rows of a finished level")
    return kept
