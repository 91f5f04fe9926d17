"""The default launcher: the whole grid at once, on this machine."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ltsweep.grid.compose import compose_cells


class LocalLauncher(Launcher):
    """Composes every cell, runs them as stacks, and returns one result a cell, in order."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra gives."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the grid. Exits with 1 after the closing table if a cell failed; raises UserError before any work."""
        setup_globals()
        cells = compose_cells(self.context, self.config, job_overrides)

        from ltsweep.run.study import run, settings_from  # after all that can be refused without torch
        from ltsweep.show.table import closing_table

        study = Path(self.config.hydra.sweep.dir)
        statuses = run(cells, settings_from(self.config, study))
        closing_table(cells, statuses, study)
        if any(status["status"] == "failed" for status in statuses.values()):
            raise SystemExit(1)
        results = []
        for overrides, one in zip(job_overrides, cells, strict=True):
            result = JobReturn(overrides=list(overrides), working_dir=str(study / one.key), status=JobStatus.COMPLETED)
            result.return_value = statuses[one.key]
            results.append(result)
        return results
