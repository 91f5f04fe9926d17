"""What becomes of a grid on its way to Slurm: which cells are one task, and what is written of them."""

from pathlib import Path
from types import SimpleNamespace

import ltsweep.conf
import pytest
import yaml

from ltsweep.cluster import submit as submit_module
from ltsweep.cluster.options import RULES, options_from
from ltsweep.cluster.submit import count_cells, make_packs, submit
from ltsweep.grid.cell import from_config
from ltsweep.run.packing import stack_id
from ltsweep.run.resume import stacks_of
from ltsweep.store.folder import CellFolder, statuses_of


@pytest.fixture(scope="module")
def cells(compose):
    return [from_config(compose("dataset=digits", "levels=4", f"seed={seed}")) for seed in range(10)]


@pytest.fixture(scope="module")
def options():
    """Return a function that makes the options of the preset, with changes."""
    preset = yaml.safe_load((Path(ltsweep.conf.__file__).parent / "hydra/launcher/slurm.yaml").read_text())
    given = {name: value for name, value in preset.items() if name in RULES}
    return lambda **changes: options_from(given | changes)


SETTINGS = {"device": "cpu", "workers": "auto", "stack_size": 4}


@pytest.fixture
def submitted(monkeypatch):
    """Return the list of what Slurm is given: the cells of each task."""
    given = []

    def map_array(task, part):
        given.extend(part)
        return [SimpleNamespace(job_id=f"7_{len(given) - len(part) + i}") for i in range(len(part))]

    monkeypatch.setattr(submit_module, "_executor", lambda *_: SimpleNamespace(map_array=map_array))
    monkeypatch.setattr(submit_module.slurm, "max_array_size", lambda: 100)
    monkeypatch.setattr(submit_module.slurm, "cluster", lambda: "here")
    monkeypatch.setattr(submit_module.slurm, "jobs", set)
    return given


def test_a_given_size_makes_the_stacks_of_one_machine_however_many_a_task_takes(cells, options, tmp_path, submitted):
    begun = statuses_of(cells, tmp_path)
    here = stacks_of(cells, begun, 4, len, 3)
    for change in ({"cpus_per_task": n} for n in range(1, 5)):
        packs = make_packs(cells, tmp_path, begun, SETTINGS, options(gpus_per_node=0, **change))
        assert [stack for pack in packs for stack in pack] == here
        assert max(map(len, packs)) <= change["cpus_per_task"]
    for most, tasks in ((1, 3), (4, 3), (8, 2), (99, 1)):
        packs = make_packs(cells, tmp_path, begun, SETTINGS, options(cells_per_task=most))
        assert [stack for pack in packs for stack in pack] == here
        assert len(packs) == tasks
    # Each task finds its stacks in the records, and divides nothing anew.
    submit(packs, tmp_path, SETTINGS, options())
    assert submitted == [tuple(cell for stack in here for cell in stack.cells)]
    planned = statuses_of(cells, tmp_path)
    assert stacks_of(submitted[0], planned, 0, lambda _: 99, 1) == here


def test_with_an_automatic_size_the_task_divides_its_cells(cells, options, tmp_path, submitted):
    settings = SETTINGS | {"stack_size": "auto"}
    packs = make_packs(cells, tmp_path, statuses_of(cells, tmp_path), settings, options(cells_per_task=5))
    assert count_cells(packs) == [5, 5]
    submit(packs, tmp_path, settings, options())
    assert "stack" not in CellFolder(tmp_path, cells[0].key).status()


@pytest.mark.parametrize("stack_size", [4, "auto"])
def test_a_finished_cell_goes_along_with_its_former_stack_and_is_not_written(
    cells, options, tmp_path, submitted, stack_size
):
    four, facts = cells[:4], {"stack": stack_id(cells[:4]), "stack_keys": sorted(cell.key for cell in cells[:4])}
    for cell in four:
        CellFolder(tmp_path, cell.key).plan(cell, **facts)
        CellFolder(tmp_path, cell.key).set_status("running", level=1, arms={"ticket/0": 1})
    alone = CellFolder(tmp_path, four[0].key)
    alone.set_status("done", level=4, arms={"ticket/0": 4}, stack=stack_id(four[:1]), stack_keys=[four[0].key])
    seen, settings = alone.seen(), SETTINGS | {"stack_size": stack_size}
    packs = make_packs(four, tmp_path, statuses_of(four, tmp_path), settings, options())
    assert count_cells(packs) == [3]
    submit(packs, tmp_path, settings, options())
    assert submitted == [tuple(four)]
    assert alone.seen() == seen
    (stack,) = stacks_of(submitted[0], statuses_of(four, tmp_path), 0, len, 1)
    assert (stack.name, stack.ballast) == (facts["stack"], {four[0].key})


def test_a_task_knows_the_cells_that_left_its_stack(cells, options, tmp_path, submitted):
    """They are no part of the task; their records say that they diverged."""
    three, facts = cells[:3], {"stack": stack_id(cells[:3]), "stack_keys": sorted(cell.key for cell in cells[:3])}
    for cell, how, level in zip(three, ("diverged", "running", "running"), (0, 1, 1), strict=True):
        CellFolder(tmp_path, cell.key).plan(cell, **facts)
        CellFolder(tmp_path, cell.key).set_status(how, level=level, arms={"ticket/0": level})
    packs = make_packs(three, tmp_path, statuses_of(three, tmp_path), SETTINGS, options())
    submit(packs, tmp_path, SETTINGS, options())
    assert submitted == [tuple(three[1:])]
    again = make_packs(submitted[0], tmp_path, statuses_of(submitted[0], tmp_path), SETTINGS, options())
    assert [stack.name for pack in again for stack in pack] == [facts["stack"]]
