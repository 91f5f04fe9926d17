"""Tasks that were queued by an earlier version: their pickles must find their classes, wherever the code has moved."""

import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import pytest

from ltsweep.cluster.node import Task
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.store.folder import CellFolder

# A cloudpickle of submitit's DelayedSubmission(Task, cells), made before the code was divided into folders.
QUEUED = Path(__file__).parents[2] / "golden/queued_task.pkl"
KEYS = ["288ae61daab45bfa", "5374d81e67038346"]


@pytest.fixture
def queued():
    """Unpickle the task as a compute node does, with its classes' modules yet to be imported."""
    for name in ("ltsweep.task", "ltsweep.cell"):
        sys.modules.pop(name, None)
    return pickle.loads(QUEUED.read_bytes())


def test_a_queued_task_knows_its_class_and_its_cells(queued):
    (cells,) = queued.args
    assert type(queued.function) is Task
    assert [type(cell) for cell in cells] == [Cell, Cell]
    assert [cell.key for cell in cells] == KEYS
    assert all(cell.stack_key for cell in cells)


def test_a_queued_task_refuses_other_code_and_says_so_of_its_cells(queued, tmp_path):
    object.__setattr__(queued.function, "study", tmp_path)
    (cells,) = queued.args
    for cell in cells:
        CellFolder(tmp_path, cell.key).plan(cell)
    with pytest.raises(UserError, match="the code is not what the study was submitted with"):
        queued.result()
    for key in KEYS:
        status = CellFolder(tmp_path, key).status()
        assert status["status"] == "failed"
        assert status["error"].startswith("the code is not what the study was submitted with (")


def test_a_new_task_names_its_classes_and_holds_no_code(tmp_path):
    """A process that has imported no more than these two, as the launcher has, pickles them by name."""
    script = (
        "import cloudpickle, sys; from pathlib import Path;"
        "from ltsweep.cluster.node import Task; from ltsweep.grid.cell import Cell;"
        "sys.stdout.buffer.write(cloudpickle.dumps((Task(Path('x'), {}, 0, {}), Cell({}, 'k'))))"
    )
    content = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout
    texts = {argument for _, argument, _ in pickletools.genops(content) if isinstance(argument, str)}
    # Whoever moves one of them leaves a module of the old name behind, as ltsweep.task and ltsweep.cell are.
    assert {text for text in texts if text.startswith("ltsweep")} == {"ltsweep.cluster.node", "ltsweep.grid.cell"}
    assert len(content) < 1_000
