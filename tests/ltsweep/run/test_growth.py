"""Cells that grow: deeper, with controls and draws, killed on the way; and what is asked of cells that go further."""

import dataclasses
import math

import pyarrow.parquet as pq
import pytest
import yaml

from ltsweep.cluster.local import compute
from ltsweep.errors import UserError
from ltsweep.grid.cell import from_config
from ltsweep.run.extent import as_asked, lacks, together
from ltsweep.run.objective import outcome
from ltsweep.run.prepare import prepare
from ltsweep.run.settings import Settings
from ltsweep.store.records import CellRecords

SMALL = ("dataset=digits", "iterations=6", "evaluate_every=3", "batch_size=30")
CONTROLS = "method.controls=[reinit,random_mask]"


@pytest.fixture(scope="module")
def asked(compose):
    """Return a function of overrides: two cells that differ in their seed."""
    return lambda *overrides: [from_config(compose(*SMALL, f"seed={seed}", *overrides)) for seed in (0, 1)]


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "study", tmp_path, device="cpu", workers=1, stack_size=4)


@pytest.fixture
def saves(monkeypatch):
    """Return the list of (key, arms) saved from now on; `stop_at` in it makes the save of that number a kill."""

    class Saves(list):
        stop_at = math.inf

    noted, save = Saves(), CellRecords.save_level

    def watched(self, arms, *how, **rows):
        if len(noted) == noted.stop_at:
            noted.stop_at = math.inf
            raise KeyboardInterrupt
        noted.append((self.folder.name, dict(arms)))
        save(self, arms, *how, **rows)

    monkeypatch.setattr(CellRecords, "save_level", watched)
    return noted


def run(cells, settings):
    return compute(prepare(cells, settings))


def trained(saves):
    """Return (arm, level) pairs in the order in which they were saved, of each cell alike."""
    each = {}
    for key, arms in saves:
        each.setdefault(key, []).extend(arms.items())
    (one,) = {tuple(found) for found in each.values()}
    return list(one)


def records(study):
    """Return what a study holds of its cells, but for seconds: tables, tickets and what the status counts."""
    found = {}
    for folder in sorted(path for path in study.iterdir() if (path / "status.json").exists()):
        for path in sorted(folder.rglob("*.safetensors")):
            found[folder.name, path.name] = path.read_bytes()
        for path in sorted(folder.glob("*.parquet")):
            found[folder.name, path.name] = pq.read_table(path).drop_columns("seconds").to_pylist()
        status = CellRecords(study, folder.name).status()
        found[folder.name, "status"] = {name: status[name] for name in ("status", "level", "levels", "arms", "error")}
    return found


def test_a_deeper_cell_is_the_same_cell_and_ends_with_the_bits_of_one_that_was_deep_from_the_start(
    asked, settings, saves, tmp_path
):
    assert [cell.key for cell in asked("levels=1")] == [cell.key for cell in asked("levels=3", CONTROLS)]
    run(asked("levels=1"), settings)
    saves.clear()
    statuses = run(asked("levels=3"), settings)
    assert trained(saves) == [("ticket/0", 2), ("ticket/0", 3)]
    assert {(status["status"], status["level"]) for status in statuses.values()} == {("done", 3)}
    whole = dataclasses.replace(settings, study=tmp_path / "whole")
    run(asked("levels=3"), whole)
    assert records(settings.study) == records(whole.study)


def test_no_accuracy_of_a_control_is_shown_as_the_cells(asked, settings, capsys):
    said = []
    for controls in ("[]", "[reinit]"):
        run(asked("levels=1", f"method.controls={controls}"), settings)
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("done")]
        said.append([", test accuracy 0." in line for line in lines])
    assert said == [[True, True], [False, False]]


def test_controls_and_draws_are_trained_alone_beside_what_there_is(asked, settings, saves, tmp_path):
    run(asked("levels=2"), settings)
    tickets = {place: value for place, value in records(settings.study).items() if "safetensors" in place[1]}
    saves.clear()
    run(asked("levels=2", "method.controls=[reinit]"), settings)
    assert trained(saves) == [("reinit/0", 1), ("reinit/0", 2)]
    saves.clear()
    run(asked("levels=3", CONTROLS, "method.draws=2"), settings)
    new = {"reinit/1", "random_mask/0", "random_mask/1"}
    assert {(arm, level) for arm, level in trained(saves)} == (
        {(arm, level) for arm in new for level in (1, 2, 3)} | {("ticket/0", 3), ("reinit/0", 3)}
    )
    grown = records(settings.study)
    assert tickets.items() <= grown.items()
    whole = dataclasses.replace(settings, study=tmp_path / "whole")
    run(asked("levels=3", CONTROLS, "method.draws=2"), whole)
    for place, value in records(whole.study).items():
        if place[1] == "evaluations.parquet":  # of other stacks, so not to the bit
            for row, again in zip(value, grown[place], strict=True):
                for name in row:
                    close = pytest.approx(row[name], rel=1e-3, nan_ok=True) if "loss" in name else row[name]
                    assert again[name] == close, name
        elif place[1] == "status":
            assert grown[place] == value


def test_a_growth_that_is_killed_at_any_save_ends_with_the_same_bits(asked, settings, saves, tmp_path):
    grown = dataclasses.replace(settings, study=tmp_path / "grown")
    run(asked("levels=1"), grown)
    saves.clear()
    run(asked("levels=2", CONTROLS), grown)
    whole, count = records(grown.study), len(saves)
    assert count == 2 * 2
    for number in range(count):
        study = dataclasses.replace(settings, study=tmp_path / f"killed-{number}")
        run(asked("levels=1"), study)
        saves.clear()
        saves.stop_at = number
        with pytest.raises(KeyboardInterrupt):
            run(asked("levels=2", CONTROLS), dataclasses.replace(study, checkpoint_every=0.0 if number % 2 else 1000.0))
        run(asked("levels=2", CONTROLS), study)
        assert len(saves) == count  # nothing twice
        assert records(study.study) == whole


def test_a_shallower_ask_finds_the_deeper_cell_done_at_its_own_level(asked, settings, saves):
    run(asked("levels=2", CONTROLS), settings)
    before, _ = records(settings.study), saves.clear()
    short = asked("levels=1")
    statuses = run(short, settings)
    assert saves == []
    assert records(settings.study) == before
    assert {(status["status"], status["level"]) for status in statuses.values()} == {("done", 1)}
    rows = pq.read_table(settings.study / short[0].key / "levels.parquet").to_pylist()
    (expected,) = [row for row in rows if (row["arm"], row["level"]) == ("ticket", 1)]
    status = CellRecords(settings.study, short[0].key).status()
    assert outcome(settings.study, short[0], status, "final_val_loss") == expected["final_val_loss"]


def test_a_killed_deeper_ask_is_no_failure_of_a_shallower_one(asked, settings, saves):
    saves.stop_at = 4
    with pytest.raises(KeyboardInterrupt):
        run(asked("levels=4"), settings)
    statuses = run(asked("levels=1"), settings)
    assert {(status["status"], status["level"]) for status in statuses.values()} == {("done", 1)}
    assert len(saves) == 4


def test_other_lengths_of_a_cell_in_one_grid_are_one_cell_that_goes_as_far_as_any(asked):
    cells = [*asked("levels=2"), *asked("levels=4"), *asked("levels=3", CONTROLS, "method.draws=2")]
    found = together(cells)
    assert len(found) == 2
    assert {(cell.config["levels"], cell.config["method"]["draws"]) for cell in found} == {(4, 2)}
    assert {tuple(cell.config["method"]["controls"]) for cell in found} == {("reinit", "random_mask")}
    assert together(asked("levels=2")) == tuple(asked("levels=2"))


def test_the_config_on_the_disk_describes_all_that_there_is(asked, settings):
    run(asked("levels=3", "method.controls=[reinit]"), settings)
    cells = asked("levels=1", "method.controls=[random_mask]", "method.draws=2")
    run(cells, settings)
    for cell in cells:
        config = yaml.safe_load((settings.study / cell.key / "config.yaml").read_text())
        assert (config["levels"], config["method"]["draws"]) == (3, 2)
        assert sorted(config["method"]["controls"]) == ["random_mask", "reinit"]
        status = CellRecords(settings.study, cell.key).status()
        assert (status["status"], status["level"], status["levels"]) == ("done", 3, 3)
        assert status["arms"] == {"ticket/0": 3, "reinit/0": 3, "random_mask/0": 1, "random_mask/1": 1}


def test_a_control_of_ones_own_that_is_another_function_under_its_name_is_refused(asked, settings):
    own = "{_target_: ltsweep.method.control.reinit, _partial_: true}"
    with pytest.raises(UserError, match=r"a function of your own needs another name"):
        run(asked("levels=1", f"method.controls=[{own}]"), settings)
    one, two = (f"[{{_target_: torch.utils.data.default_convert, _partial_: true, more: {more}}}]" for more in (1, 2))
    cells = asked("levels=1", f"method.controls={one}")
    recorded = {"method": cells[0].config["method"]}
    status = {"status": "done", "level": 1, "arms": {"ticket/0": 1, "default_convert/0": 1}}
    from ltsweep.run.extent import check_definitions

    check_definitions(cells[0], status, lambda: recorded)
    other = asked("levels=1", f"method.controls={two}")[0]
    assert other.key == cells[0].key
    with pytest.raises(UserError, match=r"default_convert.*give it another name, another study=NAME, or force=true"):
        check_definitions(other, status, lambda: recorded)
    with pytest.raises(UserError, match=r"default_convert has two definitions"):
        together([cells[0], other])


@pytest.mark.parametrize(
    ("status", "level", "arms", "levels", "expected"),
    [
        ("pending", -1, {}, 2, 0),
        ("running", 0, {"ticket/0": 0}, 2, 1),
        ("failed", 1, {"ticket/0": 1}, 2, 2),
        ("done", 2, {"ticket/0": 2}, 2, None),
        ("done", 2, {"ticket/0": 2}, 3, 3),
        ("running", 2, {"ticket/0": 2}, 1, None),
        ("diverged", 1, {"ticket/0": 1}, 3, None),
    ],
)
def test_what_a_cell_lacks_follows_from_its_status(asked, status, level, arms, levels, expected):
    cell = asked(f"levels={levels}")[0]
    found = {"status": status, "level": level, "arms": arms, "error": None}
    assert lacks(cell, found) == expected
    shown = as_asked(cell, found)
    ended = expected is None and not (status == "diverged" and level <= levels)
    assert (shown["status"], shown["level"]) == (("done", levels) if ended else (status, level))
