"""Loading: the contract's columns and numbers, and every way in which a cell or a study can be wrong."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ltsweep.schema import VERSION
from ltsweep.store import tables
from ltsweep.store.tables import as_parquet
from multirun_analysis import cell, view
from multirun_analysis.errors import AnalysisError
from multirun_analysis.load import Study, load

SCORES = [f"{split}_{what}" for split in ("train", "val", "test") for what in ("loss", "accuracy")]


def test_evaluations_have_the_columns_of_the_contract(mixed: Study) -> None:
    first = ["key", "status", "arm", "draw", "level", "remaining", "weights_remaining", "weights_total"]
    config = {
        "seed",
        "levels",
        "epochs",
        "iterations",
        "batch_size",
        "validation",
        "evaluate_every",
        "init",
        "init.gain",
        "model",
        "model.activation",
        "model.negative_slope",
        "optimizer",
        "optimizer.betas",
        "dataset",
        "method",
        "method.scope",
        "method.rewind",
        "method.controls",
        "method.draws",
        "lr",
        "lr.name",
        "prune_rate",
        "prune_rate.name",
        "prune_rate.output",
    }
    assert list(mixed.evaluations.columns[:8]) == first
    assert set(mixed.evaluations.columns) == {
        *first,
        *SCORES,
        *config,
        "headline",
        "epoch",
        "iteration",
        "lr_now",
        "seconds",
    }


def test_config_values_are_joined_to_each_row_of_their_cell(mixed: Study, mixed_folder: Path) -> None:
    for key, rows in mixed.evaluations.groupby("key", observed=True):
        values = rows.drop(columns=["arm", *rows.columns[3:19]]).drop_duplicates()
        row = values[["key", "status", "init", "lr", "seed", "method.controls", "prune_rate"]]
        assert len(row) == 1
        cell = mixed.cells.set_index("key").loc[key]
        assert all(row.iloc[0][name] == cell[name] for name in row if name != "key")
    one = mixed.cells.query("init == 'kaiming_n' and lr == 0.1 and seed == 2").iloc[0]
    assert (one["lr.name"], one["method.controls"], one["optimizer.betas"]) == (
        "constant",
        "[reinit]",
        "[0.9,0.999]",
    )
    assert (mixed_folder / one["key"]).is_dir()


def test_rows_are_those_of_the_files_with_an_exact_fraction(mixed: Study, mixed_folder: Path) -> None:
    seen = 0
    for key, tidy in mixed.levels.groupby("key", observed=True):
        file = pd.read_parquet(mixed_folder / str(key) / "levels.parquet")
        assert tidy["final_test_accuracy"].tolist() == file["final_test_accuracy"].tolist()
        assert tidy["iterations_trained"].tolist() == file["iterations"].tolist()
        assert [list(row) for row in tidy["layer_remaining"]] == [list(row) for row in file["layer_remaining"]]
        counts = zip(file["weights_remaining"], file["weights_total"], strict=True)
        assert tidy["remaining"].tolist() == [left / total for left, total in counts]
        seen += len(file)
    assert seen == len(mixed.levels)
    assert mixed.levels.query("level == 6")["remaining"].round(4).unique().tolist() == [0.2632]


def test_cells_say_what_became_of_each(mixed: Study) -> None:
    assert mixed.cells["status"].value_counts().to_dict() == {
        "done": 24,
        "failed": 1,
        "diverged": 1,
        "pending": 1,
        "running": 1,
        "unreadable": 1,
    }
    reasons = mixed.cells.set_index("status")["reason"]
    assert set(reasons.loc[["done"]]) == {""}
    assert reasons["failed"] == "RuntimeError: out of memory"
    assert reasons["diverged"] == "loss is nan at level 3, iteration 917"
    assert reasons["pending"] == "not started"
    assert reasons["running"] == "at level 1 of 6"
    assert reasons["unreadable"] == "evaluations.parquet does not hold what was written (its SHA-256 is another)"


def test_a_torn_cell_has_no_rows_and_a_failed_one_keeps_its_levels(mixed: Study) -> None:
    levels = mixed.levels.groupby("status", observed=True)["level"].max()
    assert levels.to_dict() == {"done": 6, "running": 1, "failed": 2, "diverged": 3}


def _tear_config(cell: Path) -> None:
    (cell / "config.yaml").write_text("init: {name: [")


def _other_config(cell: Path) -> None:
    text = (cell / "config.yaml").read_text()
    (cell / "config.yaml").write_text(text.replace("epochs: 1", "epochs: 2"))


def _change_status(**changes: object) -> Callable[[Path], None]:
    """Change a status as one of an older version, without a SHA-256 of its own."""

    def change(cell: Path) -> None:
        status = json.loads((cell / "status.json").read_text()) | {"sha256": "GONE"} | changes
        (cell / "status.json").write_text(json.dumps({k: v for k, v in status.items() if v != "GONE"}))

    return change


def _drop_column(cell: Path) -> None:
    pd.read_parquet(cell / "levels.parquet").drop(columns="layers").to_parquet(cell / "levels.parquet")
    _change_status(files={})(cell)


def _clear(cell: Path) -> None:
    for path in cell.iterdir():
        path.unlink()


def _link(cell: Path) -> None:
    cell.rename(cell.with_name("elsewhere"))
    cell.symlink_to(cell.with_name("elsewhere"))


def _pipe(name: str) -> Callable[[Path], None]:
    def put(cell: Path) -> None:
        (cell / name).unlink()
        os.mkfifo(cell / name)

    return put


def _pipe_for_a_folder(cell: Path) -> None:
    shutil.rmtree(cell)
    os.mkfifo(cell)


def _endless(name: str) -> Callable[[Path], None]:
    def put(cell: Path) -> None:
        (cell / name).unlink()
        (cell / name).symlink_to("/dev/zero")

    return put


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_tear_config, "config.yaml is not plain YAML: "),
        (_other_config, "config.yaml is not the config of this cell: the key of what it holds is "),
        (
            lambda cell: (cell / "config.yaml").write_text("- a list"),
            "config.yaml is not a mapping of names to values",
        ),
        (lambda cell: (cell / "config.yaml").unlink(), "config.yaml is missing"),
        (lambda cell: (cell / "status.json").write_text('{"schema": 1'), "status.json is not whole"),
        (lambda cell: (cell / "status.json").unlink(), "status.json is missing"),
        (_change_status(schema=VERSION + 1), "/"),  # its path, and that a newer ltsweep wrote it
        (_change_status(status="resting"), "status.json is not a status: "),
        (_change_status(level="GONE"), "status.json is not a status: "),
        (_change_status(level=10**30), "status.json "),
        (_change_status(seconds=10**400), "status.json "),
        (_change_status(sha256="0" * 64), "status.json does not hold what was written"),
        (lambda cell: (cell / "levels.parquet").unlink(), "levels.parquet is missing"),
        (
            lambda cell: [(cell / "levels.parquet").unlink(), _change_status(files={})(cell)],
            "done, but evaluations.parquet or levels.parquet is missing",
        ),
        (lambda cell: (cell / "levels.parquet").write_bytes(b""), "levels.parquet does not hold what was written"),
        (_drop_column, "levels.parquet does not have the columns"),
        (_clear, "config.yaml is missing"),
        (_link, "{key} is a symbolic link"),
        (_pipe_for_a_folder, "config.yaml is not a readable file (Not a directory)"),
        *((_pipe(name), f"{name} is not a regular file") for name in ("config.yaml", "status.json", "levels.parquet")),
        *((_endless(name), f"{name} is not a readable file") for name in ("config.yaml", "status.json")),
        (_endless("evaluations.parquet"), "evaluations.parquet is not a readable file"),
    ],
)
def test_a_spoilt_cell_is_listed_and_left_out(
    write_cell: Callable[..., str], tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    good, bad = (write_cell(seed=seed, levels=1, epochs=1) for seed in (0, 1))
    spoil(tmp_path / "made_up" / bad)
    study = load(tmp_path / "made_up")
    row, reason = study.cells.set_index("key").loc[bad], reason.replace("{key}", bad)
    assert (row["status"], row["reason"][: len(reason)]) == ("unreadable", reason)
    assert "\n" not in row["reason"]
    assert set(study.levels["key"]) == set(study.evaluations["key"]) == {good}


def test_no_flipped_bit_of_any_file_gives_other_numbers(write_cell: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "made_up" / write_cell(levels=2, epochs=2, readings=("norm",))
    before = cell.read(folder)
    assert before.row["status"] == "done"
    rng = random.Random(0)
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        whole = path.read_bytes()
        for _ in range(40):
            at = rng.randrange(8 * len(whole))
            path.write_bytes(whole[: at // 8] + bytes([whole[at // 8] ^ 1 << at % 8]) + whole[at // 8 + 1 :])
            now = cell.read(folder)
            if now.row["status"] == "done":  # a bit on which no value hangs, such as that of a space
                assert path.suffix in (".json", ".yaml"), (path.name, at)
                assert now == before
            else:
                assert str(now.row["reason"]).startswith(path.name)
        path.write_bytes(whole)


def _add_level(cell: Path, name: str) -> None:
    """Write a table as its cell does at the end of a level: with one more level, before the status."""
    rows = pq.read_table(cell / name).to_pylist()
    last = max(row["level"] for row in rows)
    rows += [row | {"level": last + 1} for row in rows if row["level"] == last]
    time.sleep(0.02)  # for a later time of change
    (cell / name).write_bytes(as_parquet(name, rows))


@pytest.mark.parametrize("status", ["running", "failed", "pending"])
def test_a_cell_that_was_killed_between_a_table_and_its_status_is_named(
    write_cell: Callable[..., str], tmp_path: Path, status: str
) -> None:
    study = tmp_path / "made_up"
    cell = study / write_cell(status=status, levels=3, epochs=1, last=1)
    assert load(study).levels["level"].tolist() == [0, 1]
    for name in ("levels.parquet", "evaluations.parquet"):
        _add_level(cell, name)
        found = load(study)
        assert found.cells["status"].tolist() == ["unreadable"]
        assert found.cells["reason"][0].startswith(f"{name} does not hold what was written")


def test_a_table_that_was_written_after_its_end_is_not_that_of_the_cell(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    cell = tmp_path / "made_up" / write_cell(levels=1, epochs=1)
    _add_level(cell, "levels.parquet")
    assert load(tmp_path / "made_up").cells["reason"][0].startswith("levels.parquet does not hold what was written")


def test_a_level_that_is_finished_between_two_reads_is_read(
    write_cell: Callable[..., str], seal: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "made_up"
    cell = study / write_cell(status="running", levels=3, epochs=1, last=0)
    steps = iter(range(1, 3))

    def finish(path: Path, noted: object = None) -> object:
        """Finish a level just before a table is read, twice."""
        if level := next(steps, None):
            for name in ("evaluations.parquet", "levels.parquet"):
                _add_level(cell, name)
            seal(cell, json.loads((cell / "status.json").read_text()) | {"level": level, "arms": {"ticket/0": level}})
        return read(path, noted)

    read = tables.read
    monkeypatch.setattr(tables, "read", finish)
    found = load(study)
    assert found.levels["level"].tolist() == found.evaluations["level"].tolist() == [0, 1, 2]
    assert found.cells["level"].tolist() == [2]


def test_records_without_notes_are_read_by_their_schema(write_cell: Callable[..., str], tmp_path: Path) -> None:
    cell = tmp_path / "made_up" / write_cell(levels=1, epochs=1)
    before = load(tmp_path / "made_up")
    for name in ("evaluations.parquet", "levels.parquet"):
        pq.write_table(pq.read_table(cell / name), cell / name)  # without checksums of pages
    _change_status(files="GONE")(cell)
    after = load(tmp_path / "made_up")
    pd.testing.assert_frame_equal(after.levels, before.levels)
    pd.testing.assert_frame_equal(after.evaluations, before.evaluations)


def test_tables_of_two_problems_are_no_cell(write_cell: Callable[..., str], tmp_path: Path) -> None:
    """Each is whole by itself, and nothing notes what they were."""
    cell = tmp_path / "made_up" / write_cell(levels=1, epochs=1)
    table = pq.read_table(cell / "levels.parquet")
    other = [name.replace("accuracy", "top1") for name in table.column_names]
    pq.write_table(table.rename_columns(other), cell / "levels.parquet")
    _change_status(files="GONE")(cell)
    (row,) = load(tmp_path / "made_up").cells.itertuples()
    assert (row.status, row.reason) == ("unreadable", "levels.parquet has other scores than evaluations.parquet")


def test_what_another_program_says_of_a_table_beside_its_columns_is_not_read(
    write_cell: Callable[..., str], seal: Callable[..., None], tmp_path: Path
) -> None:
    cell = tmp_path / "made_up" / write_cell(levels=1, epochs=1)
    before = load(tmp_path / "made_up")
    for name in ("evaluations.parquet", "levels.parquet"):
        said = {b"pandas": b'{"index_columns": [], "column_indexes": [], "columns": [1], "pandas_version": "2"}'}
        pq.write_table(pq.read_table(cell / name).replace_schema_metadata(said), cell / name, write_page_checksum=True)
    seal(cell, json.loads((cell / "status.json").read_text()))
    after = load(tmp_path / "made_up")
    pd.testing.assert_frame_equal(after.levels, before.levels)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("final_test_accuracy", -2.0, "a final_test_accuracy of -2"),
        ("final_test_loss", 1e300, "a final_test_loss of 1e+300"),
        ("layers", ["fc1.weight"] * 3, "a layer twice in a row"),
    ],
)
def test_a_value_that_no_training_gives_is_named(
    write_cell: Callable[..., str], seal: Callable[..., None], tmp_path: Path, column: str, value: object, says: str
) -> None:
    cell = tmp_path / "made_up" / write_cell(levels=1, epochs=1)
    rows = pq.read_table(cell / "levels.parquet").to_pylist()
    rows[1][column] = value
    (cell / "levels.parquet").write_bytes(as_parquet("levels.parquet", rows))
    seal(cell, json.loads((cell / "status.json").read_text()))
    assert load(tmp_path / "made_up").cells["reason"][0] == f"levels.parquet has {says}"


@pytest.mark.parametrize("seed", [None, True, 0.5, -1, 2**63, "0", [1]])
def test_a_config_without_a_seed_is_none_and_leaves_the_others_theirs(
    write_cell: Callable[..., str], tmp_path: Path, seed: object
) -> None:
    good, bad = (write_cell(seed=value, levels=0, epochs=1) for value in (1, seed))
    cells = load(tmp_path / "made_up").cells.set_index("key")
    assert cells.loc[bad, "reason"] == "config.yaml has no whole number as its seed, by which cells are paired"
    assert cells.loc[good, "seed"] == 1


def test_configs_that_differ_in_no_column_are_not_one(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for seed in range(2):
        for target in ("mine.first", "mine.second"):
            write_cell(seed=seed, model___target_=target, levels=0, epochs=1)
    study = load(tmp_path / "made_up")
    assert view.varying(study.cells) == ["config"]
    assert sorted(study.cells.groupby("config", observed=True)["seed"].apply(sorted)) == [[0, 1], [0, 1]]


def test_a_done_cell_whose_records_stop_short_says_so(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=5, epochs=1, last=3)
    assert load(tmp_path / "made_up").cells["reason"].tolist() == ["done, but its records end at level 3 of 5"]


def test_rows_of_an_arm_count_up_to_its_own_last_level(
    write_cell: Callable[..., str], seal: Callable[..., None], tmp_path: Path
) -> None:
    """Controls that were added later, and killed on the way: their rows count as far as the status says."""
    cell = tmp_path / "made_up" / write_cell(levels=4, epochs=1, arms={"ticket": 1, "reinit": 2})
    status = json.loads((cell / "status.json").read_text())
    seal(cell, status | {"arms": {"ticket/0": 4, "reinit/0": 2}})
    found = load(tmp_path / "made_up")
    for table in (found.levels, found.evaluations):
        last = table.groupby(["arm", "draw"], observed=True)["level"].max().to_dict()
        assert last == {("ticket", 0): 4, ("reinit", 0): 2}


def test_older_records_are_read_and_a_cell_that_was_computed_anew_counts_once(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    study = tmp_path / "made_up"
    short, long = (write_cell(version=1, seed=1, levels=levels, epochs=1) for levels in (1, 3))
    assert short != long
    found = load(study)
    assert set(found.levels["key"]) == {long}
    reasons = dict(zip(found.cells["key"], found.cells["reason"], strict=True))
    assert reasons == {short: f"the same cell as {long}, which counts in its place", long: ""}
    anew = write_cell(seed=1, levels=2, epochs=1)
    found = load(study)
    assert set(found.levels["key"]) == {anew}
    assert view.varying(found.cells) == []
    other = write_cell(version=1, seed=2, levels=2, epochs=1)
    assert set(load(study).levels["key"]) == {anew, other}


def test_cells_of_other_lengths_and_controls_are_one_choice(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(seed=0, levels=2, epochs=1)
    write_cell(seed=1, levels=3, epochs=1, method__controls=["reinit"], arms={"ticket": 1, "reinit": 1})
    assert view.varying(load(tmp_path / "made_up").cells) == []


def test_a_study_without_any_record_has_all_columns_and_no_rows(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(status="pending")
    study = load(tmp_path / "made_up")
    assert len(study.levels) == len(study.evaluations) == 0
    assert {"remaining", "final_test_accuracy", "init", "lr"} <= set(study.levels.columns)


def test_scores_without_validation_are_null(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(validation=0, levels=1, epochs=2)
    study = load(tmp_path / "made_up")
    assert study.evaluations["val_loss"].isna().all()
    assert study.levels["early_stop_iteration"].isna().all()
    assert study.levels["early_stop_iteration"].dtype == "float64"


def test_other_files_and_folders_of_a_study_are_no_cells(write_cell: Callable[..., str], tmp_path: Path) -> None:
    key = write_cell(levels=0, epochs=1)
    (tmp_path / "made_up" / "figures").mkdir()
    (tmp_path / "made_up" / "multirun.yaml").write_text("")
    assert load(tmp_path / "made_up").cells["key"].tolist() == [key]


def test_a_folder_that_is_no_study_says_what_to_do(write_cell: Callable[..., str], tmp_path: Path) -> None:
    key = write_cell(levels=0, epochs=1)
    study, empty, file = tmp_path / "made_up", tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.write_text("")
    for path, says in {
        tmp_path / "mode_up": f"no such folder; studies here: {study}",
        tmp_path / "gone" / "study": f"no such folder; {tmp_path / 'gone'} does not exist either; a study is written",
        empty: "no cells in this folder, so it is not a study; a study is written by `python -m ltsweep`",
        tmp_path: f"no cells in this folder, so it is not a study; studies here: {study}",
        file: "not a folder; studies here",
        study / key: f"one cell, not a study; give its study, {study}",
    }.items():
        with pytest.raises(AnalysisError) as raised:
            load(path)
        assert str(raised.value).startswith(f"{path}: {says}")


def test_several_studies_are_read_as_one(write: Callable[..., str], tmp_path: Path) -> None:
    keys = [
        write(tmp_path / name, init=init, levels=1, epochs=1)
        for name, init in (("a", "xavier_n"), ("b/c", "xavier_n"), ("b/c", "kaiming_n"))
    ]
    study = load(tmp_path / "a", tmp_path / "b" / "c")
    assert keys[0] == keys[1]  # a cell has one key, wherever it was run
    assert study.path == tmp_path.resolve()
    assert set(study.cells["key"]) == {f"a/{keys[0]}", f"b/c/{keys[1]}", f"b/c/{keys[2]}"}
    assert dict(zip(study.cells["key"], study.cells["study"], strict=True)) == {
        key: key.rpartition("/")[0] for key in study.cells["key"]
    }
    assert all((study.path / key / "config.yaml").is_file() for key in study.cells["key"])
    one = load(tmp_path / "b" / "c").levels
    both = study.levels[study.levels["study"].eq("b/c")]
    assert both["final_test_accuracy"].tolist() == one["final_test_accuracy"].tolist()
    assert "study" not in one


def test_a_study_given_twice_is_an_error(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=0, epochs=1)
    with pytest.raises(AnalysisError, match="made_up: given twice"):
        load(tmp_path / "made_up", tmp_path / "." / "made_up")
