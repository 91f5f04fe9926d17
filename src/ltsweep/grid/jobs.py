"""Hydra's view of a launch: one job a cell for callbacks and sweepers, though cells are trained as stacks."""

import copy
import os
from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from ltsweep.grid.objective import GRIDS


class Jobs:
    """One job for each list of overrides of a launch, in order, as Hydra's `run_job` would make them.

    A job's full config takes Hydra tens of milliseconds to compose, so it is composed only for callbacks.
    """

    def __init__(
        self, context: HydraContext, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
    ) -> None:
        """Keep the arguments of a launcher. first: the number of the first job in its sweep."""
        self.context, self.overrides = context, [list(overrides) for overrides in job_overrides]
        self.configs: list[DictConfig] = []
        # Whether a callback or a sweeper reads what a job returns; a grid's sweeper does not.
        self.are_read = bool(context.callbacks.callbacks) or config.hydra.sweeper._target_ not in GRIDS
        if context.callbacks.callbacks:
            self.configs = [_compose(context, config, job, first + i) for i, job in enumerate(self.overrides)]

    def start(self, task: TaskFunction) -> None:
        """Tell the callbacks that every job starts."""
        for config in self.configs:
            with _current(config):
                self.context.callbacks.on_job_start(config=config, task_function=task)

    def end(self, ends: Sequence[float | Exception]) -> list[JobReturn]:
        """Tell the callbacks how every job ended, by its objective or its error. Return the same for a sweeper."""
        returns = []
        for number, (overrides, end) in enumerate(zip(self.overrides, ends, strict=True)):
            one = result(overrides, end)
            returns.append(one)
            if self.configs:
                config = self.configs[number]
                one.cfg, one.hydra_cfg = _without_hydra(config), copy.deepcopy(config)
                with _current(config):
                    self.context.callbacks.on_job_end(config=config, job_return=one)
        return returns


def result(overrides: Sequence[str], end: float | Exception) -> JobReturn:
    """Return a job's objective or error in the form that a sweeper reads."""
    one = JobReturn(list(overrides), working_dir=os.getcwd(), task_name=JobRuntime.instance().get("name"))
    one.return_value = end
    one.status = JobStatus.FAILED if isinstance(end, Exception) else JobStatus.COMPLETED
    return one


def exit_if_grid(returns: Sequence[JobReturn], config: DictConfig) -> None:
    """Exit with 1 if a cell of a grid failed, as its closing table shows. A search handles failures itself."""
    if config.hydra.sweeper._target_ in GRIDS and any(one.status == JobStatus.FAILED for one in returns):
        raise SystemExit(1)


class _current:
    """A context in which `HydraConfig.get()` and `${hydra:...}` are a job's own."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    def __enter__(self) -> None:
        self.before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(self.config)

    def __exit__(self, *_: object) -> None:
        HydraConfig.instance().cfg = self.before


def _compose(context: HydraContext, config: DictConfig, overrides: list[str], number: int) -> DictConfig:
    """Return a job's full config, with its number and its results folder in Hydra's own node."""
    one = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(one):
        one.hydra.job.id = one.hydra.job.num = number
    with _current(one), read_write(one.hydra.runtime), open_dict(one.hydra.runtime):
        one.hydra.runtime.output_dir = os.path.abspath(os.path.join(one.hydra.sweep.dir, one.hydra.sweep.subdir))
    return one


def _without_hydra(config: DictConfig) -> DictConfig:
    own = copy.deepcopy(config)
    with read_write(own), open_dict(own):
        del own["hydra"]
    return own
