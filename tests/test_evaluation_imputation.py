"""Imputed values against the truth, Rubin's rules, draws and the bootstrap that re-imputes.

Coverage is in test_evaluation_imputation_simulation.py.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - sklearn asks for it
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlkit.editing import EditRules
from mlkit.estimate import Design, Estimate, ReplicateDesign, mean, mean_by, proportion, total
from mlkit.evaluation._imputation_report import stuart_maxwell
from mlkit.evaluation.imputation import (
    ApproximateBayesianBootstrap,
    imputation_report,
    multiple_imputation,
    pool,
    reimputation_bootstrap,
)

mpl.use("agg")

FIXTURES = Path(__file__).parent / "fixtures" / "evaluation_imputation"
TRUE = [10, 20, 30, 40, 50]
IMPUTED = [12, 18, 33, 40, 45]
WEIGHTS = [1, 2, 1, 2, 1]

# --- the report: worked examples -------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("slope", 1.0244863),
        ("R2", 0.9944347),
        ("dL1", 2.0),
        ("dL2", 2.5634798),
        ("dLinf", 3.5714286),
        ("m1", 0.5714286),
        ("m2", 56.2857143),
        ("KS", 0.2857143),
    ],
)
def test_worked_example_of_numbers(measure: str, expected: float) -> None:
    """editing-imputation.md, A20."""
    report = imputation_report(TRUE, IMPUTED, [True] * 5, sample_weight=WEIGHTS)
    assert report.estimate(measure).value == pytest.approx(expected, abs=5e-8)


VISION = np.array(
    [[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]]
)


def people(table: np.ndarray) -> tuple[pd.Series, pd.Series]:
    """Give a record for each count of a table of true by imputed categories."""
    rows, columns = np.nonzero(table)
    times = table[rows, columns]
    names = np.array([f"grade {place}" for place in range(len(table))])
    return (
        pd.Series(np.repeat(names[rows], times)),
        pd.Series(np.repeat(names[columns], times)),
    )


def test_worked_example_of_categories() -> None:
    """editing-imputation.md, A13: Stuart 1955, vision data."""
    true, imputed = people(VISION)
    report = imputation_report(true, imputed, np.ones(len(true), dtype=bool))
    w = report.estimate("W")
    assert w.value == pytest.approx(11.9565696, abs=5e-8)
    assert w.df == 3
    assert report.estimate("W p").value == pytest.approx(0.0075334, abs=5e-8)
    assert report.estimate("D").value == pytest.approx(0.2916945, abs=5e-8)


def by_hand(table: np.ndarray, left_out: int) -> float:
    """Compute W as the formula is written, one category left out."""
    kept = np.arange(len(table)) != left_out
    gap = (table.sum(axis=1) - table.sum(axis=0))[kept]
    matrix = np.diag(table.sum(axis=1) + table.sum(axis=0)) - table - table.T
    return float(gap @ np.linalg.inv(matrix[np.ix_(kept, kept)].astype(float)) @ gap)


def test_w_does_not_depend_on_the_category_left_out() -> None:
    for left_out in range(4):
        assert stuart_maxwell(VISION)[0] == pytest.approx(by_hand(VISION, left_out))


def test_w_of_two_categories_is_that_of_mcnemar() -> None:
    statistic, df, probability = stuart_maxwell(np.array([[50, 7], [20, 30]]))
    assert (statistic, df) == (pytest.approx((20 - 7) ** 2 / 27), 1)
    assert probability == pytest.approx(stats.chi2.sf(statistic, 1))


@pytest.mark.parametrize(
    ("table", "statistic", "df"),
    [
        # A category that does not occur, and one that is never confused: out of the table.
        ([[50, 7, 0], [20, 30, 0], [0, 0, 0]], 169 / 27, 1),
        ([[50, 7, 0], [20, 30, 0], [0, 0, 9]], 169 / 27, 1),
        # Two parts that are never confused with each other: two tests of one degree each.
        ([[5, 4, 0, 0], [9, 1, 0, 0], [0, 0, 5, 2], [0, 0, 8, 1]], 25 / 13 + 36 / 10, 2),
        # All confusion in one direction.
        ([[5, 6], [0, 5]], 6.0, 1),
        # Nothing is wrong.
        ([[5, 0], [0, 5]], 0.0, 0),
        ([[5]], 0.0, 0),
    ],
)
def test_singular_cases_of_w(table: list[list[int]], statistic: float, df: int) -> None:
    found = stuart_maxwell(np.array(table))
    assert found[:2] == (pytest.approx(statistic), df)
    assert found[2] == pytest.approx(1.0 if df == 0 else stats.chi2.sf(statistic, df))
    assert 0 <= found[2] <= 1


def test_w_against_the_pseudo_inverse() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        table = rng.poisson(0.8, (5, 5))
        gap = table.sum(axis=1) - table.sum(axis=0)
        matrix = np.diag(table.sum(axis=1) + table.sum(axis=0)) - table - table.T
        statistic, df, _ = stuart_maxwell(table)
        assert statistic == pytest.approx(gap @ np.linalg.pinv(matrix, hermitian=True) @ gap)
        assert df == np.linalg.matrix_rank(matrix)


# --- the report: brute force -----------------------------------------------------------------


def survey(
    n: int = 300, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    levels = ["low", "middle", "high"]
    truth = pd.DataFrame(
        {
            "turnover": rng.lognormal(4, 1, n).round(),
            "costs": rng.lognormal(3, 1, n).round(),
            "kind": rng.choice(["farm", "shop", "mill"], n),
            "level": pd.Categorical(rng.choice(levels, n), levels, ordered=True),
        }
    )
    mask = pd.DataFrame(rng.random((n, 4)) < 0.4, columns=truth.columns)
    imputed = truth.copy()
    for name in truth:
        shuffled = truth[name].sample(frac=1, random_state=seed).to_numpy()
        imputed[name] = truth[name].where(~mask[name], pd.Series(shuffled, dtype=truth[name].dtype))
    return truth, imputed, mask, rng.choice([1.0, 3.0, 10.0], n)


def test_numbers_by_brute_force() -> None:
    truth, imputed, mask, weights = survey()
    report = imputation_report(truth, imputed, mask, sample_weight=weights)
    inside = mask["costs"].to_numpy()
    for unit, w in (("records", np.ones(inside.sum())), ("population", weights[inside])):
        y, z = truth["costs"].to_numpy()[inside], imputed["costs"].to_numpy()[inside]
        slope = (w * y * z).sum() / (w * z * z).sum()
        points = np.union1d(y, z)
        gaps = [abs((w * (y <= t)).sum() - (w * (z <= t)).sum()) / w.sum() for t in points]
        expected = {
            "slope": slope,
            "R2": 1 - (w * (y - slope * z) ** 2).sum() / (w * y * y).sum(),
            "dL1": (w * abs(z - y)).sum() / w.sum(),
            "dL2": math.sqrt((w * (z - y) ** 2).sum() / w.sum()),
            "dLinf": len(y) * max(w * abs(z - y)) / w.sum(),
            "m1": abs((w * (z - y)).sum()) / w.sum(),
            "m2": abs((w * (z * z - y * y)).sum()) / w.sum(),
            "KS": max(gaps),
        }
        for measure, value in expected.items():
            found = report.estimate(measure, variable="costs", unit=unit).value
            assert found == pytest.approx(value), measure
    ks = report.estimate("KS", variable="costs", unit="records").value
    assert ks == pytest.approx(stats.ks_2samp(y, z).statistic)
    ranks = report.estimate("rank correlation", variable="costs", unit="records").value
    assert ranks == pytest.approx(stats.spearmanr(y, z).statistic)


def test_whole_weights_are_repeated_records() -> None:
    truth, imputed, mask, weights = survey()
    weighted = imputation_report(truth, imputed, mask, sample_weight=weights)
    rows = np.repeat(np.arange(len(truth)), weights.astype(int))
    again = [frame.iloc[rows].reset_index(drop=True) for frame in (truth, imputed, mask)]
    repeated = imputation_report(*again)
    for measure in ("rank correlation", "KS", "dL2", "m2", "R2"):
        a = weighted.estimate(measure, variable="turnover").value
        b = repeated.estimate(measure, variable="turnover").value
        assert a == pytest.approx(b), measure
    a, b = (one.estimate("D ordinal", variable="level").value for one in (weighted, repeated))
    assert a == pytest.approx(b)


def test_order_counts_in_ordered_categories() -> None:
    levels = ["low", "middle", "high"]
    true = pd.Series(pd.Categorical(["low", "low", "high", "middle"], levels, ordered=True))
    report = imputation_report(true, ["low", "middle", "low", "middle"], [True] * 4)
    # (0 + (1 + 1/2) / 2 + (1 + 1) / 2 + 0) / 4
    assert report.estimate("D ordinal").value == pytest.approx(1.75 / 4)
    assert report.estimate("D").value == 0.5


def test_shares_have_the_intervals_of_proportions_and_means_those_of_means() -> None:
    truth, imputed, mask, weights = survey()
    design = Design(weights, strata=np.arange(300) % 3, psu=np.arange(300) // 4)
    report = imputation_report(truth, imputed, mask, design=design)
    wrong = (truth["kind"] != imputed["kind"]).to_numpy()
    inside = mask["kind"].to_numpy()
    expected = proportion(wrong, design=design, domain=inside, confidence=0.95)
    assert report.estimate("D", variable="kind") == expected
    gap = (imputed["costs"] - truth["costs"]).to_numpy()
    signed = mean(gap, design=design, domain=mask["costs"].to_numpy())
    found = report.estimate("m1", variable="costs")
    assert found.value == abs(signed.value)
    assert found.standard_error == signed.standard_error
    assert found.low <= found.value <= found.high
    if signed.low <= 0 <= signed.high:
        assert (found.low, found.high) == (0, max(-signed.low, signed.high))
    squares = mean(gap**2, design=design, domain=mask["costs"].to_numpy())
    root = report.estimate("dL2", variable="costs")
    assert root.high == pytest.approx(math.sqrt(squares.high))
    assert root.standard_error == pytest.approx(squares.standard_error / 2 / root.value)


def test_w_is_for_independent_records() -> None:
    """methods.md, 24: W is a chi-square only unweighted and independent."""
    truth, imputed, mask, weights = survey()
    weighted = imputation_report(truth, imputed, mask, sample_weight=weights)
    assert math.isnan(weighted.estimate("W", variable="kind").value)
    assert "no chi-square" in weighted.estimate("W", variable="kind").note
    assert weighted.estimate("W", variable="kind", unit="records").note == ""
    clustered = imputation_report(
        truth, imputed, mask, design=Design(psu=np.arange(300) // 4)
    ).estimate("W", variable="kind")
    assert "the design denies" in clustered.note


# --- the report: totals, rules, edges --------------------------------------------------------


def test_totals_by_domain() -> None:
    truth, imputed, mask, weights = survey()
    domains = np.array(["north", "south", "west"])[np.arange(300) % 3]
    design = Design(weights, strata=np.arange(300) % 2)
    report = imputation_report(truth, imputed, mask, design=design, domains=domains)
    totals = report.totals.set_index(["variable", "category", "domain"])
    inside = domains == "south"
    row = totals.loc[("costs", np.nan, "south")]
    assert row["true_total"] == pytest.approx(weights[inside] @ truth["costs"][inside])
    assert row["imputed_total"] == pytest.approx(weights[inside] @ imputed["costs"][inside])
    gap = (imputed["costs"] - truth["costs"]).to_numpy()
    expected = total(gap, design=design, domain=inside)
    assert row["difference"] == pytest.approx(expected.value)
    assert row["standard_error"] == pytest.approx(expected.standard_error)
    assert row["relative"] == pytest.approx(row["difference"] / row["true_total"])
    assert row["imputed_cells"] == mask["costs"][inside].sum()
    row = totals.loc[("kind", "mill", "all")]
    assert row["imputed_total"] == pytest.approx(weights @ (imputed["kind"] == "mill"))
    assert len(totals) == 4 * (1 + 1 + 3 + 3)


def test_observed_cells_are_not_judged() -> None:
    truth, imputed, mask, weights = survey()
    report = imputation_report(truth, imputed, mask, sample_weight=weights)
    astray = imputed.assign(
        costs=imputed["costs"].where(mask["costs"], 1e6),
        kind=imputed["kind"].where(mask["kind"], "mill"),
    )
    again = imputation_report(truth, astray, mask, sample_weight=weights)
    pd.testing.assert_frame_equal(report.to_frame(), again.to_frame())
    pd.testing.assert_frame_equal(report.totals, again.totals)


def test_plausibility() -> None:
    rules = EditRules.from_text("balance: a + b == c\na >= 0")
    truth = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [1.0, 1, 1, 1], "c": [2.0, 3, 4, 9]})
    imputed = truth.assign(a=[1.0, 5, 3, 4], b=[1.0, 1, 1, 1])
    mask = pd.DataFrame({"a": [True, True, False, True], "b": [False] * 4})
    weights = [1.0, 2, 4, 1]
    report = imputation_report(truth, imputed, mask, sample_weight=weights, rules=rules)
    assert report.estimate("failing", unit="records").value == pytest.approx(2 / 3)
    assert report.estimate("failing").value == pytest.approx(3 / 4)
    assert report.estimate("failing in truth").value == pytest.approx(1 / 4)
    assert report.estimate("undecided").value == 0
    assert report.check is not None
    assert report.check.failing.tolist() == [False, True, False, True]
    assert report.variables == ("a",)  # nothing of b was imputed


def test_edges() -> None:
    one = imputation_report([3.0], [4.0], [True])
    assert one.estimate("dL1").value == 1
    assert math.isnan(one.estimate("rank correlation").value)
    zero = imputation_report([0.0, 0.0], [0.0, 0.0], [True, True])
    assert math.isnan(zero.estimate("slope").value)
    assert math.isnan(zero.estimate("R2").value)
    assert zero.estimate("dL2").value == 0
    assert np.isnan(zero.totals["relative"]).all()
    weightless = imputation_report([1.0, 2, 3], [1.0, 2, 9], [False, False, True],
                                   sample_weight=[1.0, 2.0, 0.0])  # fmt: skip
    assert math.isnan(weightless.estimate("dL1").value)
    assert weightless.estimate("dL1", unit="records").value == 6


def test_large_figures_are_shown_in_whole_numbers() -> None:
    report = imputation_report([1e6, 2e6, 4e6], [2e6, 2e6, 3e6], [True] * 3)
    text = repr(report)
    assert "666,667 (0 to 2,100,884)" in text  # dL1
    assert "0.908" in text  # R2


def test_table_view_and_figure() -> None:
    truth, imputed, mask, weights = survey()
    before = [one.copy() for one in (truth, imputed, mask)]
    rules = EditRules.from_text("costs <= turnover")
    domains = pd.Series(np.arange(300) % 2)
    report = imputation_report(
        truth, imputed, mask, sample_weight=weights, rules=rules, domains=domains
    )
    for frame, kept in zip((truth, imputed, mask), before, strict=True):
        pd.testing.assert_frame_equal(frame, kept)
    frame = report.to_frame()
    assert set(frame["criterion"]) == {
        *("predictive", "ranking", "distributional", "estimation", "plausibility")
    }
    assert "rank correlation" in repr(report)
    assert "<table" in report._repr_html_()
    labels = [label.get_text() for label in report.plot().get_yticklabels()]
    assert labels[:3] == ["turnover", "turnover, 0", "turnover, 1"]
    with pytest.raises(KeyError, match="2 figures"):
        report.estimate("dL1")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t, i, m: (t, i, m & False), ValueError, "nothing was imputed"),
        (lambda t, i, m: (t, i.iloc[::-1], m), ValueError, "not the same ones"),
        (lambda t, i, m: (t, i.assign(costs=np.nan), m), ValueError, "imputed has .* missing"),
        (lambda t, i, m: (t.assign(costs=np.nan), i, m), ValueError, "truth has .* missing"),
        (lambda t, i, m: (t, i.assign(costs=np.inf), m), ValueError, "infinite"),
        (lambda t, i, m: (t, i.assign(costs="ten"), m), TypeError, "numbers in truth and texts"),
        (lambda t, i, m: (t, i.assign(level="none"), m), ValueError, "no category of the ordered"),
        (lambda t, i, m: (t, i, m.astype("boolean").replace(False, pd.NA)), TypeError, "True or"),
        (lambda t, i, m: (t, i, m.assign(profit=True)), ValueError, "'profit', but truth has not"),
        (lambda t, i, m: (t, i, m.iloc[:5]), ValueError, "300 records and mask 5"),
    ],
)
def test_bad_frames_are_refused(change: Any, error: type[Exception], message: str) -> None:
    truth, imputed, mask, _ = survey()
    with pytest.raises(error, match=message):
        imputation_report(*change(truth, imputed, mask))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domains": [1, 2]}, "one label for each of the 5"),
        ({"domains": ["a", None, "a", "b", "b"]}, "1 missing labels"),
        ({"sample_weight": [1.0, 2.0]}, "lengths differ"),
        ({"sample_weight": [-1.0] * 5}, "negative"),
        ({"sample_weight": [0.0] * 5}, "zero"),
        ({"rules": EditRules.from_text("a >= 0")}, "no column a"),
        ({"confidence": 0}, "confidence"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        imputation_report(TRUE, IMPUTED, [True] * 5, **options)


# --- Rubin's rules ---------------------------------------------------------------------------


def test_pool_against_mice() -> None:
    """Pinned results of R's mice; versions.txt has the version."""
    pinned = pd.read_csv(FIXTURES / "pooled.csv")
    for _, rows in pinned.groupby("case"):
        one = rows.iloc[0]
        found = pool(rows["estimate"], rows["variance"], nu_com=one["nu_com"])
        assert float(found.value) == pytest.approx(one["value"])
        assert float(found.within) == pytest.approx(one["within"])
        assert float(found.between) == pytest.approx(one["between"])
        assert float(found.standard_error) ** 2 == pytest.approx(one["total"])
        assert float(found.df) == pytest.approx(one["df"])
        assert float(found.missing_information) == pytest.approx(one["missing_information"])


def test_pool_by_hand() -> None:
    """methods.md, 23: Q 10, 12, 11; U 4; nu_com 50."""
    pooled = pool([10.0, 12.0, 11.0], [4.0, 4.0, 4.0], nu_com=50)
    share = (4 / 3) / (4 + 4 / 3)
    nu_m = 2 / share**2
    nu_obs = 51 / 53 * 50 * (1 - share)
    nu = 1 / (1 / nu_m + 1 / nu_obs)
    found = pooled.estimate()
    assert float(pooled.added_share) == pytest.approx(share)
    assert found.value == 11
    assert found.standard_error == pytest.approx(math.sqrt(16 / 3))
    assert found.df == pytest.approx(nu)
    assert found.high - 11 == pytest.approx(stats.t.ppf(0.975, nu) * math.sqrt(16 / 3))
    wide = pool([10.0, 12.0, 11.0], [4.0, 4.0, 4.0], nu_com=50, confidence=0.99)
    assert wide.estimate().high > found.high


def test_many_figures_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    values, variances = rng.normal(size=(8, 5)), rng.random((8, 5))
    nu_com = [3, 10, 100, 1000, math.inf]
    together = pool(values, variances, nu_com=nu_com)
    for place in range(5):
        alone = pool(values[:, place], variances[:, place], nu_com=nu_com[place])
        for name in ("value", "standard_error", "low", "high", "df"):
            # Sums of rows and of columns are rounded differently.
            a, b = (getattr(one, name) for one in (together.estimate(place), alone.estimate()))
            assert a == pytest.approx(b), name
    frame = pool(pd.DataFrame(values, columns=list("vwxyz")), variances, nu_com=nu_com).to_frame()
    assert list(frame.index) == list("vwxyz")
    assert frame["df"].to_numpy() == pytest.approx(together.df)


def test_estimates_and_tables_bring_variance_and_degrees_of_freedom() -> None:
    rng = np.random.default_rng(0)
    design = Design(np.full(60, 2.0), strata=np.arange(60) % 3)
    region = np.where(np.arange(60) < 20, "north", "south")
    samples = [rng.normal(size=60) for _ in range(4)]
    ones = [mean(y, design=design) for y in samples]
    by_numbers = pool([e.value for e in ones], [e.standard_error**2 for e in ones], nu_com=57)
    assert pool(ones).estimate() == by_numbers.estimate()
    assert pool(ones, nu_com=10).estimate().df < by_numbers.estimate().df
    tables = pool([mean_by(y, region, design=design) for y in samples])
    north = [mean(y, design=design, domain=region == "north") for y in samples]
    assert tables.estimate("north").value == pytest.approx(pool(north).estimate().value)
    assert tables.estimate("north").df == pytest.approx(pool(north).estimate().df)


def test_edges_of_pool() -> None:
    same = pool([5.0, 5.0, 5.0], [1.0, 1.0, 1.0], nu_com=20)
    assert float(same.added_share) == 0
    assert float(same.df) == pytest.approx(21 / 23 * 20)
    assert "no draws" in same.note
    exact = pool([4.0, 6.0], [0.0, 0.0], nu_com=20)  # nothing but imputation varies
    assert float(exact.added_share) == 1
    assert float(exact.missing_information) == 1
    assert float(exact.df) == 0
    nothing = pool([4.0, 4.0], [0.0, 0.0], nu_com=20)
    assert float(nothing.standard_error) == 0
    assert float(nothing.missing_information) == 0
    large = pool([4.0, 6.0, 5.0], [1.0, 1.0, 1.0], nu_com=math.inf)
    assert float(large.df) == pytest.approx(2 / float(large.added_share) ** 2)
    known = pool([[1.0, 1.0], [1.1, 2.0]], [[1.0, 1.0], [1.0, np.nan]], nu_com=9)
    assert np.isnan(known.standard_error).tolist() == [False, True]
    assert "has none here" in known.note


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([1.0],), {"variances": [1.0], "nu_com": 9}, ValueError, "m >= 2"),
        (([],), {"variances": [], "nu_com": 9}, ValueError, "m >= 2"),
        (([1.0, 2.0],), {"nu_com": 9}, ValueError, "need variances="),
        (([1.0, 2.0], [1.0, 1.0]), {}, ValueError, "nu_com=, primary units minus strata"),
        (([1.0, 2.0], [1.0]), {"nu_com": 9}, ValueError, r"shape \(2,\) and variances \(1,\)"),
        (([1.0, np.nan], [1.0, 1.0]), {"nu_com": 9}, ValueError, "missing or infinite"),
        (([1.0, 2.0], [1.0, -1.0]), {"nu_com": 9}, ValueError, "negative or infinite"),
        (([1.0, 2.0], [1.0, 1.0]), {"nu_com": 0}, ValueError, "nu_com=0"),
        (([1.0, 2.0], [1.0, 1.0]), {"nu_com": [1, 2]}, ValueError, "one for each figure"),
        (([1.0, 2.0], [1.0, 1.0]), {"nu_com": 9, "confidence": 95}, ValueError, "confidence=95"),
        ((["a", "b"], [1.0, 1.0]), {"nu_com": 9}, TypeError, "estimates needs numbers"),
        (([[1.0, 2.0], [1.0]], [1.0]), {"nu_com": 9}, TypeError, "rows of equal length"),
        (([mean([1, 2])] * 2, [1.0, 1.0]), {}, ValueError, "variances of their own"),
        (([pd.DataFrame({"value": [1]})] * 2,), {}, ValueError, "no column df, standard_error"),
        (
            ([mean_by([1, 2, 3, 4], list("aabb")), mean_by([1, 2, 3, 4], list("aabc"))],),
            {},
            ValueError,
            "different rows",
        ),
    ],
)
def test_pool_refuses(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pool(*arguments, **options)


def test_views_of_pooled_figures() -> None:
    pooled = pool(
        pd.DataFrame([[1.0, 2.0], [1.2, 2.5]], columns=["north", "south"]),
        [[0.1, 0.2], [0.1, 0.2]],
        nu_com=30,
    )
    assert "Rubin's rules" in repr(pooled)
    assert "<table" in pooled._repr_html_()
    ax = pooled.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["north", "south"]
    pooled.plot(ax)
    with pytest.raises(KeyError, match="No figure 'east'"):
        pooled.estimate("east")
    with pytest.raises(KeyError, match="one figure"):
        pool([1.0, 2.0], [1.0, 1.0], nu_com=9).estimate("north")


# --- draws -----------------------------------------------------------------------------------

POSTERIOR = IterativeImputer(sample_posterior=True, max_iter=2)


def persons(n: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "region": rng.choice(["north", "south"], n),
            "weight": rng.choice([1.0, 5.0], n),
            "income": rng.normal(30, 5, n),
            "status": rng.choice(["employee", "other"], n),
        },
        index=pd.Index([f"person {number}" for number in range(n)], name="id"),
    )
    frame["income"] += 10 * (frame["region"] == "south")
    frame.loc[rng.random(n) < 0.4, "income"] = np.nan
    return frame


def test_draws_differ_where_values_are_missing_and_nowhere_else() -> None:
    frame = persons()
    before = frame.copy()
    for imputer in (POSTERIOR, ApproximateBayesianBootstrap(["region"])):
        made = multiple_imputation(frame, imputer, m=3, seed=1)
        again = multiple_imputation(frame, imputer, m=3, seed=1)
        other = multiple_imputation(frame, imputer, m=3, seed=2)
        pd.testing.assert_frame_equal(frame, before)
        assert len(made) == 3
        missing = frame["income"].isna()
        for one, same in zip(made, again, strict=True):
            pd.testing.assert_frame_equal(one, same)
            pd.testing.assert_frame_equal(one[~missing], frame[~missing])
            assert list(one.columns) == list(frame.columns)
            assert one.index.equals(frame.index)
            assert not one.isna().to_numpy().any()
        for a, b in itertools.combinations([*made, other[0]], 2):
            assert (a["income"][missing] != b["income"][missing]).mean() > 0.5


def test_a_domain_in_the_model_moves_what_is_imputed() -> None:
    frame = persons(600)
    missing = frame["income"].isna()
    south = frame["region"] == "south"
    for imputer in (POSTERIOR, ApproximateBayesianBootstrap(["region"])):
        one = multiple_imputation(frame, imputer, m=2, seed=1)[0]["income"]
        assert one[missing & south].mean() - one[missing & ~south].mean() > 8
    without = multiple_imputation(frame, POSTERIOR, columns=["weight", "income"], m=2, seed=1)[0]
    gap = without["income"][missing & south].mean() - without["income"][missing & ~south].mean()
    assert abs(gap) < 4


def test_omitted_domains_and_weights_get_a_warning() -> None:
    frame = persons()
    with pytest.warns(UserWarning, match=r"'region', 'weight' are not among .*too short"):
        made = multiple_imputation(
            frame,
            POSTERIOR,
            columns=["income", "status"],
            design_columns=["region", "weight"],
            m=2,
            seed=0,
        )
    assert "Add to columns" in made.note
    quiet = multiple_imputation(frame, POSTERIOR, design_columns=["region", "weight"], m=2, seed=0)
    assert quiet.note == ""


class Unsure(BaseEstimator):
    """An imputer of somebody's, which says nothing about its draws."""

    def fit(self, X: Any) -> Unsure:  # noqa: N803
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        return X


class Own(BaseEstimator):
    """An imputer of somebody's, which says that its draws are proper."""

    proper_draws = True

    def __init__(
        self, leave: bool = False, touch: bool = False, random_state: int | None = None
    ) -> None:
        self.leave = leave
        self.touch = touch
        self.random_state = random_state

    def fit(self, X: pd.DataFrame) -> Own:  # noqa: N803
        self.shape_ = X.shape
        return self

    def transform(self, X: pd.DataFrame) -> Any:  # noqa: N803
        if self.leave:
            return X
        filled = X.fillna(np.random.default_rng(self.random_state).normal()).to_numpy()
        return filled + 1 if self.touch else filled


@pytest.mark.parametrize(
    ("imputer", "message"),
    [
        (SimpleImputer(), "SimpleImputer is refused.*same values every time"),
        (KNNImputer(), "KNNImputer is refused.*same values every time"),
        (IterativeImputer(), r"sample_posterior=False\) is refused.*same values every time"),
        (Unsure(), "Unsure is refused.*nothing says that they are.*reimputation_bootstrap"),
        (make_pipeline(StandardScaler(), POSTERIOR), "Pipeline is refused"),
        (IterativeImputer(sample_posterior=True, add_indicator=True), "more columns"),
        (
            IterativeImputer(HistGradientBoostingRegressor(), sample_posterior=True),
            "HistGradientBoostingRegressor.*no standard deviation",
        ),
    ],
)
def test_improper_draws_are_refused(imputer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        multiple_imputation(persons()[["weight", "income"]], imputer, m=2, seed=0)


def test_own_imputers_are_believed_and_checked() -> None:
    frame = persons()[["weight", "income"]]
    made = multiple_imputation(frame, Own(), m=2, seed=0)
    assert made.imputer == "Own"
    assert not made[0].isna().to_numpy().any()
    given = frame["income"].notna()
    touched = multiple_imputation(frame, Own(touch=True), m=2, seed=0)[0]
    pd.testing.assert_frame_equal(touched[given], frame[given])
    with pytest.raises(ValueError, match=r"left .* values missing"):
        multiple_imputation(frame, Own(leave=True), m=2, seed=0)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda f: f.to_numpy(), {}, TypeError, "give a pandas DataFrame"),
        (lambda f: f.iloc[:0], {}, ValueError, "at least one record"),
        (lambda f: f.dropna(), {}, ValueError, "Nothing is missing"),
        (lambda f: f.assign(income=np.nan), {}, ValueError, "'income' has 0 values"),
        (lambda f: f.assign(weight=np.inf), {}, ValueError, "120 infinite"),
        (lambda f: f.assign(status=None), {}, ValueError, "'status' has 0 values"),
        (lambda f: f.set_axis(list("aabc"), axis=1), {}, ValueError, "more than one column 'a'"),
        (lambda f: f.set_axis([1] * 120), {}, ValueError, "the record 1 more than once"),
        (lambda f: f, {"columns": ["age"]}, ValueError, "columns names 'age'"),
        (lambda f: f, {"columns": "age"}, TypeError, "give a list"),
        (lambda f: f, {"columns": ["income", "income"]}, ValueError, "a name twice"),
        (lambda f: f, {"design_columns": ["age"]}, ValueError, "design_columns names 'age'"),
        (lambda f: f, {"design_columns": "region"}, TypeError, "give a list"),
        (lambda f: f, {"m": 1}, ValueError, "at least 2"),
    ],
)
def test_multiple_imputation_refuses(
    change: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        multiple_imputation(change(persons()), POSTERIOR, seed=0, **options)


def test_text_is_imputed_by_donors_only() -> None:
    frame = persons()
    frame.loc[frame.index[:20], "status"] = None
    with pytest.raises(TypeError, match="'status' holds str values and is to be imputed"):
        multiple_imputation(frame, POSTERIOR, m=2, seed=0)
    with pytest.raises(TypeError, match="give an estimator"):
        multiple_imputation(frame, IterativeImputer, m=2, seed=0)
    made = multiple_imputation(frame, ApproximateBayesianBootstrap(["region"]), m=2, seed=0)
    assert set(made[0]["status"]) == {"employee", "other"}
    assert made[0]["status"].dtype == frame["status"].dtype


def test_whole_numbers_with_gaps() -> None:
    frame = pd.DataFrame({"x": np.arange(30.0), "y": pd.array([None, *range(29)], dtype="Int64")})
    for imputer in (POSTERIOR, ApproximateBayesianBootstrap()):
        one = multiple_imputation(frame, imputer, m=2, seed=0)[0]
        assert one["y"].notna().all()
        assert one["y"].iloc[1:].tolist() == list(range(29))


def test_a_bootstrap_that_loses_the_only_gap_still_imputes_it() -> None:
    frame = pd.DataFrame({"x": np.arange(30.0), "y": np.arange(30.0) + 0.1})
    frame.loc[29, "y"] = np.nan
    made = multiple_imputation(frame, IterativeImputer(sample_posterior=True), m=20, seed=0)
    drawn = [one["y"].iloc[29] for one in made]
    assert min(drawn) > 25  # near 29.1, not at the mean of 14.1


def test_iterative_draws_vary_with_the_values_as_well() -> None:
    """Where little is missing, most of B is the spread of single values, not of parameters."""
    rng = np.random.default_rng(2)
    n, r = 150, 120
    frame = pd.DataFrame({"x": rng.normal(size=n), "y": rng.normal(size=n)})
    frame.loc[r:, "y"] = np.nan
    imputer = IterativeImputer(sample_posterior=True, max_iter=1)
    made = multiple_imputation(frame, imputer, m=100, seed=0)
    between = np.var([one["y"].mean() for one in made], ddof=1)
    assert between == pytest.approx(frame["y"].var() * (n - r) / (n * r), rel=0.35)


def test_donors_are_of_the_class_and_give_all_values() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"class": rng.choice(["a", "b"], 300), "x": np.arange(300.0)})
    frame["y"] = frame["x"] + 1000
    complete = frame.copy()
    gaps = rng.random(300) < 0.3
    frame.loc[gaps, ["x", "y"]] = np.nan
    filled = ApproximateBayesianBootstrap(["class"], random_state=0).fit_transform(frame)
    assert (filled["y"] - filled["x"] == 1000).all()
    donor = complete.set_index("x")["class"]
    assert (donor.loc[filled["x"]].to_numpy() == frame["class"].to_numpy()).all()
    assert not set(filled["x"][gaps]) & set(complete["x"][gaps])


def test_bayesian_bootstrap_varies_as_it_should() -> None:
    """Rubin and Schenker 1986: with r of n given, B is about (n - r) / (n r) of their variance.

    Without the bootstrap among donors it would be r / n of that.
    """
    rng = np.random.default_rng(1)
    n, r = 300, 120
    frame = pd.DataFrame({"y": rng.normal(size=n)})
    frame.loc[r:, "y"] = np.nan
    made = multiple_imputation(frame, ApproximateBayesianBootstrap(), m=400, seed=0)
    between = np.var([one["y"].mean() for one in made], ddof=1)
    assert between == pytest.approx(frame["y"].var() * (n - r) / (n * r), rel=0.2)


@pytest.mark.parametrize(
    ("classes", "change", "error", "message"),
    [
        (["age"], lambda f: f, ValueError, "classes names 'age'"),
        ("region", lambda f: f, TypeError, "give a list"),
        (["income"], lambda f: f, ValueError, "'income' has .* missing values"),
        ([], lambda f: f.assign(income=np.nan), ValueError, "there is no donor"),
        ([], lambda f: f.to_numpy(), TypeError, "give a DataFrame"),
    ],
)
def test_hot_deck_refuses(classes: Any, change: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ApproximateBayesianBootstrap(classes).fit(change(persons()))


def test_hot_deck_refuses_classes_without_donors() -> None:
    frame = persons()
    lonely = frame.assign(region=np.where(np.arange(120) == 5, "east", frame["region"]))
    lonely.loc["person 5", "income"] = np.nan
    imputer = ApproximateBayesianBootstrap(["region"]).fit(lonely)
    with pytest.raises(ValueError, match=r"1 imputation classes .* than 2 donors.*'east'"):
        imputer.transform(lonely)
    with pytest.raises(ValueError, match="fitted were"):
        imputer.transform(lonely[["income", "region"]])
    single = pd.DataFrame({"income": [1.0, np.nan, np.nan]})
    with pytest.raises(ValueError, match="fewer than 2 donors"):
        ApproximateBayesianBootstrap().fit_transform(single)


def test_pooling_completed_data_sets() -> None:
    frame = persons()
    design = Design(frame["weight"])
    made = multiple_imputation(frame, ApproximateBayesianBootstrap(["region"]), m=5, seed=0)
    pooled = made.pool(lambda one: mean(one["income"], design=design))
    by_hand = pool([mean(one["income"], design=design) for one in made])
    assert pooled.estimate() == by_hand.estimate()
    assert 0 < float(pooled.missing_information) < 1
    table = made.pool(lambda one: mean_by(one["income"], one["region"], design=design))
    assert list(table.to_frame().index) == ["north", "south"]
    with pytest.raises(TypeError, match="return an Estimate"):
        made.pool(lambda one: one["income"].mean())
    assert "5 completed data sets" in repr(made)
    assert "<table" in made._repr_html_()
    assert made.to_frame().loc["income", "imputed"] == frame["income"].isna().sum()


# --- the bootstrap that re-imputes -----------------------------------------------------------


def by_mean(frame: pd.DataFrame, weights: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    given = frame["income"].notna().to_numpy()
    level = np.average(frame["income"][given], weights=weights[given])
    return frame.assign(income=frame["income"].fillna(level))


def average(frame: pd.DataFrame, weights: np.ndarray) -> float:
    return float(np.average(frame["income"], weights=weights))


def test_imputing_the_mean_costs_as_many_records_as_are_missing() -> None:
    """The figure is the mean of the respondents, so its variance is known: that of a domain."""
    frame = persons(400)
    design = Design(frame["weight"], strata=frame["region"])
    found = reimputation_bootstrap(frame, by_mean, average, design=design, seed=0)
    given = frame["income"].notna().to_numpy()
    expected = mean(frame["income"], design=design, domain=given)
    assert found.estimate().value == pytest.approx(expected.value)
    assert found.estimate().standard_error == pytest.approx(expected.standard_error, rel=0.1)
    assert found.estimate().df == design.df
    naive = mean(by_mean(frame, design.weights, np.random.default_rng())["income"], design=design)
    assert naive.standard_error < 0.7 * expected.standard_error


def test_replicates_hold_primary_units_with_rescaled_weights() -> None:
    """Rao, Wu and Yue 1992: n - 1 of n units with replacement, weights by n / (n - 1)."""
    psu = np.repeat(np.arange(6), 5)
    strata = np.where(psu < 2, "two", "four")
    frame = pd.DataFrame({"psu": psu, "income": np.where(np.arange(30) % 5 == 0, np.nan, 1.0)})
    design = Design(np.full(30, 3.0), strata=strata, psu=psu)
    seen = []

    def impute(one: pd.DataFrame, weights: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
        seen.append(one.assign(weight=weights))
        return one.fillna(0.0)

    reimputation_bootstrap(frame, impute, average, design=design, replicates=50, seed=0)
    assert seen[0]["weight"].eq(3).all()
    for one in seen[1:]:
        assert one.index.equals(pd.RangeIndex(len(one)))
        assert len(one) == 5 * (1 + 3)
        two = one["psu"] < 2
        assert two.sum() == 5
        assert one["weight"][two].tolist() == [6.0] * 5
        assert one["weight"][~two].to_numpy() == pytest.approx(4.0)
    drawn = np.unique(np.concatenate([one["psu"].unique() for one in seen[1:]]))
    assert drawn.tolist() == [0, 1, 2, 3, 4, 5]


def test_units_drawn_with_certainty_are_always_there() -> None:
    frame = pd.DataFrame({"income": [1000.0, 1, 2, np.nan, 4]})
    design = Design([1.0, 5, 5, 5, 5], strata=list("abbbb"), fpc=[1.0, 0.2, 0.2, 0.2, 0.2])
    found = reimputation_bootstrap(
        frame,
        lambda one, weights, rng: one.fillna(3.0),
        lambda one, weights: float((one["income"] == 1000) @ weights),
        design=design,
        replicates=20,
        seed=0,
    )
    assert found.replicates.tolist() == [1.0] * 20
    assert float(found.standard_error) == 0
    assert "finite population correction is left out" in found.note


def test_variance_is_around_the_mean_of_the_replicates() -> None:
    """A random imputation of the sample is one draw: around it, its luck would count twice."""
    frame = persons()
    design = Design(frame["weight"])

    def at_random(one: pd.DataFrame, weights: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
        return one.assign(income=one["income"].fillna(30 + 20 * rng.normal()))

    found = reimputation_bootstrap(frame, at_random, average, design=design, replicates=300, seed=0)
    assert float(found.standard_error) == pytest.approx(np.std(found.replicates, ddof=1))
    again = reimputation_bootstrap(frame, at_random, average, design=design, replicates=300, seed=0)
    assert found.estimate() == again.estimate()


def test_many_figures_with_labels() -> None:
    frame = persons(300)
    design = Design(frame["weight"])

    def both(one: pd.DataFrame, weights: np.ndarray) -> pd.Series:
        return one["income"].mul(weights).groupby(one["region"]).sum()

    found = reimputation_bootstrap(
        frame, by_mean, both, design=design, replicates=50, seed=0, confidence=0.9
    )
    assert isinstance(found.estimate("north"), Estimate)
    assert found.to_frame().index.tolist() == ["north", "south"]
    assert found.replicates.shape == (50, 2)
    assert found.estimate("south").confidence == 0.9
    assert "imputation in every replicate" in repr(found)
    arrays = reimputation_bootstrap(
        frame, by_mean, lambda o, w: both(o, w).to_numpy(), design=design, replicates=50, seed=0
    )
    assert arrays.standard_error.tolist() == found.standard_error.tolist()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"frame": persons().to_numpy()}, TypeError, "give a pandas DataFrame"),
        ({"frame": persons().iloc[:9]}, ValueError, "9 records, but the design describes 120"),
        ({"frame": persons().fillna(1.0)}, ValueError, "nothing to impute"),
        ({"design": None}, TypeError, "design is a NoneType"),
        (
            {"design": ReplicateDesign(np.ones(120), np.ones((120, 3)), df=2)},
            TypeError,
            "design is a ReplicateDesign",
        ),
        ({"replicates": 1}, ValueError, "at least 2"),
        ({"confidence": 95}, ValueError, "confidence=95"),
        ({"impute": lambda f, w, r: f.to_numpy()}, TypeError, "return the records as a DataFrame"),
        ({"impute": lambda f, w, r: f.dropna()}, ValueError, "Return the same records"),
        ({"impute": lambda f, w, r: f}, ValueError, "missing or infinite"),
        ({"statistic": lambda f, w: "much"}, TypeError, "must return numbers"),
        ({"statistic": lambda f, w: np.ones((2, 2))}, ValueError, r"shape \(2, 2\)"),
        (
            {"statistic": lambda f, w: f["income"].groupby(f.index // 60).mean().iloc[: len(f)]
             if len(f) == 120 else f["income"].iloc[:1]},
            ValueError,
            "must return the same labels",
        ),
    ],
)  # fmt: skip
def test_bootstrap_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {
        "frame": persons(),
        "impute": by_mean,
        "statistic": lambda f, w: float(f["income"].sum()) if f["income"].notna().all() else np.nan,
        "design": Design(np.ones(120)),
        "replicates": 5,
        "seed": 0,
    } | change
    with pytest.raises(error, match=message):
        reimputation_bootstrap(**arguments)
