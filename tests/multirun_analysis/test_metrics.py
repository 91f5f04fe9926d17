"""Metrics with a direction: a metric and its negative give the same verdicts, and no number is over two metrics."""

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from multirun_analysis import claims, curves, figures, metrics, panels, report, statistics, style
from multirun_analysis.__main__ import main
from multirun_analysis.claims import Claim
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, load
from multirun_analysis.metrics import of
from multirun_analysis.pairing import Side
from multirun_analysis.report import answers, choices, form, words
from multirun_analysis.view import View, choose

ACCURACY = of("test_accuracy")
# Its negative, which is better the lower it is.
ERROR = dataclasses.replace(ACCURACY, higher=False, name="test_error")


@pytest.fixture(scope="module")
def both(mixed: Study) -> pd.DataFrame:
    """The levels of the mixed study, with the negative of test accuracy as another score."""
    return mixed.levels.assign(final_test_error=-mixed.levels["final_test_accuracy"])


def drawn(study: Study, name: str, view: View) -> list[Figure]:
    """Draw, and lay out too: some faults show only then."""
    figure = figures.get(name)
    pages = figure.draw(figure.table(study, view), view)
    pages = pages if isinstance(pages, list) else [pages]
    for page in pages:
        with style.rc():
            page.draw_without_rendering()
    return pages


def of_headline(study: Study, *headlines: str) -> Study:
    """Return the cells of some headlines."""
    tables = {name: getattr(study, name) for name in ("cells", "levels", "evaluations", "readings")}
    kept = {name: table[table["headline"].astype("str").isin(headlines)] for name, table in tables.items()}
    return dataclasses.replace(study, **kept)


@pytest.mark.parametrize(
    ("name", "higher", "margin", "unit"),
    [
        ("final_test_accuracy", True, 0.005, "points"),
        ("early_stop_val_loss", False, 0.02, "nats"),
        ("best_test_return", True, 0.05, ""),
        ("generalization_gap", False, 0.005, "points"),
        ("loss_gap", False, 0.02, "nats"),
    ],
)
def test_a_metric_is_known_by_the_end_of_its_name(name: str, higher: bool, margin: float, unit: str) -> None:
    found = of(name)
    assert (found.higher, found.margin, found.unit, found.name) == (higher, margin, unit, name)


@pytest.mark.parametrize("name", ["val_perplexity", "early_stop_iteration", "iterations_trained", "seconds"])
def test_of_counts_and_perplexities_lower_is_better(name: str) -> None:
    assert not of(name).higher


def test_the_margin_of_a_return_is_a_part_of_the_dense_mean() -> None:
    assert of("test_return").at(-83.4).margin == pytest.approx(0.05 * 83.4, abs=0.05)
    assert of("test_return").at(0.0).margin > 0
    assert of("test_loss").at(-83.4).margin == 0.02


@pytest.mark.parametrize("values", [[0.9, 0.95, 0.97, 0.98], [0.1, 0.95, 0.96, 0.97], [0.95, 0.96, 0.97, 9.0]])
def test_the_ends_of_an_axis_mirror_those_of_the_negative(values: list[float]) -> None:
    """What is far on the worse side is left out, below for a return and above for a loss, and on no other."""
    low, high = panels.limits(values, "test_return")
    assert panels.limits([-value for value in values], "test_loss") == pytest.approx((-high, -low))
    assert (low > min(values)) == (min(values) == 0.1)


def test_a_ticket_matches_alike_by_a_metric_and_by_its_negative() -> None:
    rng = np.random.default_rng(0)
    rows = [
        ("a", seed, level, 0.8**level, rng.normal(-0.001 * level, 0.0005)) for seed in range(4) for level in range(9)
    ]
    pairs = pd.DataFrame(rows, columns=["setting", "seed", "level", "remaining", "difference"])
    found = statistics.matching(pairs, 0.005)
    assert 0.8**8 < found["remaining"].item() < 1
    negative = pairs.assign(difference=-pairs["difference"])
    pd.testing.assert_frame_equal(statistics.matching(negative, 0.005, higher=False), found)
    assert statistics.matching(negative, 0.005)["remaining"].item() == pytest.approx(0.8**8)  # better all the way


def test_standings_are_in_the_same_order_by_the_negative(both: pd.DataFrame) -> None:
    one, two = (choices.standings(both, metric) for metric in (ACCURACY, ERROR))
    assert two["choice"].tolist() == one["choice"].tolist()
    assert two["area"].tolist() == pytest.approx((-one["area"]).tolist())
    assert two["matches"].tolist() == one["matches"].tolist()


def test_the_page_says_the_same_of_the_negative(both: pd.DataFrame, mixed: Study) -> None:
    said, tells, led = [], [], []
    for metric in (ACCURACY, ERROR):
        table, _ = choices.contests(both, metric)
        effects = answers.effects(table, metric)
        sentences = words.headline(effects, choices.standings(both, metric), metric)
        said.append([(asked, says.replace("above it", "below it")) for asked, says in sentences])
        tells.append([words.tells(row, metric) for row in words.rows(effects)])
        led.append(answers.leaders(table, mixed.cells, "init", "lr", metric))
    assert said[0] == said[1]
    assert tells[0] == tells[1]
    assert led[0] == led[1]
    assert any("is better than" in says for _, says in said[0])


@pytest.mark.parametrize("word", [answers.SMALL, answers.SMALL_ALONE, answers.UNDECIDED])
def test_a_difference_without_a_winner_is_said_in_the_metrics_own_sense(word: str) -> None:
    row = {"axis": "init", "left_name": "a", "right_name": "b", "difference": -0.011, "low": -0.03, "high": 0.008}
    row |= {"n": 3, "settings": 1, "of": 1, "tests": 1, "p": 0.2, "p_small": 1, "seeds": math.nan, "word": word}
    says = words.question(pd.DataFrame([row]), of("test_loss"))
    assert "b less a" in says  # a has the lower loss, so it leads
    assert "0.011 nats [−0.008 to +0.030]" in says


def test_a_claim_stays_in_the_metrics_own_sense(both: pd.DataFrame) -> None:
    same = {"name": "c", "source": "s", "text": "t", "remaining": "area", "compare": ((Side(), Side(arm="reinit")),)}
    one = claims.judge(both, [Claim(**same, direction="greater")])
    two = claims.judge(both, [Claim(**same, direction="less", metric="test_error")])
    assert one["verdict"].tolist() == two["verdict"].tolist()
    assert set(one["verdict"]) == {"supported"}
    assert two["effect"].tolist() == pytest.approx((-one["effect"]).tolist())
    loss = Claim(**same, direction="less", metric="test_loss", value=-0.02)
    assert (form.effect(-0.0304, loss), form.held_against(loss)) == ("−0.030 nats", "< −0.020 nats")


def test_a_relative_claim_of_negative_numbers_has_the_sign_of_the_difference(problems: Study) -> None:
    levels = problems.levels.query("dataset == 'acrobot'")
    levels = levels.assign(final_test_return=levels["final_test_return"] - 300)
    claim = Claim("c", "s", "t", ((Side(), Side(arm="reinit")),), "area", "greater", "test_return", relative=True)
    assert (claims.judge(levels, [claim])["effect"] > 0).all()


def test_studies_of_text_and_of_games_put_the_claims_on_them_to_the_test(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    text = {"headline": "loss", "dataset": "tiny_shakespeare"}
    games = {"headline": "return", "model": "mlp", "arms": {"ticket": 1, "reinit": 1, "random_ticket": 1}}
    for seed in range(3):
        made = {"seed": seed, "levels": 10, "epochs": 1}
        for method, rewind in (("imp", "init"), ("imp", "100it"), ("one_shot", "init")):
            arms = {"ticket": 1, **({"reinit": 1} if method == "imp" else {})}
            for model in ("lstm", "transformer"):
                write_cell(model=model, method=method, method__rewind=rewind, arms=arms, **made, **text)
        for dataset in ("cartpole", "acrobot"):
            write_cell(dataset=dataset, **made, **games)
    found = claims.judge(load(tmp_path / "made_up").levels, claims.published())
    tested = found[found["verdict"].ne("not tested")]
    assert set(tested["claim"]) == {claim.name for claim in claims.published() if claim.source.startswith("Yu")}
    assert set(tested.loc[tested["claim"].str.contains("ticket|dense"), "verdict"]) == {"supported"}


def test_tables_of_several_problems_are_read_into_one_with_nulls(problems: Study) -> None:
    headlines = problems.cells.drop_duplicates("dataset").set_index("dataset")["headline"].to_dict()
    assert headlines == {"acrobot": "return", "cartpole": "return", "mnist": "accuracy", "tiny_shakespeare": "loss"}
    by_dataset = problems.levels.groupby("dataset", observed=True)
    assert by_dataset["final_test_return"].count().gt(0).to_dict() == {
        name: headline == "return" for name, headline in headlines.items()
    }
    assert problems.levels.query("headline == 'return'")["early_stop_iteration"].isna().all()
    assert problems.evaluations.query("headline != 'return'")["steps"].isna().all()
    assert choose(problems.cells) == View(row=("dataset",), hue=("init",))  # no score is taken for a config value


def test_each_data_set_has_a_row_of_its_own_headline(problems: Study) -> None:
    (page,) = drawn(problems, "accuracy_vs_remaining", choose(problems.cells, controls=True))
    labels = {ax.get_title(): ax.get_ylabel() for ax in page.axes}
    assert labels == {
        "dataset = acrobot": "test return",
        "dataset = cartpole": "test return",
        "dataset = mnist": "test accuracy",
        "dataset = tiny_shakespeare": "test loss (nats)",
    }


@pytest.mark.parametrize("name", ["accuracy_vs_remaining", "heat_map"])
def test_metrics_are_in_panels_of_their_own_wherever_the_data_set_is(problems: Study, name: str) -> None:
    view = View(hue=("dataset", "init"), axes=("dataset", "init"), remaining=(0.6,))
    table = figures.get(name).table(problems, view)
    assert metrics.measured(table) == [
        ("test_accuracy", ""),
        ("test_loss", ""),
        ("test_return", "acrobot"),
        ("test_return", "cartpole"),
    ]
    axes = [ax for page in drawn(problems, name, view) for ax in page.axes]
    assert axes
    assert all("no values" not in [text.get_text() for text in ax.texts] for ax in axes)


def test_returns_of_two_environments_of_one_data_set_have_scales_of_their_own() -> None:
    rows = pd.DataFrame({"headline": "return", "dataset": ["cartpole", "cartpole", "acrobot"]})
    rows["dataset.environment"] = ["CartPole", "Swing", "Acrobot"]
    scales = [one.scale for one in metrics.resolved(rows, "test_{headline}")]
    assert scales == ["acrobot", "cartpole, CartPole", "cartpole, Swing"]


def test_curves_of_games_run_over_steps(problems: Study) -> None:
    pages = drawn(problems, "training_curves", choose(problems.cells))
    axes = [ax for page in pages for ax in page.axes if ax.lines]
    along = {ax.get_title().partition(",")[0].partition("\n")[0]: ax.get_xlabel() for ax in axes}
    assert set(along.values()) == {"iteration", "environment steps"}
    table = figures.get("training_curves").table(problems, choose(problems.cells))
    games = table[table["along"].eq("environment steps")]
    assert set(games["score"]) == {"test_return", "train_loss"}
    assert (games["x"] == 128 * games["iteration"]).all()
    assert set(table.loc[table["row"].eq("tiny_shakespeare"), "score"]) == {"test_loss", "train_loss", "val_loss"}


def test_the_gap_of_a_loss_is_test_less_train_and_returns_have_none(problems: Study) -> None:
    text = of_headline(problems, "loss")
    table = figures.get("generalization_gap").table(text, choose(text.cells))
    assert table["metric"].unique().tolist() == ["train_loss", "loss_gap"]
    rows = text.levels.query("level == 4 and arm == 'ticket' and init == 'xavier_u'")
    gap = table.query("metric == 'loss_gap' and level == 4 and arm == 'ticket' and hue == 'xavier_u'")["mean"].item()
    assert gap == pytest.approx((rows["final_test_loss"] - rows["final_train_loss"]).mean())
    games = of_headline(problems, "return")
    with pytest.raises(NothingToShow, match="returns are of new games"):
        figures.get("generalization_gap").table(games, choose(games.cells))


def test_games_alone_have_no_early_stop(problems: Study) -> None:
    games = of_headline(problems, "return")
    games = dataclasses.replace(games, levels=games.levels.dropna(axis="columns", how="all"))
    with pytest.raises(NothingToShow, match="these records have no early stop iteration"):
        figures.get("early_stop_vs_remaining").table(games, choose(games.cells))


def test_the_best_model_is_that_of_the_headline(problems: Study) -> None:
    table = figures.get("best_by_validation").table(problems, choose(problems.cells))
    assert set(table["metric"]) == {"best_test_return", "best_test_accuracy", "best_test_loss"}
    assert metrics.on_axis("best_test_return") == "test return of the best\nmodel by validation"


def test_an_axis_names_a_unit_where_there_is_one() -> None:
    assert metrics.on_axis("test_loss") == "test loss (nats)"
    assert metrics.on_axis("loss_gap") == "test − train loss (nats)"
    for name in ("test_accuracy", "test_return", "test_perplexity", "early_stop_iteration"):
        assert "(" not in metrics.on_axis(name)


@pytest.mark.parametrize("band", curves.BANDS)
def test_a_perplexity_is_averaged_as_its_loss(problems: Study, band: str) -> None:
    text = of_headline(problems, "loss")
    views = [View(hue=("init",), metric=f"test_{score}", band=band) for score in ("loss", "perplexity")]
    loss, perplexity = (curves.accuracy_vs_remaining(text.levels, view) for view in views)
    for name in ("mean", "low", "high"):
        assert perplexity[name].tolist() == pytest.approx([math.exp(value) for value in loss[name]])


def test_no_number_of_the_page_is_over_two_parts(problems: Study) -> None:
    parts = metrics.parts(problems.levels)
    assert [part.name for part in parts] == [
        "test accuracy",
        "test loss",
        "test return, dataset=acrobot",
        "test return, dataset=cartpole",
    ]
    assert sum(len(part.levels) for part in parts) == len(problems.levels)
    for part in parts:
        assert part.levels["headline"].nunique() == 1
        areas, _ = choices.contests(part.levels, part.metric)
        assert set(areas["axis"]) == {"arm", "init"}  # never the data set
        assert answers.effects(areas, part.metric)["word"].isin(answers.WORDS).all()
        dense = part.levels.query("level == 0")[f"final_{part.metric.name}"].mean()
        margins = {"test_return": round(0.05 * dense, 1), "test_loss": 0.02, "test_accuracy": 0.005}
        assert part.metric.margin == margins[part.metric.name]


@pytest.mark.parametrize("headline", ["loss", "return"])
def test_a_study_of_another_headline_is_drawn_reported_and_exported(
    write_cell: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str], headline: str
) -> None:
    for seed in range(3):
        for init in ("xavier_u", "kaiming_n"):
            made = {"levels": 3, "epochs": 2, "arms": {"ticket": 1, "reinit": 1}, "headline": headline}
            write_cell(seed=seed, init=init, **made)
    out = tmp_path / "out"
    asked = ["--figures", "accuracy_vs_remaining,best_by_validation,early_stop_vs_remaining", "--style", "screen"]
    claim = f"{{name: c, source: s, text: t, compare: {{left: {{}}, right: {{arm: reinit}}}}, metric: test_{headline}, "
    (tmp_path / "mine.yaml").write_text(
        f"{claim} remaining: area, direction: {'less' if headline == 'loss' else 'greater'}}}"
    )
    made = ["--report", "--claims", str(tmp_path / "mine.yaml"), "--export", "csv,parquet", "--band", "sd"]
    assert main([str(tmp_path / "made_up"), "--out", str(out), *asked, *made]) == 0
    said = capsys.readouterr().out
    assert ("early_stop_vs_remaining: these records have no early stop" in said) == (headline == "return")
    page = re.sub(r"<[^>]+>", " ", (out / "report.html").read_text().partition("application/json")[0])
    assert f"Of test {headline}, averaged over" in page
    assert ("lower is better" in page) == (headline == "loss")
    assert "The ticket is better than reinit by" in page
    assert "✓ supported" in page
    assert f"best_test_{headline}" in pd.read_csv(out / "levels.csv").columns
    assert pd.read_parquet(out / "levels.parquet")["headline"].unique().tolist() == [headline]


def test_a_study_of_several_problems_has_a_page_in_parts_and_one_table(
    problems_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--figures", "none", "--export", "csv,parquet", "--report"]
    assert main([str(problems_folder), "--out", str(tmp_path), *asked]) == 0
    assert "unreadable" not in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    names = re.findall("<h3>(Test .*?)</h3>", page)
    assert sorted(set(names)) == [
        "Test accuracy",
        "Test loss",
        "Test return, dataset=acrobot",
        "Test return, dataset=cartpole",
    ]
    ids = re.findall(' id="([^"]+)"', page.partition("<script")[0])
    assert len(ids) == len(set(ids))
    csv, parquet = pd.read_csv(tmp_path / "levels.csv"), pd.read_parquet(tmp_path / "levels.parquet")
    for table in (csv, parquet):
        assert table.groupby("headline")["best_test_loss"].count().to_dict() == {"accuracy": 0, "loss": 54, "return": 0}


def test_a_score_of_ones_own_is_drawn_and_not_compared(problems: Study, tmp_path: Path) -> None:
    own = of_headline(problems, "accuracy")
    tables = {
        name: table.rename(columns=lambda column: column.replace("accuracy", "recall")).assign(headline="recall")
        for name, table in (("cells", own.cells), ("levels", own.levels), ("evaluations", own.evaluations))
    }
    own = dataclasses.replace(own, **tables)
    for name in ("accuracy_vs_remaining", "training_curves", "best_by_validation"):
        assert drawn(own, name, choose(own.cells))
    page = report.page(own, (), tmp_path).decode()
    assert "chosen by recall, because nothing tells which end of it is better" in page
    assert "is better than" not in page
    assert "Nothing yet" not in page
