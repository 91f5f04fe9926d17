"""With what cells were made: each sentence once, with the number of its cells."""

import json
from collections.abc import Callable
from pathlib import Path

from multirun_analysis.load import load
from multirun_analysis.report import made_with


def test_sentences_are_counted_the_most_common_first(write_cell: Callable[..., str], tmp_path: Path) -> None:
    study = tmp_path / "made_up"
    for seed in range(4):
        path = study / write_cell(seed=seed, levels=0, epochs=1) / "status.json"
        path.write_text(
            json.dumps(
                {name: value for name, value in json.loads(path.read_text()).items() if name != "sha256"}
                | {
                    "versions": {
                        "python": "3.11.7",
                        "ltsweep": "0.1.0",
                        "torch": "2.6" if seed else "2.5",
                        "commit": f"commit{seed}",
                        "code": "abc",
                    },
                    "hardware": {"host": "node", "cpu": "a CPU", "cores": 8} | ({"gpu": "a GPU"} if seed == 3 else {}),
                    "updated": f"2020-01-0{seed + 1}T00:00:00+00:00",
                }
            )
        )
    write_cell(seed=8, status="pending")
    loaded = load(study)
    path.write_text("{torn")
    found = made_with.read(loaded)
    assert found.code == [("ltsweep 0.1.0, commit commit0, source abc", 3)]  # of one source, whatever the commit
    assert found.packages == [("python 3.11.7, torch 2.6", 2), ("python 3.11.7, torch 2.5", 1)]
    assert found.hardware == [("8 cores a CPU, node", 3)]
    assert (found.first, found.last) == ("2020-01-01T00:00:00", "2020-01-03T00:00:00+00:00")
