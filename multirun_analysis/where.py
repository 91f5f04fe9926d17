"""The filter `--where` over the cells of a study, in the language of `ltsweep.grid.where`."""

import dataclasses

import pandas as pd

from ltsweep.errors import UserError
from ltsweep.grid.where import chosen
from multirun_analysis import view
from multirun_analysis.errors import AnalysisError
from multirun_analysis.load import Study

# Columns that are not config values and may be compared all the same.
_ALSO = ("key", "status")


def only(study: Study, expression: str) -> Study:
    """Return the cells of a study for which `expression` holds, and their records.

    The expression is over config values by their dotted names, `key` and `status`: `seed < 3 and init in ['a', 'b']`.
    Raises AnalysisError for anything but comparisons, `and`, `or`, `not`, `in` and literals, for an unknown column,
    and where no cell is left.
    """
    names = [*_ALSO, *view.config_columns(study.cells)]
    columns = {name: study.cells[name].astype(object).tolist() for name in names}
    try:
        found = chosen(columns, expression, lambda: view.varying(study.cells))
    except UserError as error:
        raise AnalysisError(str(error)) from None
    kept = study.cells[pd.Series(found, index=study.cells.index)]
    keys = set(kept["key"])
    return dataclasses.replace(
        study,
        cells=kept.reset_index(drop=True),
        levels=_of(study.levels, keys),
        evaluations=_of(study.evaluations, keys),
        readings=_of(study.readings, keys),
    )


def _of(records: pd.DataFrame, keys: set[str]) -> pd.DataFrame:
    return records[records["key"].isin(keys)].reset_index(drop=True)
