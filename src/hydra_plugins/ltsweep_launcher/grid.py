"""The sweeper `grid`: Hydra's basic sweeper, without composing cells and without writing files itself."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn

from ltsweep.errors import UserError


class GridSweeper(BasicSweeper):
    """A sweeper that passes all combinations of the choices to the launcher at once.

    Hydra's basic sweeper composes each cell as a check, before the launcher composes it again, and writes into the
    study's folder even if the check fails. Here the launcher's composition is the check.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the product of `hydra.sweeper.params` and `arguments`; for a key in both, `arguments` wins.

        Raises UserError for an interval or an empty grid.
        """
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        for override in overrides:
            if override.is_interval_sweep():
                raise UserError(
                    f"{override.input_line}: a grid takes values, as choice(...) or range(...); "
                    "an interval is for a search, such as hydra/sweeper=optuna"
                )
        batches = self.split_arguments(overrides, self.max_batch_size)
        if not any(batches):
            raise UserError(f"{' '.join(arguments)}: the grid is empty, since a sweep has no values")
        results: list[Sequence[JobReturn]] = []
        launched = 0
        for batch in batches:
            results.append(self.launcher.launch(batch, initial_job_idx=launched))
            launched += len(batch)
            for job in results[-1]:
                _ = job.return_value  # raises the error of a failed job of a stock launcher
        return results
