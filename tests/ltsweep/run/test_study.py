import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from ltsweep.cluster import local
from ltsweep.cluster.local import compute
from ltsweep.errors import UserError
from ltsweep.grid.cell import from_config
from ltsweep.run import prepare as prepare_module
from ltsweep.run import stack_run
from ltsweep.run import stack_run as stack_run_module
from ltsweep.run import study as run_module
from ltsweep.run.packing import stack_id
from ltsweep.run.settings import Settings, settings_from
from ltsweep.show.table import LiveTable
from ltsweep.store.checkpoints import save_checkpoint, stack_name
from ltsweep.store.records import CellRecords, forget

SMALL = ("dataset=digits", "iterations=4", "levels=2", "batch_size=30")


@pytest.fixture(scope="module")
def cells(compose):
    return [from_config(compose(*SMALL, f"seed={seed}")) for seed in range(3)]


@pytest.fixture
def settings(tmp_path):
    """Return a function that makes settings for one study: one process, on the CPU."""
    common = {"study": tmp_path / "study", "data_dir": tmp_path, "device": "cpu", "workers": 1}
    return lambda **changes: Settings(**common | changes)


def run(cells, settings, force=False):
    return compute(prepare_module.prepare(cells, settings, again=force), force)


def contents(study):
    return {path.relative_to(study): path.read_bytes() for path in study.rglob("*") if path.is_file()}


def rows(study, cell):
    """Return a cell's evaluations without the time they took."""
    table = pq.read_table(study / cell.key / "evaluations.parquet").to_pylist()
    return [{name: value for name, value in row.items() if name != "seconds"} for row in table]


def test_the_same_cells_again_compute_nothing_and_more_cells_only_what_is_new(cells, settings, monkeypatch):
    study = settings().study
    statuses = run(cells[:2], settings())
    assert {key: (s["status"], s["level"]) for key, s in statuses.items()} == {c.key: ("done", 2) for c in cells[:2]}
    before, started = contents(study), []
    original = run_module.run_stack
    monkeypatch.setattr(
        run_module, "run_stack", lambda job, *where: (started.extend(job.stack.cells), original(job, *where))[1]
    )
    assert run(cells[:2], settings()) == statuses
    assert contents(study) == before
    assert started == []
    run(cells, settings())
    assert started == cells[2:]
    after = contents(study)
    assert {path: after[path] for path in before} == before


def test_force_computes_again_from_nothing(cells, settings):
    study = settings().study
    run(cells[:2], settings())
    before, first = contents(study), rows(study, cells[0])
    times = pq.read_table(study / cells[0].key / "evaluations.parquet").column("seconds").to_pylist()
    CellRecords(study, cells[0].key).log("an old line")
    statuses = run(cells[:1], settings(), force=True)
    assert statuses[cells[0].key]["status"] == "done"
    assert rows(study, cells[0]) == first
    assert pq.read_table(study / cells[0].key / "evaluations.parquet").column("seconds").to_pylist() != times
    assert "an old line" not in (study / cells[0].key / "cell.log").read_text()
    after = contents(study)
    assert all(after[path] == content for path, content in before.items() if path.parts[0] == cells[1].key)


def test_twice_the_same_cell_is_one(cells, settings):
    statuses = run([cells[0], cells[0]], settings())
    assert list(statuses) == [cells[0].key]
    assert [row["iteration"] for row in rows(settings().study, cells[0])] == [0, 4] * 3


def begun_again(study, key):
    """Return where a cell was last gone on from, by its log."""
    starts = [line for line in (study / key / "cell.log").read_text().splitlines() if "  starts " in line]
    assert len(starts) == 2
    return starts[-1].split("  starts ")[1].partition(",")[0]


@pytest.fixture
def saves(monkeypatch):
    """Return the list of (key, level) saved from now on; `stop_at` in it makes that save an interrupt, once."""

    class Saves(list):
        stop_at = None

    noted, save = Saves(), CellRecords.save_level

    def watched(self, arms, *how, **rows):
        level = max(arms.values())
        if (self.folder.name, level) == noted.stop_at:
            noted.stop_at = None
            raise KeyboardInterrupt
        noted.append((self.folder.name, level))
        save(self, arms, *how, **rows)

    monkeypatch.setattr(CellRecords, "save_level", watched)
    return noted


@pytest.mark.parametrize("checkpoint_every", [0.0, 1000.0])
def test_an_interrupted_stack_goes_on_from_its_last_level_and_ends_as_if_never_stopped(
    cells, settings, tmp_path, saves, checkpoint_every
):
    whole = settings(study=tmp_path / "whole")
    run(cells, whole)
    saves.clear()
    keys = [cell.key for cell in cells]
    saves.stop_at = (keys[1], 1)
    with pytest.raises(KeyboardInterrupt):
        run(cells, settings(checkpoint_every=checkpoint_every))
    assert saves == [*((key, 0) for key in keys), (keys[0], 1)]
    saves.clear()
    statuses = run(cells, settings(checkpoint_every=checkpoint_every))
    # What was saved is not saved again: level 0, and level 1 of the first cell, which trains along through it.
    assert saves == [*((key, 1) for key in keys[1:]), *((key, 2) for key in keys)]
    assert [statuses[key]["status"] for key in keys] == ["done"] * 3
    assert begun_again(settings().study, keys[0]) == "at level 2"
    assert begun_again(settings().study, keys[1]) == ("in level 1" if checkpoint_every == 0 else "at level 1")
    for cell in cells:
        assert rows(settings().study, cell) == rows(whole.study, cell)
        for level in (1, 2):
            ticket = f"{cell.key}/tickets/level_{level:02d}.safetensors"
            assert (settings().study / ticket).read_bytes() == (whole.study / ticket).read_bytes()
    assert not (settings().study / ".stacks").exists()


def files_of(study, cell):
    """Return file -> time of change and content, of one cell."""
    files = [path for path in (study / cell.key).rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def assert_same_numbers(cells, study, whole):
    for cell in cells:
        assert rows(study, cell) == rows(whole, cell)
        for level in (1, 2):
            ticket = f"{cell.key}/tickets/level_{level:02d}.safetensors"
            assert (study / ticket).read_bytes() == (whole / ticket).read_bytes()


def assert_records_are_true(statuses):
    for status in statuses.values():
        assert status["stack"] == stack_name(status["stack_keys"])
        assert status["stack_cells"] == len(status["stack_keys"])


@pytest.fixture
def left_early(cells, settings, saves):
    """Return a study killed at level 1, the first cell of which then went on alone to its end; and that cell's files.

    Of the others, the second has level 1 behind it.
    """
    saves.stop_at = (cells[2].key, 1)
    with pytest.raises(KeyboardInterrupt):
        run(cells, settings(checkpoint_every=0.0))
    assert run(cells[:1], settings())[cells[0].key]["status"] == "done"
    saves.clear()
    return settings().study, files_of(settings().study, cells[0])


@pytest.mark.parametrize("unreadable", [None, "level_01", "init"])
def test_a_finished_cell_stays_finished_while_its_former_stack_goes_on(
    cells, settings, tmp_path, saves, left_early, unreadable, capsys
):
    study, finished = left_early
    whole = settings(study=tmp_path / "whole")
    run(cells, whole)
    saves.clear()
    capsys.readouterr()
    if unreadable:  # unseen, since neither size nor time of change is another: the cell trains along from dense weights
        path = study / cells[0].key / f"tickets/{unreadable}.safetensors"
        at, content = finished[path]
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(at, at))
        finished[path] = (at, path.read_bytes())
    keys = [cell.key for cell in cells]
    saves.stop_at = (keys[2], 2)
    with pytest.raises(KeyboardInterrupt):
        run(cells, settings(checkpoint_every=1000.0))
    assert saves == [(keys[2], 1), (keys[1], 2)]
    assert "3 cells, 1 already finished, 2 to compute, 2 of them from where they stopped" in capsys.readouterr().out
    assert files_of(study, cells[0]) == finished
    statuses = run(cells, settings())
    assert saves == [(keys[2], 1), (keys[1], 2), (keys[2], 2)]
    assert "2 already finished, 1 to compute" in capsys.readouterr().out
    assert files_of(study, cells[0]) == finished
    assert {status["status"] for status in statuses.values()} == {"done"}
    assert_records_are_true(statuses)
    assert [statuses[key]["stack_cells"] for key in keys] == [1, 3, 3]
    assert_same_numbers(cells[1:], study, whole.study)
    assert not (study / ".stacks").exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_checkpoint_that_no_record_names_any_more_is_not_gone_on_from(cells, settings, monkeypatch, force):
    """Its cells may have been begun by another command, or by a stranger."""
    save = stack_run_module.save_checkpoint

    def once(*what):
        save(*what)
        raise KeyboardInterrupt

    monkeypatch.setattr(stack_run_module, "save_checkpoint", once)
    with pytest.raises(KeyboardInterrupt):
        run(cells, settings(checkpoint_every=0.0))
    monkeypatch.undo()
    assert (settings().study / f".stacks/{stack_id(cells)}.safetensors").exists()
    for cell in cells:
        (settings().study / cell.key / "status.json").write_text("torn")
    run(cells, settings(), force)
    for cell in cells:
        logged = (settings().study / cell.key / "cell.log").read_text()
        assert "starts at level 0" in logged.splitlines()[-4]
        assert "in level 0" not in logged


def test_the_checkpoint_of_a_stack_stays_until_its_last_cell_has_left(cells, settings, left_early):
    study, _ = left_early
    (path,) = (study / ".stacks").iterdir()
    assert path.stem == stack_id(cells)
    run(cells[:1], settings(), force=True)
    assert path.exists()
    run(cells[1:2], settings())
    assert path.exists()
    statuses = run(cells[2:], settings())
    assert not path.exists()
    assert_records_are_true(statuses)


def test_the_cells_that_leave_a_stack_go_on_together_under_a_name_of_their_own(cells, settings, saves, left_early):
    study, finished = left_early
    keys = [cell.key for cell in cells]
    before = CellRecords(study, keys[1]).masks(2)
    statuses = run(cells[1:], settings())
    assert saves == [(keys[2], 1), (keys[1], 2), (keys[2], 2)]
    assert [status["stack"] for status in statuses.values()] == [stack_id(cells[1:])] * 2
    assert {status["packed"]["left"] for status in statuses.values()} == {stack_id(cells)}
    assert_records_are_true(statuses)
    assert files_of(study, cells[0]) == finished
    # Level 2 of the cell that was ahead began with the masks that were on the disk.
    assert all(torch.equal(mask, before[name]) for name, mask in CellRecords(study, keys[1]).masks(2).items())
    pruned = pq.read_table(study / keys[1] / "levels.parquet").to_pylist()[-1]["weights_remaining"]
    assert pruned == sum(int(mask.sum()) for mask in before.values())


def test_an_error_beside_a_finished_cell_lets_the_others_go_on_without_it(cells, settings, saves, left_early, capsys):
    study, finished = left_early
    saves.stop_at = (cells[2].key, 2)
    with pytest.raises(KeyboardInterrupt):
        run(cells, settings())
    original, failed = stack_run.run_levels, []

    def too_large(program, members, *how):
        if len(members) > 1:
            failed.append(len(members))
            raise MemoryError
        return original(program, members, *how)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stack_run, "run_levels", too_large)
        statuses = run(cells, settings())
    assert failed == [3]
    assert "a stack of 3 failed (MemoryError:); its unfinished cell goes on alone" in capsys.readouterr().out
    assert {status["status"] for status in statuses.values()} == {"done"}
    assert statuses[cells[2].key]["packed"] == {"halved": stack_id(cells)}
    assert_records_are_true(statuses)
    assert files_of(study, cells[0]) == finished


@pytest.mark.parametrize(
    "torn", ["tickets/level_01.safetensors", "tickets/init.safetensors", "evaluations.parquet", "status.json"]
)
def test_a_cell_with_a_torn_file_starts_over_alone_and_ends_as_if_never_stopped(
    cells, settings, tmp_path, saves, torn, capsys
):
    whole = settings(study=tmp_path / "whole")
    run(cells, whole)
    saves.stop_at = (cells[0].key, 1)
    with pytest.raises(KeyboardInterrupt):
        run(cells, settings())
    path = settings().study / cells[1].key / torn
    path.write_bytes(path.read_bytes()[:-20])
    saves.clear()
    statuses = run(cells, settings())
    expected = [(cell.key, level) for cell in cells for level in range(3) if level or cell is cells[1]]
    assert sorted(saves) == sorted(expected)  # its neighbours go on
    assert f"{path} " in capsys.readouterr().out
    assert f"{path} " in (settings().study / cells[1].key / "cell.log").read_text()
    for cell in cells:
        assert statuses[cell.key]["status"] == "done"
        for row, again in zip(rows(whole.study, cell), rows(settings().study, cell), strict=True):
            # other stacks than of the whole, so not to the bit
            assert again["weights_remaining"] == row["weights_remaining"]
            assert again["train_loss"] == pytest.approx(row["train_loss"], rel=1e-3)


def test_a_checkpoint_that_does_not_fit_does_not_fail_the_cell_for_good(cells, settings):
    cell, study = cells[0], settings().study
    study.mkdir()
    facts = {
        "level": 0,
        "step": 2,
        "seconds": 0.0,
        "arms": ["ticket/0"],
        "rows": {cell.key: []},
        "readings": {cell.key: []},
    }
    save_checkpoint(study, stack_id([cell]), facts, {"params/other": torch.zeros(1)})
    run([cell], settings())
    assert run([cell], settings())[cell.key]["status"] == "done"
    assert len(rows(study, cell)) == 6


@pytest.mark.parametrize("checkpoint_every", [0.0, 1000.0])
def test_a_stack_goes_on_without_the_cell_that_diverged_at_an_earlier_level(
    compose, cells, settings, saves, checkpoint_every
):
    wild = from_config(compose(*SMALL, "seed=0", "init=he_double", "init.gain=1e30"))
    keys = [cell.key for cell in cells[:2]]
    saves.stop_at = (keys[0], 1)
    with pytest.raises(KeyboardInterrupt):
        run([wild, *cells[:2]], settings(checkpoint_every=checkpoint_every))
    assert sorted(saves) == sorted((key, 0) for key in (wild.key, *keys))
    saves.clear()
    log = settings().study / wild.key / "cell.log"
    before = log.read_text()
    statuses = run([wild, *cells[:2]], settings(checkpoint_every=checkpoint_every))
    assert saves == [(key, level) for level in (1, 2) for key in keys]
    assert log.read_text() == before
    assert begun_again(settings().study, keys[0]) == ("in level 1" if checkpoint_every == 0 else "at level 1")
    assert [statuses[key]["status"] for key in (wild.key, *keys)] == ["diverged", "done", "done"]


def test_one_bad_cell_fails_alone_with_its_traceback(cells, settings, monkeypatch):
    save = CellRecords.save_initial

    def full(self, weights):
        if self.folder.name == cells[1].key:
            raise OSError("no space left on device")
        save(self, weights)

    monkeypatch.setattr(CellRecords, "save_initial", full)
    statuses = run(cells, settings())
    assert [statuses[cell.key]["status"] for cell in cells] == ["done", "failed", "done"]
    assert statuses[cells[1].key]["error"] == "OSError: no space left on device"
    log = (settings().study / cells[1].key / "cell.log").read_text()
    assert "Traceback (most recent call last)" in log
    monkeypatch.undo()
    again = run(cells, settings())
    assert [again[cell.key]["status"] for cell in cells] == ["done"] * 3
    assert again[cells[1].key]["error"] is None
    assert [len(rows(settings().study, cell)) for cell in cells] == [6] * 3


def test_a_cell_that_diverges_is_marked_and_not_tried_again(compose, cells, settings, monkeypatch):
    wild = from_config(compose(*SMALL, "optimizer=sgd", "lr.value=1000", "seed=0", "init=he_double", "init.gain=1e30"))
    statuses = run([wild, *cells[:1]], settings())
    assert statuses[wild.key]["status"] == "diverged"
    assert statuses[wild.key]["level"] == 0
    assert "level 0" in statuses[wild.key]["error"]
    assert statuses[cells[0].key]["status"] == "done"
    monkeypatch.setattr(run_module, "run_stack", lambda *_: pytest.fail("nothing is left to do"))
    assert run([wild, *cells[:1]], settings()) == statuses


def test_the_rows_of_a_cell_are_the_same_in_every_stack(cells, settings, tmp_path):
    run(cells, settings())
    run(cells, settings(study=tmp_path / "alone", stack_size=1))
    for cell in cells:
        for row, again in zip(rows(settings().study, cell), rows(tmp_path / "alone", cell), strict=True):
            for name, value in row.items():
                assert again[name] == (
                    pytest.approx(value, rel=1e-3) if "loss" in name else pytest.approx(value, abs=0.01)
                )
            assert again["weights_remaining"] == row["weights_remaining"]


def test_a_precision_is_a_cell_of_its_own_in_a_stack_of_its_own(compose, settings):
    cells = [from_config(compose(*SMALL, f"precision={name}")) for name in ("float32", "bf16")]
    assert cells[0].key != cells[1].key
    assert {status["stack_cells"] for status in run(cells, settings()).values()} == {1}
    exact, rounded = (rows(settings().study, cell) for cell in cells)
    assert [row["weights_remaining"] for row in exact] == [row["weights_remaining"] for row in rounded]
    for row, other in zip(exact, rounded, strict=True):
        assert row["train_loss"] != other["train_loss"]
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=0.05)


def test_tf32_is_a_gpus(compose, settings):
    with pytest.raises(UserError, match=r"^precision=tf32 is a GPU's; a CPU computes precision=float32 or bf16$"):
        run([from_config(compose(*SMALL, "precision=tf32"))], settings())
    assert not settings().study.exists()


def test_each_stack_says_how_a_gpu_may_round(compose, settings, monkeypatch):
    """cuDNN rounds to TF32 unless it is told not to, and stays as the stack before left it."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic)
    try:
        for precision, allowed in (("float32", False), ("tf32", True), ("bf16", False)):
            stack_run.set_precision(precision)
            assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic) == (allowed, allowed, True)
        matmul.allow_tf32 = cudnn.allow_tf32 = True
        cudnn.deterministic = False
        run([from_config(compose(*SMALL))], settings())
        assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic) == (False, False, True)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = before


def test_workers_share_the_devices_out_among_them(compose, cells, settings, monkeypatch):
    seen = []
    monkeypatch.setattr(run_module, "run_jobs", lambda jobs, work, data, places: seen.append((len(jobs), places)) or ())
    monkeypatch.setattr(prepare_module, "find_devices", lambda name: [torch.device("cpu", i) for i in range(2)])
    run(cells, settings(workers=99, stack_size=1))
    assert seen == [(3, ["cpu:0", "cpu:1", "cpu:0"])]


def test_what_is_wrong_is_said_before_anything_is_written(compose, cells, settings):
    bad = from_config(compose(*SMALL, "validation=1437"))
    for change in ({}, {"device": "tpu"}, {"workers": 0}, {"stack_size": "big"}):
        with pytest.raises(UserError):
            run([*cells, bad], settings(**change))
    assert not any(settings().study.rglob("config.yaml"))


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("force=1", r"^force=1 is out of range: force is true or false$"),
        ("checkpoint_every=-1", r"^checkpoint_every=-1 is out of range: .* number of seconds from 0$"),
        ("checkpoint_every=nan", r"^checkpoint_every=nan is out of range"),
        ("checkpoint_every=true", r"^checkpoint_every=True is out of range"),
        ("checkpoint_every=often", r"^checkpoint_every=often is out of range"),
    ],
)
def test_a_setting_out_of_range_is_one_line(compose, tmp_path, override, text):
    with pytest.raises(UserError, match=text):
        settings_from(compose(*SMALL, override), tmp_path)


def test_settings_are_those_of_the_config(compose, tmp_path):
    config = compose(*SMALL, "device=cpu", "workers=3", "stack_size=5", "checkpoint_every=0", "data_dir=/somewhere")
    expected = Settings(tmp_path, Path("/somewhere"), "cpu", 3, 5, 0, {})
    assert settings_from(config, tmp_path) == expected


def test_a_measurement_is_written_and_one_that_came_too_late_is_named(compose, cells, settings, capsys):
    config = compose(*SMALL, "measure=[weights]")
    measured = settings(measure=settings_from(config, settings().study).measure)
    statuses = run(cells[:1], measured)
    assert statuses[cells[0].key]["measured"] == ["weights"]
    table = pq.read_table(settings().study / cells[0].key / "readings.parquet").to_pylist()
    assert {(row["level"], row["place"]) for row in table} == {
        (level, f"{place}.weight") for level in range(3) for place in ("fc1", "fc2", "output")
    }
    assert "without it" not in capsys.readouterr().out
    run(cells[1:2], settings())
    assert not (settings().study / cells[1].key / "readings.parquet").exists()
    run(cells[:2], measured)
    assert "measure=weights: 1 cell had finished levels without it" in capsys.readouterr().out


def test_readings_of_an_interrupted_cell_are_those_of_an_undisturbed_one(compose, cells, settings, tmp_path, saves):
    choice = settings_from(compose(*SMALL, "measure=[weights]"), tmp_path).measure
    whole = settings(study=tmp_path / "whole", measure=choice)
    run(cells[:2], whole)
    saves.stop_at = (cells[1].key, 1)
    with pytest.raises(KeyboardInterrupt):
        run(cells[:2], settings(measure=choice))
    run(cells[:2], settings(measure=choice))
    for cell in cells[:2]:
        one, other = (pq.read_table(study / cell.key / "readings.parquet") for study in (whole.study, settings().study))
        assert len(one) == 3 * 3 * (11 + 16) * 2  # levels, layers, readings, moments
        assert one.equals(other)


def test_what_another_command_finished_meanwhile_is_not_computed_again(cells, settings):
    """A plan is made before the study is held; what changed until then is seen."""
    plan = prepare_module.prepare(cells[:2], settings())
    assert plan.todo == cells[:2]
    run(cells[:1], settings())
    before = contents(settings().study)
    held = prepare_module.brought_up_to_date(plan)
    assert held.todo == cells[1:2]
    statuses = run_module.run(plan, LiveTable())
    assert {status["status"] for status in statuses.values()} == {"done"}
    after = contents(settings().study)
    assert {path: after[path] for path in before} == before


def test_what_is_forgotten_is_not_gone_on_from_in_the_middle_of_a_level(cells, settings, saves):
    """A checkpoint is of what was computed, and may be of other code."""
    saves.stop_at = (cells[0].key, 0)
    with pytest.raises(KeyboardInterrupt):
        run(cells[:1], settings(checkpoint_every=0))
    stacks = settings().study / ".stacks"
    assert list(stacks.iterdir())
    run(cells[:1], settings(), force=True)
    log = (settings().study / cells[0].key / "cell.log").read_text()
    assert "starts at level 0" in log
    assert "in level 0" not in log


def test_a_cell_that_was_forgotten_meanwhile_is_asked_for_before_it_is_computed(cells, settings, monkeypatch):
    """Another command may have forgotten it, and handed it to a cluster, between the plan and the hold."""
    asked = []
    run(cells[:2], settings())
    plan = prepare_module.prepare(cells[:2], settings())
    assert plan.todo == []
    forget(settings().study, cells[:1])
    monkeypatch.setattr(local, "take_over", lambda study, keys: asked.extend(keys))
    statuses = compute(plan)
    assert asked == [cells[0].key]
    assert {status["status"] for status in statuses.values()} == {"done"}
