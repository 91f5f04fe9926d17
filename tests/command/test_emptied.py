"""A layer that pruning leaves without weights: trained on, and said wherever a user looks."""

from multirun_analysis import closing
from multirun_analysis.load import load

SPARSE = ("method=snip", "method.remaining=[0.01,0.001]", "levels=2", "iterations=2", "seed=0,1")


def test_an_empty_layer_is_trained_on_and_told_of_once_in_the_log_and_in_the_report(command, small):
    ended = command.inside("-m", *small, *SPARSE, "stack_size=2")
    study = command.study()
    assert set(study.statuses().values()) == {"done"}
    left = {
        key: [dict(zip(row["layers"], row["layer_remaining"], strict=True)) for _, row in folder.levels.iterrows()]
        for key, folder in study.cells().items()
    }
    empty = {key: [[name for name, n in level.items() if n == 0] for level in each] for key, each in left.items()}
    emptied = [key for key, (_, _, last) in empty.items() if last]
    assert emptied, "the mask has an empty layer in one of the seeds"
    for key, folder in study.cells().items():
        assert folder.levels["final_test_loss"].notna().all()
        lines = [line for line in folder.log.splitlines() if "  remaining " in line]
        told = [line.partition("  warning: no weights left of ")[2] for line in lines]
        assert told == [", ".join(names) for names in empty[key]]
    assert ended.out.count(" are left at level 2; the network is trained on") == 1
    n = len(emptied)
    said = closing.emptied(load(study.path).levels)
    assert said.startswith(f"Of {n} cell{'s' if n > 1 else ''} a layer has no weights left (")
    assert said.endswith("), from level 2 on at the earliest.")
