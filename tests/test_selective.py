"""Selective editing: scores, the cut-off, what is left, and its estimate from a checked sample."""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from mlkit.editing import EditingCurve, SelectiveScores, selective_scores
from mlkit.estimate import Design, ReplicateDesign

mpl.use("agg")

# Five records and two variables, small enough to do by hand: totals are 1000 and 100.
INDEX = list("abcde")
ANTICIPATED = pd.DataFrame(
    {"turnover": [100.0, 200, 300, 50, 350], "staff": [10.0, 20, 30, 20, 20]}, index=INDEX
)
OBSERVED = pd.DataFrame(
    {"turnover": [110.0, 180, 330, 50, 351], "staff": [10.0, 20, 30, 14, 21]}, index=INDEX
)


def make_survey(n: int = 5_000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Make the truth, what was observed (1 % of values times 1000), and what was anticipated."""
    rng = np.random.default_rng(seed)
    truth = pd.DataFrame(
        {"turnover": rng.lognormal(5, 1.3, n), "costs": rng.lognormal(4.5, 1.2, n)},
        index=[f"F{i:05d}" for i in range(n)],
    )
    observed = truth.where(rng.random((n, 2)) > 0.01, truth * 1000)
    anticipated = truth * rng.lognormal(0, 0.1, (n, 2))
    return truth, observed, anticipated


# --- by hand ---------------------------------------------------------------------------------


def test_local_scores_by_hand_as_in_selemix() -> None:
    scores = selective_scores(OBSERVED, ANTICIPATED)
    assert scores.local["turnover"].to_list() == pytest.approx([0.01, 0.02, 0.03, 0, 0.001])
    assert scores.local["staff"].to_list() == pytest.approx([0, 0, 0, 0.06, 0.01])
    assert scores.score.to_list() == pytest.approx([0.01, 0.02, 0.03, 0.06, 0.01])
    assert scores.totals.to_dict() == {"turnover": 1000, "staff": 100}


def test_selection_by_hand() -> None:
    # Ranking d, c, b, then a and e: 0.01 each, a first by identifier. Left in turnover after 0,
    # 1, ...: .021, .021, -.009, .011, .001, 0; in staff: -.05, .01, .01, .01, .01, 0.
    scores = selective_scores(OBSERVED, ANTICIPATED, threshold=0.0105)
    assert scores.rank.to_dict() == {"a": 4, "b": 3, "c": 2, "d": 1, "e": 5}
    curve = scores.curve()
    assert curve.expected[:, 0].tolist() == pytest.approx([0.021, 0.021, -0.009, 0.011, 0.001, 0])
    assert curve.expected[:, 1].tolist() == pytest.approx([-0.05, 0.01, 0.01, 0.01, 0.01, 0])
    assert curve.largest[:, 0].tolist() == pytest.approx([0.061, 0.061, 0.031, 0.011, 0.001, 0])
    # After two, turnover is at -.009 and staff at .01, both below; but after three .011 is not:
    # the selection goes on until nothing that follows is above.
    assert scores.selected.to_dict() == {"a": True, "b": True, "c": True, "d": True, "e": False}
    assert not selective_scores(OBSERVED, ANTICIPATED, threshold=0.06).selected.any()
    loose = selective_scores(OBSERVED, ANTICIPATED, threshold=0.012)
    assert loose.selected.to_dict() == {"a": False, "b": False, "c": True, "d": True, "e": False}


@pytest.mark.parametrize(
    ("combine", "score_of_e"), [("max", 0.01), ("sum", 0.011), ("euclid", math.hypot(0.01, 0.001))]
)
def test_global_scores(combine: Any, score_of_e: float) -> None:
    scores = selective_scores(OBSERVED, ANTICIPATED, combine=combine)
    assert scores.score["e"] == pytest.approx(score_of_e)


def test_weights_risk_and_totals_enter_the_score() -> None:
    weights = [1, 2, 1, 1, 1]
    scores = selective_scores(
        OBSERVED["turnover"],
        ANTICIPATED["turnover"],
        sample_weight=weights,
        totals=pd.Series({"turnover": -2000.0}),
        risk=[0.5, 0.25, 0, 1, 1],
    )
    assert scores.score.to_list() == pytest.approx([0.0025, 0.005, 0, 0, 0.0005])
    assert scores.curve().expected[0, 0] == pytest.approx(0.0025 - 0.005 + 0.0005)
    default = selective_scores(OBSERVED, ANTICIPATED, sample_weight=weights)
    assert default.totals["turnover"] == 1200
    table = pd.DataFrame({"staff": [1.0] * 5, "turnover": [0.0] * 5}, index=INDEX)
    by_variable = selective_scores(OBSERVED, ANTICIPATED, risk=table)
    assert by_variable.local["turnover"].max() == 0
    assert by_variable.local["staff"].max() == pytest.approx(0.06)


def test_missing_values_have_no_score() -> None:
    observed = OBSERVED.copy()
    observed.loc["d", "staff"] = np.nan
    scores = selective_scores(observed, ANTICIPATED)
    assert scores.local.loc["d", "staff"] == 0
    assert scores.summary()["missing"].to_list() == [0, 1]
    assert "1 missing values have no score" in repr(scores)


def test_ties_go_by_identifier_not_by_row_and_the_order_of_rows_does_not_matter() -> None:
    observed = pd.Series(11.0, index=list("dbca"))
    scores = selective_scores(observed, observed * 0 + 10, threshold=0.04)
    assert scores.rank.to_dict() == {"a": 1, "b": 2, "c": 3, "d": 4}
    _, observed_table, anticipated = make_survey(300)
    order = np.random.default_rng(1).permutation(300)
    one = selective_scores(observed_table, anticipated)
    other = selective_scores(observed_table.iloc[order], anticipated.iloc[order])
    pd.testing.assert_series_equal(other.rank.loc[one.rank.index], one.rank)
    pd.testing.assert_series_equal(other.selected.loc[one.rank.index], one.selected)
    mixed = pd.Series([11.0, 11.0], index=["a", 1])
    assert selective_scores(mixed, mixed - 1).rank.to_list() == [2, 1]


def test_columns_may_come_in_another_order_and_inputs_are_not_touched() -> None:
    observed, anticipated = OBSERVED.copy(), ANTICIPATED[["staff", "turnover"]].copy()
    scores = selective_scores(observed, anticipated)
    same = selective_scores(OBSERVED, ANTICIPATED)
    pd.testing.assert_frame_equal(scores.local, same.local)
    pd.testing.assert_frame_equal(observed, OBSERVED)
    arrays = selective_scores(OBSERVED.to_numpy(), ANTICIPATED.to_numpy())
    assert arrays.score.to_list() == pytest.approx(same.score.to_list())
    assert selective_scores([1.0, 2.0], [1.0, 1.0]).variables == ("value",)


# --- the curve, and the truth ----------------------------------------------------------------


def test_the_curve_by_hand_with_the_truth() -> None:
    truth = ANTICIPATED.assign(turnover=[110.0, 200, 300, 40, 350])
    curve = selective_scores(OBSERVED, ANTICIPATED).curve(truth)
    assert curve.true is not None
    # Errors of turnover in the order d, c, b, a, e: 10, 30, -20, 0, 1, of a true total of 1000.
    assert curve.true[:, 0].tolist() == pytest.approx([0.021, 0.011, -0.019, 0.001, 0.001, 0])
    table = curve.to_frame()
    assert len(table) == 12
    assert table.loc[2].to_list()[:3] == [1, 0.2, "turnover"]
    assert curve.needed(0.015) == 3
    assert curve.needed(0.06) == 0


def test_few_records_carry_the_error_of_the_total() -> None:
    truth, observed, anticipated = make_survey()
    scores = selective_scores(observed, anticipated)
    curve = scores.curve(truth)
    assert curve.true is not None
    k = int(scores.selected.sum())
    assert k < 0.05 * len(truth)
    assert np.abs(curve.true[0]).min() > 5  # the totals are off by more than 500 %
    assert np.abs(curve.true[k]).max() < 0.03
    rng = np.random.default_rng(0)
    edited = rng.permutation(len(truth)) < k
    random = observed.mask(np.column_stack([edited, edited]), truth).sum() / truth.sum() - 1
    assert random.abs().min() > 4


def test_editing_the_selected_gives_the_error_that_the_curve_says() -> None:
    truth, observed, anticipated = make_survey(2_000, seed=5)
    weights = np.random.default_rng(5).uniform(1, 20, 2_000)
    scores = selective_scores(observed, anticipated, sample_weight=weights, threshold=0.02)
    edited = observed.mask(scores.selected, truth, axis=0)
    error = weights @ (edited - truth).to_numpy() / (weights @ truth.to_numpy())
    curve = scores.curve(truth)
    assert curve.true is not None
    assert curve.true[int(scores.selected.sum())] == pytest.approx(error)


def test_the_expected_error_left_is_no_measure_of_the_true_one() -> None:
    """A negative control: what is left must be estimated from a sample, never assumed."""
    rng = np.random.default_rng(2)
    truth = pd.Series(rng.lognormal(5, 1, 3_000), name="turnover")
    observed = truth * np.where(rng.random(3_000) < 0.5, 1.2, 1)  # half report with VAT
    size = np.round(np.log(truth), 1)
    model = observed.groupby(size).transform("mean")  # a prediction that learnt from the errors
    scores = selective_scores(observed, model)
    curve = scores.curve(truth)
    assert curve.true is not None
    k = int(scores.selected.sum())
    assert abs(curve.expected[k, 0]) < 0.01  # as required
    assert curve.true[k, 0] > 0.08  # as it is
    tail = scores.selected.index[~scores.selected]
    sample = rng.choice(tail, 300, replace=False)
    figure = scores.estimate_left(truth[sample])
    assert figure.low < curve.true[k, 0] * truth.sum() / scores.totals["turnover"] < figure.high
    assert figure.low > 0.01  # the sample shows that the threshold is missed


# --- what a checked sample says --------------------------------------------------------------


def test_estimate_left_by_hand() -> None:
    index = pd.RangeIndex(10)
    anticipated = pd.Series(100.0, index=index, name="y")
    observed = anticipated + np.where(index == 9, 5000, index % 2)
    scores = selective_scores(observed, anticipated, sample_weight=np.full(10, 2.0))
    assert scores.selected[scores.selected].index.to_list() == [9]
    checked = pd.Series([100.0, 101, 96], index=[0, 1, 3])
    # Errors 0, 0 and 5, with weight 2; 9 records were not selected, so each stands for 3.
    figure = scores.estimate_left(checked, of="total")
    assert figure.value == pytest.approx(3 * 2 * 5)
    variance = 9**2 * (1 - 3 / 9) * np.var([0, 0, 10], ddof=1) / 3
    assert figure.standard_error == pytest.approx(math.sqrt(variance))
    share = scores.estimate_left(checked)
    assert share.value == pytest.approx(30 / 2000)
    assert share.standard_error == pytest.approx(figure.standard_error / 2000)
    design = Design(weights=[2.0, 3.5, 3.5], strata=["u", "v", "v"], fpc=[1, 7, 7])
    assert scores.estimate_left(checked, design=design, of="total").value == pytest.approx(35)


def test_a_sample_without_errors_is_not_believed() -> None:
    truth, observed, anticipated = make_survey(500)
    scores = selective_scores(observed, anticipated)
    tail = scores.selected.index[~scores.selected]
    known = observed.loc[tail][:20]
    figure = scores.estimate_left(known, variable="turnover")
    assert figure.value == 0
    assert "do not believe" in figure.note
    everything = scores.estimate_left(truth.loc[tail], variable="costs")
    error = (observed - truth).loc[tail, "costs"].sum() / scores.totals["costs"]
    assert everything.value == pytest.approx(error)
    assert everything.standard_error == 0


def test_a_missing_value_below_the_cut_off_counts_as_no_error() -> None:
    observed = pd.Series([100.0, np.nan, 102, 103], index=INDEX[:4])
    scores = selective_scores(observed, observed.fillna(100.0) * 0 + 100, threshold=0.5)
    checked = pd.Series([100.0, np.nan, 100, 100], index=INDEX[:4])
    assert scores.estimate_left(checked, of="total").value == pytest.approx(5)


def coverage(
    share_wrong: float, checked: int, *, by_size: bool = False, draws: int = 2_000
) -> float:
    """Draw many checked samples of one tail; how often does the interval hold the truth?"""
    rng = np.random.default_rng(7)
    n = 4_000
    truth = rng.lognormal(4, 0.8, n)
    wrong = rng.random(n) < share_wrong
    observed = pd.Series(truth * np.where(wrong, rng.uniform(0.8, 1.6, n), 1))
    scores = selective_scores(observed, observed)  # nothing is selected: the tail is all
    target = float((observed - truth).sum()) / scores.totals.iloc[0]
    order = np.argsort(truth)
    strata = np.empty(n, dtype=int)
    strata[order] = np.arange(n) * 4 // n
    hits = 0
    for _ in range(draws):
        design = None
        if by_size:  # as many from each quarter, so that the large ones weigh less
            take = checked // 4
            rows = np.concatenate(
                [rng.choice(np.flatnonzero(strata == h), take, replace=False) for h in range(4)]
            )
            size = n / 4
            design = Design(
                weights=np.full(len(rows), size / take),
                strata=strata[rows],
                fpc=np.full(len(rows), size),
            )
        else:
            rows = rng.choice(n, checked, replace=False)
        figure = scores.estimate_left(pd.Series(truth[rows], index=rows), design=design)
        hits += figure.low <= target <= figure.high
    return hits / draws


TOLERANCE = 3 * math.sqrt(0.0475 / 2_000)


@pytest.mark.parametrize(
    ("share_wrong", "checked", "by_size"),
    [(0.5, 400, False), (0.3, 600, False), (0.1, 600, False), (0.4, 600, True)],
)
def test_intervals_of_what_is_left_cover(share_wrong: float, checked: int, by_size: bool) -> None:
    assert abs(coverage(share_wrong, checked, by_size=by_size) - 0.95) <= TOLERANCE


@pytest.mark.parametrize(("share_wrong", "checked"), [(0.05, 600), (0.01, 200)])
def test_intervals_of_rare_errors_cover_too_seldom(share_wrong: float, checked: int) -> None:
    """Cells that fail, and are published: 30 wrong records, and 2, are expected in the sample."""
    assert coverage(share_wrong, checked) < 0.95 - TOLERANCE


# --- views, figures --------------------------------------------------------------------------


def test_summary_shows_the_sampling_error_with_a_design_only() -> None:
    _, observed, anticipated = make_survey(200)
    design = Design(weights=np.full(200, 3.0), strata=np.arange(200) % 4)
    table = selective_scores(observed, anticipated, design=design).summary()
    expected = 3 * anticipated.groupby(np.arange(200) % 4).var().sum().pow(0.5) * math.sqrt(50)
    assert table["sampling_error"].to_list() == pytest.approx(
        (expected / (3 * anticipated.sum())).to_list()
    )
    replicates = ReplicateDesign(np.ones(200), np.ones((200, 3)), df=2)
    assert "sampling_error" in selective_scores(observed, anticipated, design=replicates).summary()
    alone = selective_scores(observed, anticipated, sample_weight=np.full(200, 3.0))
    assert "sampling_error" not in alone.summary()


def test_views() -> None:
    truth, observed, anticipated = make_survey(1_000)
    scores = selective_scores(observed, anticipated)
    assert f"{int(scores.selected.sum())} of 1,000 records to edit" in repr(scores)
    assert "estimate_left" in scores._repr_html_()
    assert scores.to_frame().columns.to_list() == [
        "rank",
        "selected",
        "score",
        "score of turnover",
        "score of costs",
    ]
    curve = scores.curve(truth)
    assert "true error left" in repr(curve)
    assert "true error left" not in repr(scores.curve())
    assert "<table" in curve._repr_html_()
    assert isinstance(curve, EditingCurve)
    assert isinstance(scores, SelectiveScores)
    with pytest.raises(AttributeError):
        scores.threshold = 1.0  # type: ignore[misc]


def test_figures() -> None:
    import matplotlib.pyplot as plt

    truth, observed, anticipated = make_survey(1_000)
    scores = selective_scores(observed, anticipated)
    ax = scores.plot()
    assert ax.get_ylabel() == "expected error left in the total"
    assert ax.get_yscale() == "symlog"
    _, given = plt.subplots()
    assert scores.curve(truth).plot(given) is given
    assert "as expected" in [text.get_text() for text in given.get_legend().get_texts()]
    small = selective_scores(OBSERVED, ANTICIPATED).plot()
    assert small.get_yscale() == "linear"
    assert selective_scores(ANTICIPATED, ANTICIPATED).plot().get_ylabel()  # nothing to edit
    plt.close("all")


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"combine": "mean"}, ValueError, "'max', 'sum', 'euclid'"),
        ({"threshold": 0}, ValueError, "threshold=0"),
        ({"threshold": 1.5}, ValueError, "threshold=1.5"),
        ({"observed": OBSERVED.iloc[:0]}, ValueError, "no records"),
        ({"observed": OBSERVED.iloc[:4]}, ValueError, "4 and 5 records"),
        ({"observed": OBSERVED.iloc[::-1]}, ValueError, "another order"),
        ({"observed": OBSERVED.set_axis(list("aabcd"))}, ValueError, "such as 'a'"),
        ({"observed": OBSERVED.set_axis(["x", "x"], axis=1)}, ValueError, "more than one column"),
        ({"observed": OBSERVED.iloc[:, :0]}, ValueError, "no columns"),
        ({"observed": OBSERVED.assign(staff="many")}, TypeError, "'many'"),
        ({"observed": OBSERVED.assign(staff=np.inf)}, ValueError, "infinite"),
        ({"observed": OBSERVED.assign(staff=np.nan)}, ValueError, "All 5 values of staff"),
        ({"observed": OBSERVED.rename(columns={"staff": "x"})}, ValueError, "lacks x"),
        ({"observed": np.zeros((2, 2, 2))}, ValueError, "shape"),
        (
            {"anticipated": ANTICIPATED.mask(ANTICIPATED > 340)},
            ValueError,
            "anticipated has 1 missing values",
        ),
        ({"anticipated": ANTICIPATED * 0}, ValueError, "turnover is 0"),
        ({"totals": [1, 2]}, TypeError, "give a Series"),
        ({"totals": pd.Series({"staff": 3})}, ValueError, "no turnover"),
        ({"totals": pd.Series({"staff": 3, "turnover": np.nan})}, ValueError, "turnover is nan"),
        ({"risk": [0.5, 0.5, 0.5, 0.5, 1.5]}, ValueError, "risk has 1 values"),
        ({"risk": [0.5, 0.5, 0.5, 0.5, np.nan]}, ValueError, "risk has 1 values"),
        ({"risk": [0.5, 0.5]}, ValueError, "risk has the shape"),
        ({"risk": pd.Series(0.5, index=list("edcba"))}, ValueError, "observed and risk"),
        ({"sample_weight": [1, 1, 1, 1, -1]}, ValueError, "negative"),
        ({"sample_weight": [1, 1, 1, 1, np.nan]}, ValueError, "missing"),
        ({"sample_weight": [0] * 5}, ValueError, "All weights are 0"),
        ({"sample_weight": [1, 2]}, ValueError, "5 records, but weights or design of 2"),
        (
            {"sample_weight": [1] * 5, "design": Design(weights=[1.0] * 5)},
            ValueError,
            "Both sample_weight and design",
        ),
    ],
)
def test_selective_scores_refuse(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        selective_scores(**({"observed": OBSERVED, "anticipated": ANTICIPATED} | options))


def test_curve_and_estimate_left_refuse() -> None:
    scores = selective_scores(OBSERVED, ANTICIPATED, threshold=0.015)
    selected = scores.selected.index[scores.selected]
    rest = OBSERVED.loc[~scores.selected]
    with pytest.raises(ValueError, match="true value"):
        scores.curve(OBSERVED.mask(OBSERVED > 340))
    with pytest.raises(ValueError, match="total of staff is 0"):
        scores.curve(OBSERVED.assign(staff=0.0))
    with pytest.raises(ValueError, match="order"):
        scores.curve(OBSERVED.iloc[::-1])
    with pytest.raises(ValueError, match="threshold=2"):
        scores.curve().needed(2)
    with pytest.raises(KeyError, match="name one of turnover, staff"):
        scores.estimate_left(rest)
    with pytest.raises(KeyError, match="no column staff"):
        scores.estimate_left(rest[["turnover"]], variable="staff")
    with pytest.raises(KeyError, match="'z'"):
        scores.estimate_left(rest.rename(index={"a": "z"}), variable="staff")
    with pytest.raises(ValueError, match="were selected"):
        scores.estimate_left(OBSERVED.loc[selected], variable="staff")
    with pytest.raises(ValueError, match="that came before"):
        scores.estimate_left(pd.concat([rest, rest]), variable="staff")
    with pytest.raises(ValueError, match="checked has 1 missing"):
        scores.estimate_left(rest.mask(rest["staff"] == 21), variable="staff")
    with pytest.raises(ValueError, match="allowed are 'share' and 'total'"):
        scores.estimate_left(rest, variable="staff", of="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the design describes 2"):
        scores.estimate_left(rest, variable="staff", design=Design(weights=[1.0, 1.0]))
