"""The sweeper: Hydra's basic one, which composes nothing by itself and leaves nothing behind when refused."""

import re
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn

from ltsweep.errors import UserError
from ltsweep.schema import SETTINGS


class GridSweeper(BasicSweeper):
    """Every combination of the choices, handed to the launcher at once.

    The basic sweeper composes each cell to see whether it can be, which the launcher does again, and writes into the
    study's folder before it knows. Here the launcher's composition is the check.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the product of `hydra.sweeper.params` and the command line, which wins where both name a key."""
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        study = self.config.study
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", str(study)):
            raise UserError(f"study={study} is no name for a folder: letters, digits, '_', '-' and '.' are")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        for override in overrides:
            if override.is_sweep_override() and override.key_or_group in (*SETTINGS, "experiment"):
                raise UserError(f"{override.input_line}: a study has one {override.key_or_group}; give it one value")
        results: list[Sequence[JobReturn]] = []
        batches = self.split_arguments(overrides, self.max_batch_size)
        if not any(batches):
            raise UserError(f"{' '.join(arguments)}: the grid is empty, since a sweep has no values")
        for batch in batches:
            launched = sum(len(jobs) for jobs in results)
            results.append(self.launcher.launch(batch, initial_job_idx=launched))
            for job in results[-1]:
                _ = job.return_value  # raises what a job of a stock launcher raised
        return results
