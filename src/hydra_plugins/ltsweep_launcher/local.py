"""The default launcher: the whole grid at once, on this machine."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ltsweep.errors import loading
from ltsweep.grid.compose import compose_cells
from ltsweep.grid.jobs import Jobs, exit_if_grid
from ltsweep.grid.objective import check_cells
from ltsweep.grid.place import study_folder


class LocalLauncher(Launcher):
    """A launcher that composes every cell, runs them as stacks, and returns one result a cell, in order."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep Hydra's context, task and config."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the grid and return its objectives. Raises UserError before any work.

        If a cell failed, a search gets the cell's error; a grid exits with 1 after the closing table.
        """
        setup_globals()
        cells = compose_cells(self.context, self.config, job_overrides)
        check_cells(cells, self.config)

        with loading():  # torch, so after the checks
            from ltsweep.cluster.local import compute, look
            from ltsweep.run.objective import outcome
            from ltsweep.run.prepare import prepare
            from ltsweep.run.settings import settings_from
            from ltsweep.show.table import closing_table

        study = study_folder(self.config.study, self.config.hydra)
        force: bool = self.config.force
        dry: bool = self.config.dry_run
        plan = prepare(cells, settings_from(self.config, study), again=force, download=not dry)
        if dry:
            look(plan, force)
            return []
        jobs = Jobs(self.context, self.config, job_overrides, initial_job_idx)
        jobs.start(self.task)
        try:
            statuses = compute(plan, force)
        except Exception as error:
            jobs.end([error] * len(cells))
            raise
        closing_table(plan.cells, statuses, study)
        objective = self.config.objective if jobs.are_read else None
        returns = jobs.end([outcome(study, cell, statuses[cell.key], objective) for cell in cells])
        exit_if_grid(returns, self.config)
        return returns
