"""The launcher `slurm`: the grid as job arrays of tasks, each of which trains many cells."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from ltsweep.cluster import slurm
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.grid.compose import compose_cells
from ltsweep.grid.jobs import result
from ltsweep.run.objective import check_cells, outcome
from ltsweep.store.folder import FINISHED, CellFolder
from ltsweep.store.hold import claim

if TYPE_CHECKING:
    from ltsweep.cluster.submit import Options, Pack


class SlurmLauncher(Launcher):
    """Composes every cell, hands them to Slurm in packs that can share a stack, and waits or leaves."""

    def __init__(self, **options: Any) -> None:
        """Keep the settings of conf/hydra/launcher/slurm.yaml; they are checked at launch."""
        self.given = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra gives."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit the grid and, with wait=true, follow it. Exits with 1 if a cell failed, with 130 if interrupted.

        Raises UserError before anything is submitted. Returns the objectives; nothing where it does not wait.
        """
        slurm.require()
        from ltsweep.cluster.submit import check_options, options_from

        given = {name: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for name, v in self.given.items()}
        options = options_from(given)
        study = Path(self.config.hydra.sweep.dir)
        check_options(options, study)
        setup_globals()
        composed = compose_cells(self.context, self.config, job_overrides)
        check_cells(composed, self.config)
        cells = list({cell.key: cell for cell in composed}.values())

        from ltsweep.cluster.submit import settings_for
        from ltsweep.run.build import check_configs, load_data  # after all that can be refused without torch
        from ltsweep.run.study import settings_from

        settings = settings_for(settings_from(self.config, study), options)
        check_configs(cells)
        force: bool = self.config.force
        if options.dry_run:
            _plan(cells, study, settings, options, force)
            return []
        # Compute nodes often have no way out, so what is missing is fetched here.
        load_data(_unfinished(cells, study, force), Path(settings["data_dir"]))
        with claim(study):
            _submit_and_follow(cells, study, settings, options, force)
        if not options.wait:
            return []
        ends = [outcome(study, cell.key, self.config.objective) for cell in composed]
        return [result(overrides, end) for overrides, end in zip(job_overrides, ends, strict=True)]


def _plan(
    cells: Sequence[Cell], study: Path, settings: dict[str, Any], options: "Options", force: bool
) -> "list[Pack]":
    """Print what would be, or will be, submitted, with the script where that is all."""
    from ltsweep.cluster.submit import array_sizes, make_packs, script
    from ltsweep.cluster.watch import Watch

    keys = [cell.key for cell in cells]
    queued = [key for key, one in Watch(study, mark=not options.dry_run).settle(keys).items() if one.queued]
    if queued and force:
        raise UserError(
            f"force=true, but {len(queued)} cells of {study} are in Slurm's queue; "
            f"wait, or: python -m ltsweep.status {study} --cancel"
        )
    packs = make_packs([cell for cell in cells if cell.key not in queued], study, settings, options, force)
    finished = len(cells) - len(_unfinished(cells, study, force))
    parts = [
        f"{len(cells)} cell{'s' * (len(cells) != 1)}",
        f"{finished} already finished" if finished else "",
        f"{len(queued)} in the queue already" if queued else "",
        f"{sum(map(len, packs))} in {len(packs)} task{'s' * (len(packs) != 1)} of up to {max(map(len, packs))}"
        if packs
        else "nothing to submit",
    ]
    print(f"{study}: {', '.join(part for part in parts if part)}", flush=True)
    if options.dry_run:
        for size in dict.fromkeys(array_sizes(len(packs))):
            print(f"\n{script(study, options, size)}")
    return packs


def _submit_and_follow(
    cells: Sequence[Cell], study: Path, settings: dict[str, Any], options: "Options", force: bool
) -> None:
    from ltsweep.cluster.submit import submit
    from ltsweep.cluster.watch import ClusterDisplay, Watch, cancel, follow, plan_totals
    from ltsweep.show.display import closing_table
    from ltsweep.store.records import CellRecords

    packs = _plan(cells, study, settings, options, force)
    if force:
        for cell in cells:
            CellRecords(study, cell.key).forget()
    todo = _unfinished(cells, study, force)
    submit(packs, study, settings, options)
    watch, keys = Watch(study), [cell.key for cell in todo]
    if not options.wait:
        print(f"left to Slurm; to see how it stands: python -m ltsweep.status {study}")
        return
    interrupted = False
    try:
        display = ClusterDisplay(cells, plan_totals(todo, study), study, force)
        with display:
            follow(watch, keys, display, options.poll_seconds)
    except KeyboardInterrupt:
        interrupted = True
        if not _wants_cancel():
            print(f"\nleft to Slurm, which goes on; to see how it stands: python -m ltsweep.status {study}")
            sys.exit(130)
        cancel(watch, keys)
    statuses = {cell.key: CellFolder(study, cell.key).status() for cell in cells}
    closing_table(cells, statuses, study)
    if interrupted or any(status["status"] == "failed" for status in statuses.values()):
        sys.exit(130 if interrupted else 1)


def _wants_cancel() -> bool:
    """Ask whether to leave the tasks or to cancel them; without a terminal, or an answer, they are left."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        return input("\nThe tasks go on without this command. Leave them (l), or cancel them (c)? [l] ").strip() == "c"
    except (KeyboardInterrupt, EOFError):
        return False


def _unfinished(cells: Sequence[Cell], study: Path, force: bool) -> list[Cell]:
    return [cell for cell in cells if force or CellFolder(study, cell.key).status()["status"] not in FINISHED]
