"""A grid through the real command: what it leaves on the disk, and that it is a make target."""

import itertools
import json
import math
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pandas as pd
import pytest

from ltsweep.data import digits
from ltsweep.grid import cell

GRID = ("-m", "init=xavier_u,kaiming_n", "lr=1.2e-3,0.1")
LEVELS, EPOCHS, BATCH = 3, 2, 60
TRAINED = 1437 - 200  # the digits' training examples without the validation split
STEPS_AN_EPOCH = math.ceil(TRAINED / BATCH)
LAYERS = {"fc1.weight": (300, 64), "fc2.weight": (100, 300), "output.weight": (10, 100)}


def remaining_by_hand(level, rates):
    """Count what is left of each layer by decimal arithmetic."""
    left = {name: Decimal(math.prod(shape)) for name, shape in LAYERS.items()}
    for _ in range(level):
        for name, rate in rates.items():
            left[name] -= (left[name] * Decimal(rate)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    return {name: int(count) for name, count in left.items()}


HALF_OUTPUT = {"fc1.weight": "0.2", "fc2.weight": "0.2", "output.weight": "0.1"}


@pytest.fixture(scope="module")
def grid(command_in, small, tmp_path_factory):
    """The command, its arguments, how it ended, and the study of 2 x 2 cells."""
    command = command_in(tmp_path_factory.mktemp("grid"))
    arguments = (*GRID, *small, f"levels={LEVELS}", f"epochs={EPOCHS}", "workers=1")
    return command, arguments, command(*arguments), command.study()


def test_one_folder_a_cell_named_by_its_key_and_done(grid):
    _, _, ended, study = grid
    cells = study.cells()
    assert len(cells) == 4
    assert set(study.statuses().values()) == {"done"}
    points = {(f.config["init"]["name"], f.config["lr"]["value"]) for f in cells.values()}
    assert points == set(itertools.product(("xavier_u", "kaiming_n"), (0.0012, 0.1)))
    for key, folder in cells.items():
        assert cell.key(folder.config) == key
        assert folder.status["key"] == key
        assert key in ended.out
    assert "4 done" in ended.out
    for key, folder in study.cells().items():
        (line,) = [line for line in ended.out.splitlines() if key in line]
        last = folder.levels.iloc[-1]
        share = last["weights_remaining"] / last["weights_total"]
        assert line.split()[-3:-1] == [f"{share:.1%}", f"{last['final_test_accuracy']:.4f}"]


def test_config_is_whole_and_resolved(grid):
    _, _, _, study = grid
    for folder in study.cells().values():
        config = folder.config
        assert "${" not in json.dumps(config)
        assert not set(config) & {"study", "data_dir", "device", "workers", "stack_size", "force", "hydra"}
        assert set(config) >= {"seed", "levels", "epochs", "iterations", "batch_size", "validation", "evaluate_every"}
        assert config["model"]["input_shape"] == [1, 8, 8]
        assert config["model"]["num_classes"] == 10
        assert (config["levels"], config["epochs"], config["batch_size"]) == (LEVELS, EPOCHS, BATCH)
        assert config["validation"] == 200  # the data set's own
        assert config["dataset"]["name"] == "digits"
        assert config["prune_rate"] == {"name": "half_output", "value": 0.2} | {
            name: config["prune_rate"][name] for name in ("_target_", "_partial_")
        }


def test_counts_are_exact_at_every_level(grid):
    _, _, _, study = grid
    expected = [sum(remaining_by_hand(level, HALF_OUTPUT).values()) for level in range(LEVELS + 1)]
    assert expected[0] == 50_200
    assert expected[1] == 15_360 + 24_000 + 900
    for folder in study.cells().values():
        levels = folder.levels
        assert list(levels["level"]) == list(range(LEVELS + 1))
        assert list(levels["weights_remaining"]) == expected
        assert set(levels["weights_total"]) == {50_200}
        for level, row in enumerate(levels.itertuples()):
            by_hand = remaining_by_hand(level, HALF_OUTPUT)
            assert dict(zip(row.layers, row.layer_remaining, strict=True)) == by_hand
            assert dict(zip(row.layers, row.layer_total, strict=True)) == remaining_by_hand(0, HALF_OUTPUT)
        rows = folder.evaluations
        assert {level: set(part["weights_remaining"]) for level, part in rows.groupby("level")} == {
            level: {count} for level, count in enumerate(expected)
        }


def test_one_row_an_evaluation(grid):
    _, _, _, study = grid
    for folder in study.cells().values():
        rows = folder.evaluations
        seen = list(zip(rows["arm"], rows["draw"], rows["level"], rows["iteration"], rows["epoch"], strict=True))
        places = sorted({0, *(math.ceil(quarter * STEPS_AN_EPOCH / 4) for quarter in range(4 * EPOCHS + 1))})
        assert seen == [
            ("ticket", 0, level, place, place / STEPS_AN_EPOCH) for level in range(LEVELS + 1) for place in places
        ]
        trained = rows[rows["iteration"] > 0]
        assert set(trained["lr"]) == {folder.config["lr"]["value"]}
        assert (trained["seconds"] > 0).all()
        assert rows["train_loss"].notna().tolist() == (rows["iteration"] % STEPS_AN_EPOCH == 0).tolist()


def test_accuracies_are_shares_of_each_whole_split(grid):
    _, _, _, study = grid
    for folder in study.cells().values():
        rows = folder.evaluations
        for split, examples in (("train", TRAINED), ("val", 200), ("test", 360)):
            scored = rows[rows[f"{split}_loss"].notna()]
            right = scored[f"{split}_accuracy"] * examples
            np.testing.assert_allclose(right, right.round(), atol=1e-6)
            assert (scored[f"{split}_loss"] > 0).all()
        # It learns: chance is a tenth.
        assert rows["test_accuracy"].iloc[-1] > 0.3


def test_summaries_follow_from_the_evaluations(grid):
    _, _, _, study = grid
    for folder in study.cells().values():
        for level, rows in folder.evaluations.groupby("level"):
            summary = folder.levels.set_index("level").loc[level]
            last = rows.sort_values("iteration").iloc[-1]
            for split, what in itertools.product(("train", "val", "test"), ("loss", "accuracy")):
                assert summary[f"final_{split}_{what}"] == last[f"{split}_{what}"]
            assert summary["iterations"] == EPOCHS * STEPS_AN_EPOCH
            best = rows.loc[rows["val_accuracy"].idxmax()]
            early = rows.loc[rows["val_loss"].idxmin()]
            assert summary["best_iteration"] == best["iteration"]
            assert summary["best_val_accuracy"] == best["val_accuracy"]
            assert summary["best_test_accuracy"] == best["test_accuracy"]
            assert summary["early_stop_iteration"] == early["iteration"]
            assert summary["early_stop_val_loss"] == early["val_loss"]
            assert summary["early_stop_test_accuracy"] == early["test_accuracy"]


def test_masks_hold_the_recorded_counts_and_are_nested(grid):
    _, _, _, study = grid
    for folder in study.cells().values():
        before = {name: np.ones(shape, dtype=bool) for name, shape in LAYERS.items()}
        for level in range(1, LEVELS + 1):
            mask = folder.mask(level)
            assert {name: int(m.sum()) for name, m in mask.items()} == remaining_by_hand(level, HALF_OUTPUT)
            assert {name: m.shape for name, m in mask.items()} == LAYERS
            for name, m in mask.items():
                assert not (m & ~before[name]).any(), f"{name} got weights back at level {level}"
            before = mask
        tickets = {path.name for path in (folder.path / "tickets").iterdir()}
        assert tickets == {"init.safetensors", *(f"level_{level:02d}.safetensors" for level in range(1, LEVELS + 2))}


def test_a_mask_file_takes_one_bit_a_weight(grid):
    _, _, _, study = grid
    for folder in study.cells().values():
        size = (folder.path / "tickets/level_01.safetensors").stat().st_size
        assert 50_200 / 8 <= size < 50_200 / 8 + 1_000  # and a header


def test_cells_that_differ_in_lr_alone_start_from_the_same_weights(grid):
    _, _, _, study = grid
    starts = {
        (init, lr): (study.cell(init=init, lr=lr).path / "tickets/init.safetensors").read_bytes()
        for init in ("xavier_u", "kaiming_n")
        for lr in (0.0012, 0.1)
    }
    assert starts["xavier_u", 0.0012] == starts["xavier_u", 0.1]
    assert starts["kaiming_n", 0.0012] == starts["kaiming_n", 0.1]
    assert starts["xavier_u", 0.1] != starts["kaiming_n", 0.1]
    # The masks are those of what was learned, so they differ.
    assert (
        study.cell(init="xavier_u", lr=0.1).mask(1)["fc1.weight"]
        != study.cell(init="xavier_u", lr=0.0012).mask(1)["fc1.weight"]
    ).any()


def test_initial_weights_follow_their_initialization(grid):
    _, _, _, study = grid
    uniform = study.cell(init="xavier_u", lr=0.1).initial
    normal = study.cell(init="kaiming_n", lr=0.1).initial
    for name, (fan_out, fan_in) in LAYERS.items():
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert 0.99 * bound < np.abs(uniform[name]).max() <= bound * (1 + 1e-6)
        assert normal[name].std() == pytest.approx(1 / math.sqrt(fan_in), rel=0.1)
        assert not uniform[name.replace("weight", "bias")].any()


def test_the_same_command_again_computes_nothing(grid):
    command, arguments, _, study = grid
    before = study.snapshot()
    assert len(before) == 4 * (5 + 1 + LEVELS + 1)
    ended = command(*arguments)
    assert study.snapshot() == before
    assert "4 already finished" in ended.out
    assert "nothing to compute" in ended.out


@pytest.mark.parametrize(
    "spelling",
    [
        ("init=kaiming_n", "lr=0.1"),
        ("init=kaiming_n", "lr.value=0.1", "lr=constant"),
        ("init=kaiming_n", "lr=1e-1", "seed=0", "validation=200", "prune_rate=0.2", "model=lenet_300_100"),
        ("-m", "init=kaiming_n", "lr.value=0.1", "init.gain=1", "optimizer.betas=[0.9,0.999]", "iterations=null"),
    ],
    ids=["single run", "value by its name", "defaults given", "multirun of one"],
)
def test_the_same_cell_by_another_spelling_meets_the_same_folder(grid, small, spelling):
    command, _, _, study = grid
    before = study.snapshot()
    ended = command.inside(*spelling, *small, f"levels={LEVELS}", f"epochs={EPOCHS}")
    assert study.snapshot() == before
    assert "1 already finished, nothing to compute" in ended.out


def test_a_larger_grid_computes_only_what_is_new(grid, tmp_path_factory, command_in, small):
    _, arguments, _, study = grid
    command = command_in(tmp_path_factory.mktemp("larger"))
    command.inside(*GRID[:2], "lr=1.2e-3", *arguments[3:])
    before = command.study().snapshot()
    ended = command.inside("-m", "init=xavier_u,kaiming_n", "lr=1.2e-3,0.1", "seed=0", *arguments[3:])
    after = command.study().snapshot()
    assert {name: after[name] for name in before} == before
    assert "4 cells, 2 already finished, 2 to compute" in ended.out
    assert command.study().cells().keys() == study.cells().keys()
    assert set(command.study().statuses().values()) == {"done"}


def test_force_computes_again_and_gives_the_same_numbers(grid, command_in, tmp_path_factory):
    _, arguments, _, first = grid
    command = command_in(tmp_path_factory.mktemp("force"))
    command.inside(*arguments, "study=again")
    command.study("again").assert_same_records(first)  # from an empty folder, in another process

    before = command.study("again").snapshot()
    ended = command.inside(*arguments, "study=again", "force=true")
    assert "4 to compute again" in ended.out
    command.study("again").assert_same_records(first)
    after = command.study("again").snapshot()
    assert before.keys() == after.keys()
    computed = [name for name in after if name.endswith((".parquet", ".safetensors"))]
    assert len(computed) == 4 * (2 + 1 + LEVELS + 1)
    assert all(after[name][0] > before[name][0] for name in computed)
    assert set(command.study("again").statuses().values()) == {"done"}


def test_weights_that_do_not_move_give_an_answer_known_beforehand(command, small):
    """With a learning rate too small to change a float32, every number follows from the initial weights alone."""
    command.inside("optimizer=sgd", "optimizer.momentum=0", "lr=1e-30", *small, "levels=3", "iterations=2", "seed=5")
    (folder,) = command.study().cells().values()
    initial, data = folder.initial, digits(command.folder)
    mask = {name: np.ones(shape, dtype=bool) for name, shape in LAYERS.items()}
    for level in range(4):
        if level:
            for name, weight in initial.items():
                if name in mask:
                    score = np.where(mask[name], np.abs(weight), np.inf).ravel()
                    goes = remaining_by_hand(level - 1, HALF_OUTPUT)[name] - remaining_by_hand(level, HALF_OUTPUT)[name]
                    keep = mask[name].ravel().copy()
                    keep[np.argsort(score, kind="stable")[:goes]] = False
                    mask[name] = keep.reshape(weight.shape)
                    np.testing.assert_array_equal(folder.mask(level)[name], mask[name])

        def logits(x, kept=mask):
            h = x.numpy().reshape(len(x), -1).astype(np.float64)
            for name in LAYERS:
                h = h @ (initial[name] * kept[name]).T + initial[name.replace("weight", "bias")]
                h = h if name.startswith("output") else np.maximum(h, 0)
            return h

        rows = folder.evaluations.set_index("level").loc[[level]]
        answers, labels = logits(data.test_x), data.test_y.numpy()
        log_sum = np.log(np.exp(answers).sum(1))
        loss = (log_sum - answers[np.arange(len(labels)), labels]).mean()
        np.testing.assert_allclose(rows["test_loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(rows["test_accuracy"], (answers.argmax(1) == labels).mean(), atol=1e-9)
        right = (logits(data.train_x).argmax(1) == data.train_y.numpy()).sum()
        np.testing.assert_allclose(rows["train_accuracy"] * TRAINED + rows["val_accuracy"] * 200, right, atol=1e-6)


def test_controls_share_the_tickets_counts_and_are_absent_from_the_dense_level(command, small):
    command.inside(*small, "levels=2", "epochs=1", "method.controls=[reinit,random_mask]", "method.draws=2")
    (folder,) = command.study().cells().values()
    arms = folder.levels.groupby("level")[["arm", "draw"]].apply(
        lambda part: list(part.itertuples(index=False, name=None))
    )
    controls = [("ticket", 0), ("random_mask", 0), ("random_mask", 1), ("reinit", 0), ("reinit", 1)]
    assert arms.to_dict() == {0: [("ticket", 0)], 1: controls, 2: controls}
    assert (folder.levels.groupby("level")["weights_remaining"].nunique() == 1).all()
    scores = folder.levels[folder.levels["level"] == 2]["final_train_loss"]
    assert scores.nunique() == 5  # five networks, not one shown five times


def test_a_number_is_one_cell_however_it_is_written(command, small):
    quick = (*small, "levels=0", "iterations=1")
    command.inside("lr=1", *quick)
    for spelling in ("lr=1.0", "lr.value=1", "lr.value=1.0", "lr=1e0"):
        assert "1 already finished, nothing to compute" in command.inside(spelling, *quick).out
    assert len(command.study().cells()) == 1


def test_a_grid_needs_no_flag_and_the_flag_no_place(command, small):
    quick = (*small, "levels=0", "iterations=1")
    command.inside("init=xavier_u,kaiming_n", *quick)
    assert len(command.study().cells()) == 2
    ended = command.inside(*quick, "-m", "init=xavier_u,kaiming_n")
    assert "2 already finished, nothing to compute" in ended.out


def test_what_decides_no_number_stays_out_of_the_key(command, small):
    quick = ("dataset=digits", "levels=0", "iterations=1")
    command.inside(*quick, "device=cpu")
    ended = command.inside(*quick, "device=cpu", "workers=2", "stack_size=3", "data_dir=elsewhere")
    assert "1 already finished, nothing to compute" in ended.out
    command.inside(*quick, "device=cpu", "workers=1", "study=another")
    assert command.study("another").cells().keys() == command.study().cells().keys()
    command.inside(*quick, "device=cpu", "workers=1", "evaluate_every=1")
    assert len(command.study().cells()) == 2


def test_records_are_typed_columns(command, small):
    """Without a validation split its columns are there, empty: a reader need not ask which study it has."""
    command.inside(*small, "levels=1", "iterations=3", "validation=0", "evaluate_every=2")
    (folder,) = command.study().cells().values()
    rows, levels = folder.evaluations, folder.levels
    assert list(rows["iteration"]) == [0, 2, 3, 0, 2, 3]
    assert rows["val_loss"].isna().all()
    assert rows["val_accuracy"].isna().all()
    assert levels["best_iteration"].isna().all()
    assert levels["early_stop_iteration"].isna().all()
    assert rows["lr"].isna().tolist() == [True, False, False] * 2  # before the first step there is none
    assert not rows.drop(columns=["val_loss", "val_accuracy", "lr"]).isna().any(axis=None)
    assert pd.api.types.is_float_dtype(rows["val_loss"])
    right = rows["train_accuracy"] * 1437
    np.testing.assert_allclose(right, right.round(), atol=1e-6)
