"""Networks that are measured before training: what the commands of docs/starting.md leave on the disk."""

import pandas as pd
import pytest

DEEP = (
    "dataset=digits",
    "device=cpu",
    "model=mlp",
    "model.depth=20",
    "model.hidden=[12]",
    "levels=0",
    "evaluate_train=false",
)


def test_untrained_networks_are_measured_together_as_alone(command):
    """One stack of four leaves what stacks of one do."""
    measured = (*DEEP, "iterations=0", "seeds=4", "init=he_n", "evaluate_test=20")
    command.inside(*measured, "measure=[lengths,gradients]", "stack_size=4", "study=together")
    command.inside(*measured, "measure=[lengths,gradients]", "stack_size=1", "study=alone")
    together, alone = (command.study(name).cells() for name in ("together", "alone"))
    assert together.keys() == alone.keys()
    assert len(together) == 4
    for key, cell in together.items():
        readings, own = (pd.read_parquet(one.path / "readings.parquet") for one in (cell, alone[key]))
        assert readings["name"].value_counts().to_dict() == {
            "length": 21,
            "units": 21,
            "gradient": 21,
            "length_variance": 1,
        }
        assert (readings["iteration"] == 0).all()
        pd.testing.assert_frame_equal(readings, own, rtol=1e-5)
        lengths = readings[readings["name"] == "length"]
        assert lengths["place"].tolist() == ["", *(f"act{number}" for number in range(1, 21))]
        assert cell.status["measured"] == ["lengths", "gradients"]
        assert len(cell.evaluations) == 1


def test_cells_end_at_their_accuracy_each_by_itself(command):
    """Beside each other and alone; without a stop the key is what it was, and the rows go on."""
    train = ("dataset=digits", "device=cpu", "model.activation=relu", "levels=1", "epochs=2", "evaluate_train=false")
    grid = (*train, "lr=1e-5,1e-3", "evaluate_every=2", "stack_size=2")
    command.inside("-m", *grid, "study=whole")
    command.inside("-m", *grid, "stop=at_accuracy", "stop.threshold=0.5", "study=early")
    whole, early = (command.study(name) for name in ("whole", "early"))
    assert not whole.cells().keys() & early.cells().keys()
    assert "stop" not in whole.cell(lr=1e-3).config
    assert early.cell(lr=1e-3).config["stop"]["threshold"] == 0.5
    for lr, there in ((1e-5, False), (1e-3, True)):
        rows, own = (
            study.cell(lr=lr).evaluations.query("level == 0").drop(columns="seconds") for study in (whole, early)
        )
        pd.testing.assert_frame_equal(own, rows.head(len(own)))
        assert (len(own) < len(rows)) is there
        assert (own["test_accuracy"].iloc[:-1] < 0.5).all()
        assert (own["test_accuracy"].iloc[-1] >= 0.5) == there
        assert early.cell(lr=lr).levels["iterations"].iloc[0] == own["iteration"].iloc[-1]
    assert (
        "2 already finished" in command.inside("-m", *grid, "stop=at_accuracy", "stop.threshold=0.5", "study=early").out
    )


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("model.depth=0",), "model.depth=0 is out of range: model.depth is null, or a whole number from 1 to 1,000"),
        (("model.form=round",), "model.form=round is out of range: model.form is one of ramp, repeat"),
        (("model.hidden=[1,2,3]",), "model.hidden=[1, 2, 3] is out of range with model.depth=20 and model.form=ramp"),
        (("measure=[lengths]", "measure.lengths.layers=[act21]"), "lengths.layers: the model has no module act21; did"),
        (("measure=[lengths]", "measure.lengths.examples=0"), "measure.lengths.examples=0 is out of range"),
        (("stop=at_accuracy", "stop.threshold=1.5"), "stop.threshold=1.5 cannot be reached: test_accuracy is a number"),
        (("stop.threshold=0.2",), "no stop is chosen, so none has that field; stop=NAME chooses one"),
        (("stop=at_accuracy", "stop.threshold=0"), "stop.threshold=0 cannot be reached: test_accuracy is a number"),
        (("stop=at_accuracy", "stop.score=test_return"), "stop.score=test_return is unknown; choose one of train_loss"),
        (("stop=at_accuracy", "stop.score=train_accuracy"), "stop.score=train_accuracy has no value with evaluate_tr"),
        (("stop=at_accuracy", "stop.score=val_loss", "validation=0"), "stop.score=val_loss has no value with validat"),
        (("evaluate_test=361",), "evaluate_test=361 is more than the 360 test examples of digits"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_before_any_work(command, overrides, text):
    ended = command.inside(*DEEP, *overrides, code=2)
    assert text in ended.err
    assert ended.err.count("\n") == 1
    assert not (command.folder / "multirun").exists()
