"""The checks before any work, and the plan that the work needs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ltsweep.engine.problem import Problem
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.grid.objective import check_column
from ltsweep.lottery.rows import measured
from ltsweep.run.build import check_configs, check_measurements, check_outputs, data_key, load_data, make_measurements
from ltsweep.run.dense import has_dense
from ltsweep.run.extent import Statuses, check_definitions, together, unfinished
from ltsweep.run.hardware import cores, find_devices
from ltsweep.run.later import can_measure, lacking
from ltsweep.run.memory import network_bytes
from ltsweep.run.packing import count
from ltsweep.run.settings import Settings
from ltsweep.run.together import check_together
from ltsweep.run.workers import prepare_process
from ltsweep.schema import level_columns
from ltsweep.store.contents import with_kept_weights
from ltsweep.store.folder import NOT_BEGUN, CellFolder
from ltsweep.store.sources import changed, sources


@dataclass(frozen=True)
class Plan:
    """A checked grid, with the data that its unfinished cells need.

    cells: one for each key, with all that is asked of it. statuses: key -> the fields of status.json. seen: key -> size
    and time of that file when it was read. stack_size: in networks, 0 for auto. data: `build.data_key` -> problem.
    others: statuses of the study's other cells that hold weights of their dense network, if a cell lacks its own.
    """

    cells: tuple[Cell, ...]
    settings: Settings
    statuses: Statuses
    seen: Mapping[str, object]
    devices: Sequence[torch.device]
    workers: int
    stack_size: int
    data: Mapping[str, Problem]
    others: Statuses = field(default_factory=dict)

    @property
    def todo(self) -> list[Cell]:
        """Return the cells that have something left to compute."""
        return unfinished(self.cells, self.statuses)

    @property
    def unmeasured(self) -> list[Cell]:
        """Return the finished cells that lack a chosen measurement for which their files may do."""
        chosen = make_measurements(self.settings.measure)
        return [
            cell
            for cell in self.cells
            if any(
                can_measure(cell, self.statuses[cell.key], chosen[name])
                for name in lacking(self.statuses[cell.key], chosen)
            )
        ]


def prepare(cells: Sequence[Cell], settings: Settings, again: bool = False, download: bool = True) -> Plan:
    """Return the plan of a grid: checked, with each cell's status and the data that its unfinished cells need.

    again: treat every cell as not begun. The caller deletes the old results once it holds the study. Without `download`
    a plan lacks the data that would have to be downloaded, and nothing is checked against them.

    Raises UserError for a mistake in the configs, the data or the settings.
    """
    prepare_process()
    cells = together(cells)
    devices = find_devices(settings.device)
    stack_size = count(settings.stack_size, "stack_size", 0)
    workers = count(settings.workers, "workers", cores() if devices[0].type == "cpu" else len(devices))
    check_configs(cells, settings.study.absolute().parent)
    measurements = make_measurements(settings.measure).values()
    check_measurements(cells, measurements)
    folders = {cell.key: CellFolder(settings.study, cell.key) for cell in cells}
    seen = {key: None if again else folder.seen() for key, folder in folders.items()}
    statuses = {key: NOT_BEGUN if again else folder.status() for key, folder in folders.items()}
    for cell in cells:
        check_definitions(cell, statuses[cell.key], folders[cell.key].config)
    plan = Plan(cells, settings, statuses, seen, devices, workers, stack_size, {})
    if devices[0].type == "cpu" and any(cell.config["precision"] == "tf32" for cell in plan.todo):
        raise UserError("precision=tf32 is a GPU's; a CPU computes precision=float32 or bf16")
    check_sources(plan.todo, statuses)
    check_outputs(plan.todo)
    for cell in {cell.stack_key: cell for cell in plan.todo}.values():
        network_bytes(cell, devices[0].type)  # what cannot be reckoned fails here, before anything is forgotten
    no_dense = any(not has_dense(statuses[cell.key]) for cell in plan.todo)
    others = with_kept_weights(settings.study, statuses) if no_dense else {}
    data = load_data([*plan.todo, *plan.unmeasured], settings.data_dir, download)
    for cell in plan.todo:
        if problem := data.get(data_key(cell)):
            columns = level_columns(measured(problem), problem.headline.name)
            check_column(settings.objective, cell.config["dataset"]["name"], columns)
    checks = [check for one in measurements if (check := getattr(one, "check_scores", None))]
    for check, problem in itertools.product(checks, data.values()):
        check(measured(problem))
    check_together(plan.cells, data)
    return replace(plan, data=data, others=others)


def check_sources(todo: Sequence[Cell], statuses: Statuses) -> None:
    """Raise UserError where a cell would go on from levels that other code of the user's own made.

    todo: cells with something left to compute, after `check_configs`, which imports that code.
    """
    for cell in todo:
        status = statuses[cell.key]
        if status.get("arms") and (names := changed(status.get("sources", {}), sources(cell.config))):
            raise UserError(
                f"cell {cell.key} has levels that other code made: {names} is not what it was; "
                "force=true computes them again, another study=NAME keeps them"
            )


def other_code(plan: Plan) -> list[str]:
    """Return a line on the finished cells that other code of the user's own made; they are left as they are."""
    found: dict[str, int] = {}
    for cell in plan.cells:
        status = plan.statuses[cell.key]
        if status.get("arms") and (names := changed(status.get("sources", {}), sources(cell.config))):
            found[names] = found.get(names, 0) + 1
    return [
        f"{count} finished cell{'s' * (count != 1)} {'were' if count != 1 else 'was'} made with other code of {names}, "
        f"and {'are' if count != 1 else 'is'} left so; force=true computes again"
        for names, count in found.items()
    ]


def brought_up_to_date(plan: Plan) -> Plan:
    """Return the plan after reading the statuses again that have changed since. The caller holds the cells."""
    folders = {cell.key: CellFolder(plan.settings.study, cell.key) for cell in plan.cells}
    seen = {key: folder.seen() for key, folder in folders.items()}
    changed: dict[str, Mapping[str, Any]] = {
        key: folders[key].status() for key, stamp in seen.items() if stamp != plan.seen[key]
    }
    if not changed:
        return plan
    new = replace(plan, statuses={**plan.statuses, **changed}, seen=seen)
    known = {cell.key for cell in (*plan.todo, *plan.unmeasured)}
    late = [cell for cell in (*new.todo, *new.unmeasured) if cell.key not in known]
    return replace(new, data={**plan.data, **load_data(late, plan.settings.data_dir)}) if late else new
