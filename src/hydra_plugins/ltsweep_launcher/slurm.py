"""The launcher `slurm`: the grid as job arrays of tasks, each of which trains many cells."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from ltsweep.cluster import slurm
from ltsweep.cluster.options import options_from
from ltsweep.errors import loading
from ltsweep.grid.compose import compose_cells
from ltsweep.grid.jobs import result
from ltsweep.grid.objective import GRIDS, check_cells
from ltsweep.grid.place import study_folder


class SlurmLauncher(Launcher):
    """A launcher that composes every cell, submits cells that can share a stack as one task, and waits or leaves."""

    def __init__(self, **options: Any) -> None:
        """Keep the settings of conf/hydra/launcher/slurm.yaml; they are checked at launch."""
        self.given = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep Hydra's context, task and config."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit the grid and, with wait=true, follow it. Exits with 1 if a cell failed, with 130 if interrupted.

        Raises UserError before any submission. Returns the objectives, or with wait=false an empty list.
        """
        slurm.check_commands()
        from ltsweep.cluster.submit import check_options  # submitit is slow to import

        given = {name: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for name, v in self.given.items()}
        options = options_from(given)
        if self.config.dry_run:
            options = replace(options, dry_run=True)
        study = study_folder(self.config.study, self.config.hydra)
        check_options(options, study)
        setup_globals()
        composed = compose_cells(self.context, self.config, job_overrides)
        check_cells(composed, self.config)

        with loading():  # torch, so after the checks
            from ltsweep.cluster.study import launch
            from ltsweep.run.extent import together
            from ltsweep.run.objective import outcome
            from ltsweep.run.settings import settings_from
            from ltsweep.store.folder import statuses_of

        cells = together(composed)
        code = launch(cells, settings_from(self.config, study), options, self.config.force)
        if code:
            raise SystemExit(code)
        if options.dry_run or not options.wait:
            return []
        objective = None if self.config.hydra.sweeper._target_ in GRIDS else self.config.objective
        statuses = statuses_of(cells, study)
        ends = [outcome(study, cell, statuses[cell.key], objective) for cell in composed]
        return [result(overrides, end) for overrides, end in zip(job_overrides, ends, strict=True)]
