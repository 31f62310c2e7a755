"""Evaluation of coding: worked examples, scikit-learn, R, brute force, and bad input."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    f1_score,
    precision_recall_fscore_support,
)

from mlkit.classifications import Classification
from mlkit.datasets import load_soc_index
from mlkit.estimate import Design, ReplicateDesign, mean, proportion, replicate_weights
from mlkit.evaluation import __all__ as evaluation_names
from mlkit.evaluation import coding
from mlkit.evaluation.coding import (
    agreement,
    brier_of_correct,
    coding_report,
    expected_calibration_error,
    first_wrong_level,
    hierarchical_scores,
    production_curve,
    reliability_table,
)

mpl.use("agg")

FIXTURES = Path(__file__).parent / "fixtures" / "evaluation_coding"


def tree(**parents: str) -> Classification:
    """Make a classification from code=parent; the underscore makes names of digits."""
    frame = pd.DataFrame({"code": parents.keys(), "parent": parents.values()})
    frame["code"] = frame["code"].str.removeprefix("_")
    return Classification.from_table(
        frame.assign(title="Title"), code="code", parent="parent", title="title", name="small"
    )


@pytest.fixture(scope="module")
def small() -> Classification:
    """The classification of worked example A7: "31" may end there or go on."""
    return tree(
        _1="",
        _2="",
        _3="",
        _12="1",
        _21="2",
        _22="2",
        _31="3",
        _123="12",
        _124="12",
        _211="21",
        _221="22",
        _311="31",
    )


@pytest.fixture(scope="module")
def soc() -> Classification:
    return load_soc_index().classification


def random_tree(rng: np.random.Generator) -> tuple[Classification, dict[str, str]]:
    """Grow a ragged tree of codes whose names say nothing about their parents."""
    parents = {"top1": "", "top2": ""}
    for number in range(12):
        parents[f"code{number}"] = str(rng.choice(list(parents)))
    frame = pd.DataFrame({"code": parents.keys(), "parent": parents.values(), "title": "Title"})
    classification = Classification.from_table(
        frame, code="code", parent="parent", title="title", name="random"
    )
    return classification, parents


def path(code: str, parents: dict[str, str]) -> list[str]:
    return [*path(parents[code], parents), code] if code else []


# --- worked examples -------------------------------------------------------------------------

# text-classification.md, A5: ties cannot be told apart.
A5_SCORES = np.array([0.95, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3])
A5_CORRECT = np.array([1, 1, 0, 1, 1, 0, 1, 1, 0, 0])
A5_POINTS = [
    (0.95, 0.1, 1),
    (0.9, 0.3, 2 / 3),
    (0.8, 0.4, 0.75),
    (0.7, 0.5, 0.8),
    (0.6, 0.7, 5 / 7),
    (0.5, 0.8, 0.75),
    (0.4, 0.9, 2 / 3),
    (0.3, 1, 0.6),
]
A7_TRUE = ["123", "123", "211", "31"]
A7_PRED = ["123", "124", "221", "311"]
A7_TRUE_PATHS = [[1, 12, 123], [1, 12, 123], [2, 21, 211], [3, 31, ""]]
A7_PRED_PATHS = [[1, 12, 123], [1, 12, 124], [2, 22, 221], [3, 31, 311]]


def test_a5_production_curve_with_ties() -> None:
    curve = production_curve(A5_CORRECT, A5_SCORES)
    points = np.column_stack([curve.thresholds, curve.production, curve.accuracy])
    assert points == pytest.approx(np.array(A5_POINTS), abs=1e-12)
    # The area, by its definition: each record meets the error rate at its own threshold.
    risk = {threshold: 1 - accuracy for threshold, _, accuracy in A5_POINTS}
    assert curve.aurc == pytest.approx(np.mean([risk[score] for score in A5_SCORES]))


def test_a5_points_read_off() -> None:
    curve = production_curve(A5_CORRECT, A5_SCORES)
    assert curve.at(accuracy=0.75) == coding.CurvePoint(0.5, 0.8, 0.75, 8)
    assert curve.at(accuracy=0.8) == coding.CurvePoint(0.7, 0.5, 0.8, 5)
    assert curve.at(production=0.55).production == 0.7  # no threshold gives .55
    assert curve.at(production=0.3).threshold == 0.9
    assert curve.at(production=0).threshold == 0.95
    assert curve.at(threshold=0.65).records == 5
    assert curve.at(threshold=0.6).records == 7
    nothing = curve.at(threshold=0.99)
    assert (nothing.records, nothing.production, math.isnan(nothing.accuracy)) == (0, 0, True)
    never = production_curve([0, 0], [0.5, 0.4]).at(accuracy=0.5)
    assert (never.threshold, never.production) == (np.inf, 0)


def test_a7_hierarchical_metrics(small: Classification) -> None:
    # text-classification.md, A7, after Kiritchenko and hiclass: hP 8/12, hR 8/11.
    for scores in (
        hierarchical_scores(A7_TRUE, A7_PRED, small),
        hierarchical_scores(A7_TRUE_PATHS, A7_PRED_PATHS),
    ):
        precision, recall, f1 = scores
        assert precision == pytest.approx(0.6666667, abs=1e-7)
        assert recall == pytest.approx(0.7272727, abs=1e-7)
        assert f1 == pytest.approx(0.6956522, abs=1e-7)
    records = hierarchical_scores(A7_TRUE, A7_PRED, small, average="records")
    assert records.precision == pytest.approx(2 / 3)
    assert records.recall == pytest.approx(0.75)
    assert records.f1 == pytest.approx((1 + 2 / 3 + 1 / 3 + 0.8) / 4)


def test_hiclass_example() -> None:
    # The docstring of hiclass.metrics.f1 (5.0.8), quoted in text-classification.md, A7.
    true, predicted = [[0, 1, 2], [3, 4, 5]], [[0, 1, 2], [6, 7, 8]]
    assert hierarchical_scores(true, predicted).f1 == 0.5
    assert hierarchical_scores(true, predicted, average="records").f1 == 0.5


def test_hiclass_bugs_are_not_ours() -> None:
    # findings.md, 6. (1) A record with nothing in common: hiclass raises with zero_division=0.0.
    assert hierarchical_scores([[1, 2]], [[3, 4]], average="records") == (0, 0, 0)
    # (2) Equal labels at different levels: hiclass gives 1.0 with every level wrong.
    for average in ("micro", "records", "macro"):
        assert hierarchical_scores([[1, 2, 3]], [[3, 1, 2]], average=average) == (0, 0, 0)
    # Nor are equal labels below different parents one code.
    assert hierarchical_scores([["a", "other"]], [["b", "other"]]).f1 == 0
    # (3) Its third, 2.8 s for 20,000 records, is measured in benchmarks/bench_coding_report.py.


def test_a9_margin_sends_the_record_to_a_clerk() -> None:
    # text-classification.md, A9: p1 - p2 = .5 is below the threshold .65.
    scores = np.array([[0.70, 0.20, 0.05, 0.03, 0.02], [0.9, 0.1, 0, 0, 0]])
    curve = production_curve([1, 1], scores[:, 0] - scores[:, 1])
    assert curve.thresholds == pytest.approx([0.8, 0.5])
    assert curve.at(threshold=0.65).records == 1
    assert production_curve([1, 1], scores).at(threshold=0.65).records == 2  # by p1 itself


def test_kappa_of_fleiss_cohen_everitt() -> None:
    # Fleiss, Cohen and Everitt (1969), table 2: 200 records, kappa .429; their variance is
    # written out here from the paper's formula for unweighted kappa.
    table = np.array([[106, 10, 4], [22, 28, 10], [2, 12, 6]])
    a = np.repeat(["x", "y", "z"], 3).repeat(table.ravel())
    b = np.tile(["x", "y", "z"], 3).repeat(table.ravel())
    n, p = 200, table / 200
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    po, pe = np.trace(p), rows @ columns
    off = sum(p[i, j] * (columns[i] + rows[j]) ** 2 for i in range(3) for j in range(3) if i != j)
    on = (
        sum(p[i, i] * ((1 - pe) - (rows[i] + columns[i]) * (1 - po)) ** 2 for i in range(3))
        + (1 - po) ** 2 * off
    )
    variance = (on - (po * pe - 2 * pe + po) ** 2) / (n * (1 - pe) ** 4)
    found = agreement(a, b).kappa
    assert found.value == pytest.approx(0.429, abs=5e-4)
    assert found.standard_error == pytest.approx(math.sqrt(variance * n / (n - 1)))


def test_standard_errors_of_r_survey() -> None:
    # Pinned output of R's survey package (version in the file), made by survey.R beside it.
    data = pd.read_csv(FIXTURES / "coders.csv")
    expected = pd.read_csv(FIXTURES / "survey.csv", skipinitialspace=True).set_index("figure")
    design = Design(weights=data["weight"], strata=data["stratum"], psu=data["psu"])
    both = agreement(data["coder_a"], data["coder_b"], design=design)
    report = coding_report(data["coder_a"], data["coder_b"], design=design)
    found = {"agreement": both.agreement, "kappa": both.kappa} | {
        name: report.estimate(name) for name in ("macro F1", "weighted F1")
    }
    for name, one in found.items():
        assert one.value == pytest.approx(expected.loc[name, "value"], abs=1e-9), name
        assert one.standard_error == pytest.approx(
            expected.loc[name, "standard_error"], abs=1e-9
        ), name
        assert one.df == expected.loc[name, "df"]
    assert both.agreement == report.estimate("accuracy")
    assert both.agreement.low == pytest.approx(expected.loc["agreement", "low"], abs=1e-6)
    assert both.agreement.high == pytest.approx(expected.loc["agreement", "high"], abs=1e-6)


# --- the report ------------------------------------------------------------------------------


def simulate(n: int, k: int, seed: int, classification: Classification) -> Any:
    """Draw true codes of the last level, and k guesses each."""
    rng = np.random.default_rng(seed)
    codes = classification.codes(classification.levels[-1])[:40]
    true = rng.choice(codes, n)
    guesses = rng.choice(codes, (n, k))
    guesses[:, 0] = np.where(rng.random(n) < 0.6, true, guesses[:, 0])
    return true, guesses, rng.choice([0.5, 1.0, 3.0], n)


def test_report_agrees_with_scikit_learn(soc: Classification) -> None:
    true, guesses, weights = simulate(500, 3, 0, soc)
    report = coding_report(true, guesses, classification=soc, sample_weight=weights)
    assert report.levels == soc.levels
    for level in soc.levels:
        truth, first = soc.at_level(true, level), soc.at_level(guesses[:, 0], level)
        for unit, by in (("records", None), ("population", weights)):
            expected = {
                "accuracy": accuracy_score(truth, first, sample_weight=by),
                "macro F1": f1_score(truth, first, average="macro", sample_weight=by),
                "weighted F1": f1_score(truth, first, average="weighted", sample_weight=by),
            }
            for k in (2, 3):
                hits = (soc.at_level(guesses[:, :k], level) == truth[:, None]).any(axis=1)
                expected[f"top-{k} accuracy"] = np.average(hits, weights=by)
            for measure, value in expected.items():
                found = report.estimate(measure, level=level, unit=unit)
                assert found.value == pytest.approx(value), (level, unit, measure)


def test_unweighted_accuracy_is_the_exact_proportion(soc: Classification) -> None:
    true, guesses, _ = simulate(80, 1, 1, soc)
    found = coding_report(true, guesses, classification=soc).estimate("accuracy")
    assert found == proportion(true == guesses[:, 0])


@pytest.mark.parametrize("measure", ["macro F1", "weighted F1"])
@pytest.mark.parametrize("weighted", [False, True])
def test_standard_error_of_f1_against_the_jackknife(measure: str, weighted: bool) -> None:
    rng = np.random.default_rng(5)
    n = 300
    true = rng.choice(list("aaabbcd"), n)
    predicted = np.where(rng.random(n) < 0.7, true, rng.choice(list("abcd"), n))
    weights = rng.uniform(0.5, 4, n) if weighted else np.ones(n)
    average = measure.split()[0]
    left_out = [
        f1_score(
            np.delete(true, i),
            np.delete(predicted, i),
            average=average,
            sample_weight=np.delete(weights, i),
        )
        for i in range(n)
    ]
    jackknife = math.sqrt((n - 1) / n * np.sum((left_out - np.mean(left_out)) ** 2))
    found = coding_report(true, predicted, sample_weight=weights).estimate(measure)
    assert found.standard_error == pytest.approx(jackknife, rel=0.02)


@pytest.mark.parametrize(("size", "n", "low", "high"), [(300, 500, 0.0, 0.2), (5, 800, 0.92, 0.98)])
def test_macro_f1_of_rare_codes_says_that_its_interval_fails(
    size: int, n: int, low: float, high: float
) -> None:
    # A negative control, and its counterpart; simulated as in the docstring, 300 samples.
    rng = np.random.default_rng(11)
    shares = 1 / np.arange(1, size + 1)
    shares /= shares.sum()
    target = np.mean(0.8 + 0.2 * shares)
    covered = 0
    for _ in range(300):
        true = rng.choice(size, n, p=shares)
        predicted = np.where(rng.random(n) < 0.8, true, rng.choice(size, n, p=shares))
        found = coding_report(true, predicted).estimate("macro F1")
        covered += found.low <= target <= found.high
        assert ("interval is too short" in found.note) == (low == 0)
    assert low <= covered / 300 <= high


def test_weights_that_are_equal_leave_one_kind_of_figures() -> None:
    plain = coding_report(["a", "b", "b"], ["a", "a", "b"])
    equal = coding_report(["a", "b", "b"], ["a", "a", "b"], sample_weight=[7, 7, 7])
    assert equal == plain
    assert plain.units == ("records",)


def test_records_and_population_are_told_apart() -> None:
    report = coding_report(["a", "b", "b"], ["a", "a", "b"], sample_weight=[8, 1, 1])
    assert report.units == ("records", "population")
    assert report.estimate("accuracy", unit="records").value == pytest.approx(2 / 3)
    assert report.estimate("accuracy", unit="population").value == pytest.approx(0.9)
    assert report.estimate("accuracy").value == pytest.approx(0.9)
    assert "independent selection only" in report._repr_html_()


def test_clusters_widen_the_standard_error_of_records_too() -> None:
    rng = np.random.default_rng(2)
    psu = np.repeat(np.arange(40), 10)
    right = rng.random(40)[psu] > 0.5  # whole clusters are right or wrong
    true, predicted = np.full(400, "a"), np.where(right, "a", "b")
    weights = rng.uniform(1, 5, 40)[psu]
    report = coding_report(true, predicted, design=Design(weights=weights, psu=psu))
    naive = coding_report(true, predicted).estimate("accuracy").standard_error
    for unit in ("records", "population"):
        assert report.estimate("accuracy", unit=unit).standard_error > 2 * naive
    assert report.estimate("accuracy", unit="records").standard_error == pytest.approx(
        mean(right, design=Design(psu=psu)).standard_error
    )


def test_finite_population_counts_for_records_too() -> None:
    weights, strata = [1.0, 2, 1, 2, 3, 4], list("aaabbb")
    true, predicted = list("xxyxyy"), list("xyyxxy")
    design = {"strata": strata, "fpc": [4, 4, 4, 8, 8, 8]}
    report = coding_report(true, predicted, design=Design(weights=weights, **design))
    plain = coding_report(true, predicted, design=Design(**design))
    for measure in plain.measures:
        assert report.estimate(measure, unit="records") == plain.estimate(measure)
    large = coding_report(true, predicted, design=Design(strata=strata))
    assert plain.estimate("accuracy").standard_error < large.estimate("accuracy").standard_error


def test_intervals_end_where_figures_end() -> None:
    report = coding_report(["a", "a", "a", "b"], ["a", "a", "b", "b"])
    for figure in report.figures:
        assert 0 <= figure.estimate.low < figure.estimate.high <= 1
    apart = agreement(["a", "b", "a"], ["b", "a", "a"]).kappa
    assert -1 <= apart.low < apart.value < apart.high <= 1


def test_one_record_has_figures_without_standard_error() -> None:
    report = coding_report(["a"], ["a"])
    assert report.estimate("accuracy").value == 1
    assert math.isnan(report.estimate("macro F1").standard_error)
    assert "one record shows no variation" in repr(report)
    assert agreement(["a"], ["b"]).kappa.value == 0


def test_replicate_weights_judge_records_too() -> None:
    rng = np.random.default_rng(3)
    psu, strata = np.repeat(np.arange(60), 5), np.repeat(np.arange(6), 50)
    weights = rng.uniform(1, 5, 300)
    true = rng.choice(list("abc"), 300)
    predicted = np.where(rng.random(60)[psu] < 0.7, true, "a")
    design = Design(weights=weights, strata=strata, psu=psu)
    replicates = replicate_weights(design, replicates=2000, seed=1)
    known = ReplicateDesign(weights, replicates, df=design.df)
    one = coding_report(true, predicted, design=design)
    other = coding_report(true, predicted, design=known)
    assert one.units == other.units == ("records", "population")
    for figure, same in zip(one.figures, other.figures, strict=True):
        assert same.estimate.value == pytest.approx(figure.estimate.value)
        assert same.estimate.standard_error == pytest.approx(
            figure.estimate.standard_error, rel=0.08
        )


def test_weight_zero_is_as_good_as_absent() -> None:
    with_zero = coding_report(list("abcb"), list("aabc"), sample_weight=[2, 1, 0, 3])
    without = coding_report(list("abb"), list("aac"), sample_weight=[2, 1, 3])
    for measure in with_zero.measures:
        assert with_zero.estimate(measure).value == pytest.approx(without.estimate(measure).value)


def test_ragged_codes_count_down_to_where_they_reach(small: Classification) -> None:
    report = coding_report(A7_TRUE, A7_PRED, classification=small)
    assert report.to_frame().query("measure == 'accuracy'")["records"].tolist() == [4, 4, 3]
    accuracy = [report.estimate("accuracy", level=level).value for level in small.levels]
    assert accuracy == pytest.approx([1, 0.75, 1 / 3])
    # A prediction that ends higher up is wrong below its end, and predicts no other code.
    higher = coding_report(["123", "211"], ["12", "211"], classification=small)
    assert higher.estimate("accuracy", level="level 2").value == 1
    assert higher.estimate("accuracy", level="level 3").value == 0.5
    assert higher.estimate("macro F1", level="level 3").value == 0.5


def test_level_that_no_record_reaches_has_no_figure(small: Classification) -> None:
    report = coding_report(["12", "21"], ["12", "22"], classification=small)
    for measure in report.measures:
        assert math.isnan(report.estimate(measure, level="level 3").value)
    assert "no true code reaches this level" in report._repr_html_()


def test_levels_can_be_chosen(soc: Classification) -> None:
    true, guesses, _ = simulate(50, 1, 3, soc)
    some = coding_report(true, guesses, classification=soc, levels=soc.levels[:2])
    assert some.levels == soc.levels[:2]
    with pytest.raises(ValueError, match="no level 'region'"):
        coding_report(true, guesses, classification=soc, levels=["region"])
    with pytest.raises(ValueError, match="give a list of levels"):
        coding_report(true, guesses, classification=soc, levels="region")
    with pytest.raises(ValueError, match="without a classification"):
        coding_report(true, guesses, levels=["region"])
    with pytest.raises(KeyError, match="The levels are"):
        some.estimate("accuracy", level="region")


def test_single_class_has_documented_answers() -> None:
    report = coding_report(["a", "a"], ["a", "a"])
    assert report.to_frame()["value"].tolist() == [1, 1, 1]
    both = agreement(["a", "a"], ["a", "a"])
    assert both.agreement.value == 1
    assert math.isnan(both.kappa.value)
    assert "not defined" in both.kappa.note


# --- every form of labels --------------------------------------------------------------------

FORMS: dict[str, Callable[[list[str]], Any]] = {
    "list": list,
    "objects": lambda codes: np.array(codes, dtype=object),
    "fixed width": np.array,
    "numbers": lambda codes: np.array(codes).astype(int),
    "python numbers": lambda codes: [int(code) for code in codes],
    "str Series": lambda codes: pd.Series(codes, dtype="str", index=range(5, 5 + len(codes))),
    "string Series": lambda codes: pd.Series(codes, dtype="string"),
    "str array": lambda codes: pd.array(codes, dtype="str"),
    "categorical": lambda codes: pd.Categorical(codes),
    "categorical Series": lambda codes: pd.Series(codes, dtype="category"),
    "index": pd.Index,
    "column": lambda codes: np.array(codes)[:, None],
    "frame": lambda codes: pd.DataFrame({"first": codes}),
}
if importlib.util.find_spec("pyarrow"):  # else pandas keeps its strings in NumPy's
    FORMS["Arrow array"] = lambda codes: pd.array(codes, dtype="string[pyarrow]")


@pytest.mark.parametrize(("left", "right"), list(itertools.product(FORMS, FORMS)))
def test_forms_of_labels(left: str, right: str, small: Classification) -> None:
    expected = coding_report(A7_TRUE, A7_PRED, classification=small)
    true, predicted = FORMS[left](A7_TRUE), FORMS[right](A7_PRED)
    assert coding_report(true, predicted, classification=small) == expected
    assert hierarchical_scores(true, predicted, small) == hierarchical_scores(
        A7_TRUE, A7_PRED, small
    )
    if ("numbers" in left) == ("numbers" in right):
        assert agreement(true, predicted) == agreement(A7_TRUE, A7_PRED)
        assert coding_report(true, predicted) == coding_report(A7_TRUE, A7_PRED)
    else:
        with pytest.raises(TypeError, match="Mixed types"):
            coding_report(true, predicted)


def test_rows_of_candidates_may_end_early(small: Classification) -> None:
    predicted = [["124", "123"], ["123", None], ["221", ""], ["31", np.nan]]
    report = coding_report(A7_TRUE, predicted, classification=small)
    assert report.estimate("accuracy", level="level 3").value == pytest.approx(1 / 3)
    assert report.estimate("top-2 accuracy", level="level 3").value == pytest.approx(2 / 3)
    frame = coding_report(A7_TRUE, pd.DataFrame(predicted), classification=small)
    assert frame == report


# --- hierarchical scores and the first wrong level --------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("weighted", [False, True])
def test_hierarchical_scores_by_definition(seed: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    classification, parents = random_tree(rng)
    true, predicted = rng.choice(list(parents), (2, 60))
    weights = rng.integers(0, 4, 60).astype(float) if weighted else None
    w = np.ones(60) if weights is None else weights
    sets = [
        (set(path(t, parents)), set(path(p, parents))) for t, p in zip(true, predicted, strict=True)
    ]
    shared, guessed, real = (
        np.array([f(t, p) for t, p in sets])
        for f in (lambda t, p: len(t & p), lambda t, p: len(p), lambda t, p: len(t))
    )
    precision, recall = w @ shared / (w @ guessed), w @ shared / (w @ real)
    f1 = 2 * precision * recall / (precision + recall)
    expected = {
        "micro": (precision, recall, f1),
        "records": tuple(
            np.average(one, weights=weights)
            for one in (shared / guessed, shared / real, 2 * shared / (guessed + real))
        ),
    }
    # The macro average is scikit-learn's, for records with several labels.
    kept = [one for one, weight in zip(sets, w, strict=True) if weight]
    codes = sorted(set().union(*(t | p for t, p in kept)))
    indicators = [np.array([[c in s[i] for c in codes] for s in sets]) for i in (0, 1)]
    expected["macro"] = precision_recall_fscore_support(
        *indicators, average="macro", sample_weight=weights, zero_division=0
    )[:3]
    as_paths = [
        [one + [None] * (14 - len(one)) for one in (path(code, parents) for code in side)]
        for side in (true, predicted)
    ]
    for average, scores in expected.items():
        options: Any = {"average": average, "sample_weight": weights}
        found = hierarchical_scores(true, predicted, classification, **options)
        assert found == pytest.approx(scores), average
        assert hierarchical_scores(*as_paths, **options) == pytest.approx(scores), average


@pytest.mark.parametrize("seed", range(4))
def test_first_wrong_level_by_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classification, parents = random_tree(rng)
    true, predicted = rng.choice(list(parents), (2, 60))
    weights = rng.uniform(0.5, 3, 60)
    found = first_wrong_level(true, predicted, classification, sample_weight=weights)
    first: list[str | None] = []
    for t, p in zip(true, predicted, strict=True):
        pairs = itertools.zip_longest(path(t, parents), path(p, parents)[: len(path(t, parents))])
        wrong = [classification.levels[i] for i, (a, b) in enumerate(pairs) if a != b]
        first.append(wrong[0] if wrong else None)
    assert found.per_record.tolist() == first
    depth = np.array([len(path(t, parents)) for t in true])
    for number, level in enumerate(classification.levels):
        at = np.array([one == level for one in first])
        assert found.record_first_wrong[number] == pytest.approx(at.mean())
        assert found.first_wrong[number] == pytest.approx(np.average(at, weights=weights))
        reached = depth > number
        right = np.array(
            [one is None or classification.levels.index(one) > number for one in first]
        )
        assert found.records[number] == reached.sum()
        assert found.record_right[number] == pytest.approx(right[reached].mean())
        assert found.right[number] == pytest.approx(
            np.average(right[reached], weights=weights[reached])
        )


def test_first_wrong_level_is_the_accuracy_of_the_report(soc: Classification) -> None:
    true, guesses, weights = simulate(300, 1, 6, soc)
    found = first_wrong_level(true, guesses, soc, sample_weight=weights)
    report = coding_report(true, guesses, classification=soc, sample_weight=weights)
    for number, level in enumerate(soc.levels):
        assert found.right[number] == pytest.approx(report.estimate("accuracy", level=level).value)


def test_right_again_below_a_wrong_level_does_not_count() -> None:
    # As models give them that code each level by itself.
    found = first_wrong_level([["1", "12"]], [["2", "12"]])
    assert found.per_record.tolist() == ["level 1"]
    assert found.right.tolist() == [0, 0]


# --- the production curve ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_row_order_cannot_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, 100) / 4
    correct = rng.random(100) < scores
    weights = rng.integers(1, 5, 100).astype(float)
    order = rng.permutation(100)
    one = production_curve(correct, scores, sample_weight=weights)
    other = production_curve(correct[order], scores[order], sample_weight=weights[order])
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())
    assert one.aurc == pytest.approx(other.aurc)


def test_curve_by_definition() -> None:
    rng = np.random.default_rng(8)
    scores, correct = rng.integers(0, 9, 60) / 8, rng.random(60) < 0.6
    weights = rng.uniform(0, 3, 60)
    curve = production_curve(correct, scores, sample_weight=weights)
    for point in curve.to_frame().itertuples():
        coded = scores >= point.threshold
        assert point.records == coded.sum()
        assert point.record_accuracy == pytest.approx(correct[coded].mean())
        assert point.population_production == pytest.approx(weights[coded].sum() / weights.sum())
        assert point.population_accuracy == pytest.approx(
            np.average(correct[coded], weights=weights[coded])
        )
    at_own = dict(zip(curve.thresholds, 1 - curve.accuracy, strict=True))
    assert curve.aurc == pytest.approx(np.average([at_own[s] for s in scores], weights=weights))
    assert curve.accuracy[-1] == pytest.approx(np.average(correct, weights=weights))


def test_curve_of_codes() -> None:
    true, predicted = ["a", "b", "c"], np.array([["a", "b"], ["c", "b"], ["c", "a"]])
    scores = np.array([[0.9, 0.1], [0.5, 0.4], [0.7, np.nan]])
    curve = production_curve((true, predicted), scores)
    pd.testing.assert_frame_equal(
        curve.to_frame(), production_curve([1, 0, 1], [0.9, 0.5, 0.7]).to_frame()
    )


def test_curve_begins_with_records_of_weight_zero() -> None:
    curve = production_curve([1, 0, 1], [0.9, 0.5, 0.4], sample_weight=[0, 1, 1])
    assert math.isnan(curve.accuracy[0])
    assert curve.production.tolist() == [0, 0.5, 1]
    assert curve.aurc == pytest.approx(0.5 * 1 + 0.5 * 0.5)


def test_points_of_a_weighted_curve_are_weighted() -> None:
    # Three quarters are a little less in floating point, which must not cost a record.
    curve = production_curve([1, 0, 1], [3, 2, 1], sample_weight=[0.1, 0.5, 0.2])
    assert curve.production[1] < 0.75
    assert curve.at(production=0.75).records == 2
    assert curve.at(production=0.3).records == 2  # one of three records has .1 of the weight
    assert curve.at(accuracy=0.375).records == 3
    assert curve.at(threshold=2).accuracy == pytest.approx(1 / 6)


def test_curve_of_equal_scores_has_one_point() -> None:
    curve = production_curve([True, False, True], [0.5, 0.5, 0.5])
    assert curve.to_frame().shape == (1, 4)
    assert curve.aurc == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "asked", [{}, {"threshold": 0.5, "accuracy": 0.5}, {"accuracy": 1.1}, {"production": np.nan}]
)
def test_points_that_cannot_be_read_off(asked: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"one of threshold|between 0 and 1"):
        production_curve(A5_CORRECT, A5_SCORES).at(**asked)


# --- agreement, reliability --------------------------------------------------------------------


def test_kappa_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    a = rng.choice(list("abcde"), 200)
    b = np.where(rng.random(200) < 0.5, a, rng.choice(list("abcde"), 200))
    weights = rng.uniform(0.5, 5, 200)
    found = agreement(a, b, design=Design(weights=weights))
    assert found.kappa.value == pytest.approx(cohen_kappa_score(a, b, sample_weight=weights))
    assert found.record_kappa.value == pytest.approx(cohen_kappa_score(a, b))
    assert found.record_agreement == proportion(a == b)
    assert found.to_frame()["unit"].tolist() == ["records"] * 2 + ["population"] * 2


def test_standard_error_of_kappa_covers() -> None:
    # 400 samples of 250 from a table whose kappa is known; 3 standard errors of the share.
    rng = np.random.default_rng(9)
    joint = np.array([[0.3, 0.05, 0.05], [0.05, 0.25, 0.05], [0.02, 0.03, 0.2]])
    po, pe = np.trace(joint), joint.sum(axis=1) @ joint.sum(axis=0)
    cells = rng.choice(9, (400, 250), p=joint.ravel())
    hits = 0
    for sample in cells:
        found = agreement(sample // 3, sample % 3).kappa
        hits += found.low <= (po - pe) / (1 - pe) <= found.high
    assert abs(hits / 400 - 0.95) <= 3 * math.sqrt(0.0475 / 400)


@pytest.mark.parametrize("weighted", [False, True])
def test_reliability_agrees_with_scikit_learn(weighted: bool) -> None:
    rng = np.random.default_rng(6)
    scores = np.append(rng.random(500), [0, 0.2, 0.4, 1])
    correct = rng.random(504) < scores
    weights = rng.integers(1, 4, 504) if weighted else None
    repeat = np.ones(504, dtype=int) if weights is None else weights
    table = reliability_table(correct, scores, n_bins=5, sample_weight=weights)
    accuracy, mean_score = calibration_curve(correct.repeat(repeat), scores.repeat(repeat))
    assert table.accuracy == pytest.approx(accuracy)
    assert table.mean_score == pytest.approx(mean_score)
    assert table.records.sum() == 504
    assert brier_of_correct(correct, scores, sample_weight=weights) == pytest.approx(
        brier_score_loss(correct, scores, sample_weight=weights)
    )


def test_ece_by_definition() -> None:
    # Guo and others (2017), equation 3, by hand: bins (0, .5] and (.5, 1].
    correct, scores = [1, 0, 0, 1, 1], [0.5, 0.3, 0.1, 0.9, 0.7]
    assert expected_calibration_error(correct, scores, n_bins=2) == pytest.approx(
        3 / 5 * abs(0.3 - 1 / 3) + 2 / 5 * abs(0.8 - 1)
    )
    weighted = expected_calibration_error(correct, scores, n_bins=2, sample_weight=[1, 1, 1, 0, 0])
    assert weighted == pytest.approx(abs(0.3 - 1 / 3))


def test_scores_beyond_1_by_rounding_are_cut() -> None:
    # text-classification.md, 1.1: fastText may return 1.00001.
    assert brier_of_correct([1, 0], [1.00001, 0.0]) == 0


# --- bad input -----------------------------------------------------------------------------------

GOOD: dict[str, tuple[Any, ...]] = {
    "coding_report": (["a", "b"], ["a", "a"]),
    "agreement": (["a", "b"], ["a", "a"]),
    "hierarchical_scores": (["a", "b"], ["a", "a"]),
    "first_wrong_level": (["a", "b"], ["a", "a"]),
}
BAD_LABELS = {
    "missing": (["a", None], ["a", "b"], ValueError, "no code|are empty"),
    "missing prediction": (["a", "b"], ["a", None], ValueError, "no code|are empty"),
    "NaN": (["a", np.nan], ["a", "b"], ValueError, "no code|are empty"),
    "NA": (pd.Series(["a", pd.NA], dtype="string"), ["a", "b"], ValueError, "no code|are empty"),
    "all missing": ([None, None], ["a", "b"], ValueError, "no code|are empty"),
    "empty text": (["a", ""], ["a", "b"], ValueError, "no code|are empty"),
    "lengths": (["a", "b"], ["a"], ValueError, "lengths differ: .* 2, .* 1"),
    "empty": ([], [], ValueError, "at least one record"),
    "mixed in one": (["a", 1], ["a", "b"], TypeError, "mixed types"),
    "mixed": (["1", "2"], [1, 2], TypeError, "Mixed types"),
    "decimals": ([1.0, 2.0], [1, 2], TypeError, "text or a whole number"),
    "truth values": ([True, False], [1, 2], TypeError, "text or a whole number"),
    "a text": ("ab", ["a", "b"], TypeError, "is a str"),
    "a generator": ((c for c in "ab"), ["a", "b"], TypeError, "is a generator"),
    "uneven rows": ([["a"], ["a", "b"]], ["a", "b"], TypeError, "rows of equal length"),
}


@pytest.mark.parametrize("fault", BAD_LABELS)
@pytest.mark.parametrize("name", GOOD)
def test_bad_labels(name: str, fault: str) -> None:
    getattr(coding, name)(*GOOD[name])
    true, predicted, error, message = BAD_LABELS[fault]
    if fault == "a generator":
        true = (code for code in "ab")
    with pytest.raises(error, match=message):
        getattr(coding, name)(true, predicted)


@pytest.mark.parametrize("name", ["coding_report", "hierarchical_scores", "first_wrong_level"])
def test_unknown_codes(name: str, small: Classification) -> None:
    judge = getattr(coding, name)
    with pytest.raises(ValueError, match=r"y_pred.*'125' \(close to"):
        judge(["123"], ["125"], classification=small)
    with pytest.raises(ValueError, match=r"y_true.*unknown to small"):
        judge([999], ["123"], classification=small)


BAD_WEIGHTS = {
    "negative": ([1, -1], "1 of 2 weights are negative"),
    "all zero": ([0, 0], "All 2 weights are zero"),
    "missing": ([1, np.nan], "missing or infinite"),
    "infinite": ([1, np.inf], "missing or infinite"),
    "lengths": ([1, 1, 1], "lengths differ"),
    "shape": ([[1], [1]], "shape"),
}


@pytest.mark.parametrize("fault", BAD_WEIGHTS)
@pytest.mark.parametrize(
    "name",
    [
        "coding_report",
        "hierarchical_scores",
        "first_wrong_level",
        "production_curve",
        "reliability_table",
        "expected_calibration_error",
        "brier_of_correct",
    ],
)
def test_bad_weights(name: str, fault: str) -> None:
    weights, message = BAD_WEIGHTS[fault]
    arguments = GOOD.get(name, ([1, 0], [0.5, 0.4]))
    with pytest.raises(ValueError, match=message):
        getattr(coding, name)(*arguments, sample_weight=weights)


def test_weights_are_numbers() -> None:
    with pytest.raises(TypeError, match="sample_weight needs numbers"):
        coding_report(["a"], ["a"], sample_weight=["heavy"])


def test_weights_are_given_once() -> None:
    with pytest.raises(ValueError, match="Both sample_weight and design"):
        coding_report(["a"], ["a"], sample_weight=[1], design=Design(weights=[1, 2]))
    with pytest.raises(ValueError, match="lengths differ"):
        coding_report(["a"], ["a"], design=Design(weights=[1, 2]))


BAD_SCORES = {
    "NaN": ([1, 0], [0.5, np.nan], ValueError, "1 of 2 scores are missing"),
    "infinite": ([1, 0], [0.5, np.inf], ValueError, "missing or infinite"),
    "lengths": ([1, 0], [0.5], ValueError, "lengths differ"),
    "text": ([1, 0], ["high", "low"], TypeError, "scores needs numbers"),
    "worst first": ([1, 0], [[0.2, 0.8], [0.7, 0.3]], ValueError, "give the best code first"),
    "gap": ([1], [[0.5, np.nan, 0.1]], ValueError, "give the best code first"),
    "cube": ([1], [[[0.5]]], ValueError, "shape"),
    "empty": ([], [], ValueError, "at least one record"),
    "neither": ([1, 2], [0.5, 0.5], ValueError, "such as .*2.*neither True nor False"),
    "codes": (["a", "b"], [0.5, 0.5], ValueError, r"give the pair \(y_true, y_pred\)"),
    "unknown": ([True, None], [0.5, 0.5], ValueError, "neither True nor False"),
    "table": ([[1], [0]], [0.5, 0.5], ValueError, "shape"),
}


@pytest.mark.parametrize("fault", BAD_SCORES)
@pytest.mark.parametrize("name", ["production_curve", "reliability_table", "brier_of_correct"])
def test_bad_scores(name: str, fault: str) -> None:
    correct, scores, error, message = BAD_SCORES[fault]
    with pytest.raises(error, match=message):
        getattr(coding, name)(correct, scores)


@pytest.mark.parametrize("score", [1.2, -0.1])
def test_only_probabilities_can_be_reliable(score: float) -> None:
    for judge in (reliability_table, expected_calibration_error, brier_of_correct):
        with pytest.raises(ValueError, match="from 0 to 1"):
            judge([1, 0], [score, 0.5])
    assert production_curve([1, 0], [score, 0.5]).records.tolist() == [1, 2]


def test_other_refusals(small: Classification) -> None:
    with pytest.raises(ValueError, match="n_bins=0"):
        reliability_table([1], [0.5], n_bins=0)
    with pytest.raises(ValueError, match="allowed are 'micro'"):
        hierarchical_scores(["123"], ["123"], small, average="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gap"):
        hierarchical_scores([["1", None, "2"]], [["1", "2", "3"]])
    with pytest.raises(ValueError, match="one code per record"):
        coding_report([["a", "b"]], ["a"])


# --- how results show themselves -----------------------------------------------------------------


RESULTS = ["report", "curve", "agreement", "first wrong", "reliability", "scores"]
RESULTS += ["plain report", "plain curve", "plain agreement", "plain reliability"]


def results() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    true = rng.choice(["<a>", "b", "c"], 40)
    predicted = rng.choice(["<a>", "b", "c"], (40, 2))
    weights = rng.uniform(1, 3, 40)
    design = Design(weights=weights)
    scores, correct = rng.random(40), true == predicted[:, 0]
    return {
        "report": coding_report(true, predicted, sample_weight=weights),
        "plain report": coding_report(true, predicted),
        "curve": production_curve(correct, scores, sample_weight=weights),
        "plain curve": production_curve(correct, scores),
        "agreement": agreement(true, predicted[:, 0], design=design),
        "plain agreement": agreement(true, predicted[:, 0]),
        "scores": hierarchical_scores(true, predicted[:, 0]),
        "first wrong": first_wrong_level(true, predicted[:, 0], sample_weight=weights),
        "reliability": reliability_table(correct, scores, sample_weight=weights),
        "plain reliability": reliability_table(correct, scores),
    }


@pytest.mark.parametrize("name", RESULTS)
def test_results_show_themselves(name: str) -> None:
    import matplotlib.pyplot as plt

    result = results()[name]
    assert isinstance(result.to_frame(), pd.DataFrame)
    shown = result._repr_html_()
    assert "<table" in shown
    assert ("population" in shown) == (name in RESULTS[:5])  # they have weights
    assert len(repr(result).splitlines()) < 40
    figure, ax = plt.subplots()
    assert result.plot(ax=ax) is ax
    assert ax.get_xlabel()
    assert ax.has_data()
    assert result.plot().figure is not figure
    plt.close("all")


def test_numbers_are_rounded_in_the_view_alone() -> None:
    report = coding_report(["a", "b", "b"], ["a", "a", "b"])
    assert report.to_frame().loc[0, "value"] == 2 / 3
    assert "0.667" in report._repr_html_()
    assert "0.6666" not in report._repr_html_()


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_frozen(name: str) -> None:
    result = results()[name]
    field = "precision" if name == "scores" else next(iter(vars(result)))
    with pytest.raises(AttributeError):
        setattr(result, field, None)


def test_all_names_come_from_one_place() -> None:
    assert set(evaluation_names) == set(coding.__all__)
