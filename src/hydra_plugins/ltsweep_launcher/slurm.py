"""The launcher `slurm`: the grid as job arrays of tasks, each of which trains many cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from ltsweep.cluster import slurm
from ltsweep.cluster.options import options_from
from ltsweep.grid.compose import compose_cells


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

        Raises UserError before anything is submitted. Returns nothing: the results are in the cells' folders.
        """
        slurm.check_commands()
        from ltsweep.cluster.submit import check_options  # submitit is slow to import

        given = {name: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for name, v in self.given.items()}
        options = options_from(given)
        study = Path(self.config.hydra.sweep.dir)
        check_options(options, study)
        setup_globals()
        composed = compose_cells(self.context, self.config, job_overrides)

        from ltsweep.cluster.study import launch  # after all that can be refused without torch
        from ltsweep.run.settings import settings_from

        cells = list({cell.key: cell for cell in composed}.values())
        code = launch(cells, settings_from(self.config, study), options, self.config.force)
        if code:
            raise SystemExit(code)
        return []
