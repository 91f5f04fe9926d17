"""The objective of a search: a column that each of its cells has."""

import pytest

from ltsweep.errors import UserError
from ltsweep.grid.objective import GRIDS, check_objective


def test_an_objective_that_some_cell_does_not_record_is_refused_of_a_search_alone():
    for name, validations, trains, mend in (
        ("best_val_accuracy", [200, 0], [True], "validation=N"),
        ("final_train_loss", [200], [True, False], "evaluate_train=true"),
    ):
        with pytest.raises(UserError, match=f"^objective={name} is null with .*{mend}"):
            check_objective(name, "optuna", validations, trains)
        check_objective(name, GRIDS[0], validations, trains)
    check_objective("final_train_loss", "optuna", [200], [True, 500])
    check_objective("best_val_accuracy", "optuna", [200], [False])
