"""Class totals: worked examples, ppi-python, formulas by hand, and bad input.

``fixtures/totals`` holds results of ppi-python, with the script and the versions that made them.
The package is not needed here. Coverage is simulated in test_totals_simulation.py.
"""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mlkit.classifications import Classification
from mlkit.datasets import load_soc_index
from mlkit.estimate import Design, ReplicateDesign, replicate_weights
from mlkit.evaluation import totals
from mlkit.evaluation.totals import (
    Audit,
    ClassTotals,
    Target,
    calibration_estimator,
    classify_and_count,
    collapse_rare,
    misclassification_estimator,
    prediction_powered_estimator,
    prediction_powered_mean,
    subtracted_bias_estimator,
    to_level,
    two_class_errors,
)

mpl.use("agg")

FIXTURES = Path(__file__).parent / "fixtures" / "totals"

WITH_AUDIT: dict[str, Callable[..., ClassTotals]] = {
    "calibration": calibration_estimator,
    "misclassification": misclassification_estimator,
    "subtracted-bias": subtracted_bias_estimator,
    "prediction-powered": prediction_powered_estimator,
}


def table(cells: Any, codes: Any = None) -> pd.DataFrame:
    codes = range(len(cells)) if codes is None else codes
    return pd.DataFrame(cells, index=list(codes), columns=list(codes))


def counted(cells: Any, drawn_from: Any = "elsewhere") -> Audit:
    return Audit.from_counts(table(cells), drawn_from=drawn_from)


def in_counts(counts: Any) -> Target:
    return Target.from_counts(dict(enumerate(counts)))


def tree(**parents: str) -> Classification:
    """Make a classification from code=parent; the underscore makes names of digits."""
    frame = pd.DataFrame({"code": parents.keys(), "parent": parents.values()})
    frame["code"] = frame["code"].str.removeprefix("_")
    return Classification.from_table(
        frame.assign(title="Title"), code="code", parent="parent", title="title", name="small"
    )


SMALL = {"_1": "", "_2": "", "_11": "1", "_12": "1", "_21": "2", "_22": "2"}


def confuse(rng: np.random.Generator, true: np.ndarray, accuracy: float, k: int) -> np.ndarray:
    return np.where(rng.random(len(true)) < accuracy, true, rng.integers(0, k, len(true)))


@pytest.fixture
def three() -> tuple[Audit, Target]:
    """An audit of 300 records with three codes, from a target of 9,000."""
    rng = np.random.default_rng(8)
    true = rng.choice(3, 9_000, p=[0.6, 0.3, 0.1])
    predicted = confuse(rng, true, 0.8, 3)
    return Audit(true[:300], predicted[:300], drawn_from="target"), Target(predicted)


# --- worked examples --------------------------------------------------------------------------

# text-classification.md, A1: Kloos, Meertens, Scholtus and Karch (2020), tables 2 and 3. Bias,
# variance and RMSE, with as many digits as are given there; last, the RMSE that the paper prints.
KLOOS = {
    (0.5, 0.6, 0.7): {
        "baseline": (0, 2.500e-4, 1.581e-2, 1.581e-2),
        "classify and count": (5.000e-2, 7.5e-7, 5.000750e-2, 5.000e-2),
        "subtracted-bias": (3.500e-2, 2.244742e-4, 3.807196e-2, 3.807e-2),
        "misclassification": (-3.333e-4, 2.5025e-3, 5.002610e-2, 5.003e-2),
        "calibration": (0, 2.274991e-4, 1.508307e-2, 1.508e-2),
    },
    (0.98, 0.94, 0.97): {
        "baseline": (0, 1.960e-5, 4.427189e-3, 4.427e-3),
        "classify and count": (-2.820e-2, 9.882e-8, 2.820175e-2, 28.200e-3),
        "subtracted-bias": (-2.538e-3, 3.377348e-5, 6.341524e-3, 6.342e-3),
        "misclassification": (-3.2967e-5, 3.586747e-5, 5.989037e-3, 5.989e-3),
        "calibration": (0, 1.289221e-5, 3.590572e-3, 3.591e-3),
    },
}


@pytest.mark.parametrize("inputs", KLOOS)
def test_a1_planning_of_kloos_and_others(inputs: tuple[float, float, float]) -> None:
    errors = two_class_errors(*inputs, n_audit=1000, n_target=300_000)
    for estimator, (bias, variance, rmse, printed) in KLOOS[inputs].items():
        found = errors[estimator]
        assert found.bias == pytest.approx(bias, rel=2e-4, abs=1e-12), estimator
        assert found.variance == pytest.approx(variance, rel=1e-6), estimator
        assert found.rmse == pytest.approx(rmse, rel=1e-4), estimator
        assert found.rmse == pytest.approx(printed, rel=5e-4), estimator
        assert found.expected == pytest.approx(inputs[0] + found.bias)


def test_a3_mean_of_prediction_powered_inference() -> None:
    # text-classification.md, A3, checked there with ppi-python 0.2.3.
    y, f, rest = [1, 0, 1, 1, 0], [1, 0, 0, 1, 1], [1, 1, 0, 1, 0, 0, 1, 0, 1, 1]
    whole = prediction_powered_mean(y, f, rest)
    assert whole.value == pytest.approx(0.6)
    assert whole.standard_error**2 == pytest.approx(0.104)
    assert whole.interval == pytest.approx((-0.0320694, 1.2320694), abs=1e-7)
    tuned = prediction_powered_mean(y, f, rest, power_tuning=True)
    assert tuned.value == pytest.approx(0.6)
    assert tuned.interval == pytest.approx((0.1745701, 1.0254299), abs=1e-7)
    # The same as shares of a code. The divisors are n - 1 here, and the interval is Student's t.
    target = Target(rest, design=Design(np.ones(10)))
    found = prediction_powered_estimator(Audit(y, f, drawn_from="elsewhere"), target).estimate(1)
    assert found.value == pytest.approx(0.6)
    assert found.standard_error**2 == pytest.approx(0.4 / 4 + 0.24 / 9)


def test_methods_9_after_a_shift_of_shares() -> None:
    # methods.md 9: true share 20 -> 30 %, p00 = p11 = .9, last year's audit.
    audit, target = counted([[720, 80], [20, 180]]), in_counts([6600, 3400])
    expected = {"calibration": 25.3, "misclassification": 30.0, "prediction-powered": 28.0}
    assert 100 * classify_and_count(target).estimate(1).value == pytest.approx(34.0)
    for name, percent in expected.items():
        found = WITH_AUDIT[name](audit, target)
        assert round(100 * found.estimate(1).value, 1) == percent, name
        assert "last" not in found.assumption
        assert ("may shift" in found.assumption) == (name == "misclassification")
    # The same by the formulas for planning.
    errors = two_class_errors(0.3, 0.9, 0.9, n_audit=10**9, n_target=10**9, audit_share=0.2)
    assert 100 * errors["classify and count"].expected == pytest.approx(34.0)
    for name, percent in expected.items():
        assert round(100 * errors[name].expected, 1) == percent, name


def test_methods_9_formulas_for_many_classes() -> None:
    # methods.md 9: (P'^T)^-1 c, 2c - P^T c, and sum_h c_h q_hk, with P_ij = P(pred j | true i).
    cells = np.array([[50, 6, 4, 0], [5, 70, 1, 4], [2, 3, 80, 5], [1, 0, 2, 17]])
    c = np.array([0.2, 0.31, 0.39, 0.1])
    p = cells / cells.sum(axis=1, keepdims=True)
    q = (cells / cells.sum(axis=0)).T
    audit, target = counted(cells), in_counts(c * 1e6)
    expected = {
        "misclassification": np.linalg.inv(p.T) @ c,
        "subtracted-bias": 2 * c - p.T @ c,
        "calibration": c @ q,
        "prediction-powered": c + (cells.sum(axis=1) - cells.sum(axis=0)) / cells.sum(),
    }
    for name, shares in expected.items():
        found = WITH_AUDIT[name](audit, target)
        assert found.share[0] == pytest.approx(shares), name
        assert found.total[0] == pytest.approx(1e6 * shares), name
        assert found.share.sum() == pytest.approx(1), name
    condition = misclassification_estimator(audit, target).condition
    assert condition == pytest.approx(np.linalg.cond(p))


@pytest.mark.parametrize("drawn_from", ["target", "elsewhere"])
def test_methods_9_conditional_variance_of_the_calibration_estimator(drawn_from: str) -> None:
    # methods.md 9: V_k = sum_h c_h^2 (1 - f_h) q_hk (1 - q_hk) / (n_h - 1).
    cells = np.array([[50, 6, 4], [5, 70, 1], [2, 3, 30]])
    counts = np.array([400.0, 500.0, 200.0])
    n_h = cells.sum(axis=0)
    c, q = counts / counts.sum(), (cells / n_h).T
    part = n_h / counts if drawn_from == "target" else np.zeros(3)
    variance = (c**2 * (1 - part) / (n_h - 1)) @ (q * (1 - q))
    found = calibration_estimator(counted(cells, drawn_from), in_counts(counts))
    assert found.standard_error[0] ** 2 == pytest.approx(variance)
    assert found.total_standard_error[0] ** 2 == pytest.approx(1100**2 * variance)
    assert "conditional on how many audited records have each predicted code" in found.variance


def test_methods_11_every_unit_of_the_target_is_coded() -> None:
    # methods.md 11: [sum_U f + sum_s d (y - f)] / N, V = design variance of sum_s d (y - f).
    rng = np.random.default_rng(3)
    true = rng.choice(3, 4_000, p=[0.5, 0.3, 0.2])
    predicted = confuse(rng, true, 0.8, 3)
    stratum, psu = np.arange(4_000) // 1_000, np.arange(4_000) // 20
    drawn = np.isin(psu, rng.choice(200, 30, replace=False))
    weights = rng.uniform(4, 9, 4_000)[drawn]
    design = Design(weights, strata=stratum[drawn], psu=psu[drawn])
    audit = Audit(true[drawn], predicted[drawn], drawn_from="target", design=design)
    found = prediction_powered_estimator(audit, Target(predicted))
    for k in range(3):
        error = (true == k).astype(float) - (predicted == k)
        assert found.total[0, k] == pytest.approx((predicted == k).sum() + weights @ error[drawn])
        variance = design.variance(error[drawn])
        assert found.total_standard_error[0, k] ** 2 == pytest.approx(variance)
        assert found.standard_error[0, k] ** 2 == pytest.approx(variance / 4_000**2)
    assert found.df[0] == pytest.approx(design.df)


def test_methods_11_simple_random_audit_inside_the_coded_sample() -> None:
    # methods.md 11: V = S_y^2 / N + (1/n - 1/N) S_(y-f)^2 (two-phase).
    rng = np.random.default_rng(4)
    true = rng.choice(3, 500, p=[0.5, 0.3, 0.2])
    predicted = confuse(rng, true, 0.8, 3)
    audit = Audit(true[:100], predicted[:100], drawn_from="target")
    found = prediction_powered_estimator(audit, Target(predicted, design=Design(np.full(500, 8.0))))
    for k in range(3):
        y, f = true[:100] == k, predicted[:100] == k
        spread = np.var(y, ddof=1), np.var(y.astype(float) - f, ddof=1)
        variance = spread[0] / 500 + (1 / 100 - 1 / 500) * spread[1]
        assert found.standard_error[0, k] ** 2 == pytest.approx(variance)
        assert found.total_standard_error[0, k] ** 2 == pytest.approx(4_000**2 * variance)
    assert "two phases" in found.situation


def test_two_phases_of_codes_that_are_never_predicted() -> None:
    rng = np.random.default_rng(25)
    true = rng.choice(3, 500, p=[0.5, 0.3, 0.2])
    for predicted in (np.where(true == 2, 0, true), np.zeros(500, dtype=int)):
        audit = Audit(true[:100], predicted[:100], drawn_from="target")
        target = Target(predicted, design=Design(np.ones(500), fpc=0.25))
        found = prediction_powered_estimator(audit, target)
        y, f = true[:100] == 2, predicted[:100] == 2
        spread = np.var(y, ddof=1), np.var(y.astype(float) - f, ddof=1)
        # The finite population correction of the first phase is lost where nothing is predicted.
        first = 0.75 if predicted.any() else 1.0
        variance = first * spread[0] / 500 + (1 / 100 - 1 / 500) * spread[1]
        assert found.standard_error[0, 2] ** 2 == pytest.approx(variance)


def test_methods_11_disjoint_independent_samples() -> None:
    # methods.md 11 and A3: var(y - f) / n + var(f) / N.
    rng = np.random.default_rng(5)
    true = rng.choice(3, 700, p=[0.5, 0.3, 0.2])
    predicted = confuse(rng, true, 0.8, 3)
    audit = Audit(true[:100], predicted[:100], drawn_from="elsewhere")
    target = Target(predicted[100:], design=Design(np.ones(600)))
    found = prediction_powered_estimator(audit, target)
    for k in range(3):
        error = (true == k)[:100].astype(float) - (predicted == k)[:100]
        variance = np.var(error, ddof=1) / 100 + np.var(predicted[100:] == k, ddof=1) / 600
        assert found.standard_error[0, k] ** 2 == pytest.approx(variance)
    assert "independent sample" in found.situation


def test_methods_11_post_stratification_is_the_calibration_estimator() -> None:
    # methods.md 11: the regression estimator on dummies of the predicted codes is the same.
    rng = np.random.default_rng(6)
    true = rng.choice(3, 5_000, p=[0.5, 0.3, 0.2])
    predicted = confuse(rng, true, 0.8, 3)
    drawn = rng.choice(5_000, 400, replace=False)
    weights = rng.uniform(5, 20, 400)
    audit = Audit(true[drawn], predicted[drawn], drawn_from="target", design=Design(weights))
    dummies, y = np.eye(3)[predicted], np.eye(3)[true]
    root = np.sqrt(weights)[:, None]
    slopes = np.linalg.lstsq(root * dummies[drawn], root * y[drawn], rcond=None)[0]
    residuals = y[drawn] - dummies[drawn] @ slopes
    regression = ((dummies @ slopes).sum(axis=0) + weights @ residuals) / 5_000
    assert calibration_estimator(audit, Target(predicted)).share[0] == pytest.approx(regression)


def test_methods_12_the_opening_that_convinces() -> None:
    # methods.md 12: p00 = p11 = .9, a true 10 % is published as 18 %, a true 1 % as 10.8 %.
    for true, published in ((100, 0.18), (10, 0.108)):
        predicted = {"no": (1000 - true) * 0.9 + true * 0.1, "yes": true * 0.9}
        predicted["yes"] += (1000 - true) * 0.1
        found = classify_and_count(Target.from_counts(predicted)).estimate("yes")
        assert found.value == pytest.approx(published)
        assert math.isnan(found.standard_error)
        assert "bias" in found.note
        errors = two_class_errors(true / 1000, 0.9, 0.9, n_audit=500, n_target=10**6)
        assert errors["classify and count"].expected == pytest.approx(published)


# --- independent software ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_ppi_python() -> pd.DataFrame:
    pinned = pd.read_csv(FIXTURES / "expected.csv")
    return pinned.set_index(["data", "power", "figure"]).sort_index()


@pytest.mark.parametrize("power", ["whole", "tuned"])
def test_mean_against_ppi_python(by_ppi_python: pd.DataFrame, power: str) -> None:
    audit, target = (pd.read_csv(FIXTURES / f"{name}.csv") for name in ("audit", "target"))
    found = prediction_powered_mean(
        audit["income"], audit["imputed"], target["imputed"], power_tuning=power == "tuned"
    )
    expected = by_ppi_python.loc["income", power, "income"]
    assert found.interval == pytest.approx((expected["low"], expected["high"]), rel=1e-12)
    if power == "whole":
        assert found.value == pytest.approx(expected["value"], rel=1e-12)
    # Tuned, ppi-python finds the factor of its point anew, around another mean, and gets the same.
    assert found.value == pytest.approx(expected["value"], rel=1e-12)


@pytest.mark.parametrize("power", ["whole", "tuned"])
def test_shares_against_ppi_python(by_ppi_python: pd.DataFrame, power: str) -> None:
    audited, target = (pd.read_csv(FIXTURES / f"{name}.csv") for name in ("audit", "target"))
    found = prediction_powered_estimator(
        Audit(audited["true"], audited["predicted"], drawn_from="elsewhere"),
        Target(target["predicted"], design=Design(np.ones(len(target)))),
        power_tuning=power == "tuned",
    )
    expected = by_ppi_python.loc["codes", power]
    errors = (expected["high"] - expected["low"]) / 2 / 1.959964
    # With the factor 1 the points are equal, and the variances up to n / (n - 1). Tuned, ours
    # takes the variance of the predicted codes from audit and target apart, theirs from both.
    tight = power == "whole"
    for code, value in expected["value"].items():
        one = found.estimate(code)
        assert one.value == pytest.approx(value, abs=1e-12 if tight else 0.002)
        assert one.standard_error == pytest.approx(errors[code], rel=1 / 60 if tight else 0.02)
        assert one.standard_error > errors[code]
    assert found.share.sum() == pytest.approx(1)


# --- shares add to 1, one power-tuning factor --------------------------------------------------


@pytest.mark.parametrize("tuning", [False, True])
@pytest.mark.parametrize("drawn_from", ["target", "elsewhere"])
def test_shares_of_prediction_powered_add_to_one(tuning: bool, drawn_from: Any) -> None:
    rng = np.random.default_rng(9)
    true = rng.choice(6, 6_000, p=[0.4, 0.3, 0.15, 0.08, 0.05, 0.02])
    predicted = confuse(rng, true, 0.7, 6)
    design = Design(np.where(true[:600] > 2, 4.0, 14.0))  # their sum is not the size of the target
    audit = Audit(true[:600], predicted[:600], drawn_from=drawn_from, design=design)
    found = prediction_powered_estimator(audit, Target(predicted), power_tuning=tuning)
    assert found.share.sum() == pytest.approx(1, abs=1e-12)
    assert 0 < found.power <= 1
    assert (found.power == 1) == (not tuning)


def test_power_tuning_finds_the_least_variance() -> None:
    rng = np.random.default_rng(10)
    true = rng.integers(0, 3, 3_000)
    predicted = confuse(rng, true, 0.4, 3)
    audit = Audit(true[:300], predicted[:300], drawn_from="elsewhere")
    target = Target(predicted[300:], design=Design(np.ones(2_700)))
    tuned = prediction_powered_estimator(audit, target, power_tuning=True)
    y, f, rest = (np.eye(3)[one] for one in (true[:300], predicted[:300], predicted[300:]))

    def variance(power: float) -> float:
        return float(
            (y - power * f).var(axis=0, ddof=1).sum() / 300
            + power**2 * rest.var(axis=0, ddof=1).sum() / 2_700
        )

    grid = np.linspace(0, 1, 1_001)
    assert tuned.power == pytest.approx(grid[np.argmin([variance(one) for one in grid])], abs=1e-3)
    assert (tuned.standard_error**2).sum() == pytest.approx(variance(tuned.power))
    # With a factor for each code, as in the literature for one mean, the shares do not sum to 1.
    separate = sum(
        prediction_powered_mean(y[:, k], f[:, k], rest[:, k], power_tuning=True).value
        for k in range(3)
    )
    assert abs(separate - 1) > 1e-4


def test_predictions_that_never_vary_have_nothing_to_tune() -> None:
    true = ["a"] * 30 + ["b"] * 20
    audit, target = Audit(true, ["a"] * 50, drawn_from="elsewhere"), Target(["a"] * 900)
    whole, tuned = (
        prediction_powered_estimator(audit, target, power_tuning=one) for one in (False, True)
    )
    assert tuned.power == 1
    assert tuned.share[0] == pytest.approx([0.6, 0.4])
    assert tuned.standard_error == pytest.approx(whole.standard_error)


def test_useless_predictions_leave_the_audit_alone() -> None:
    rng = np.random.default_rng(11)
    true, predicted = rng.integers(0, 2, 5_000), rng.integers(0, 2, 5_000)
    found = prediction_powered_estimator(
        Audit(true[:500], predicted[:500], drawn_from="target"),
        Target(predicted),
        power_tuning=True,
    )
    assert found.power == pytest.approx(0, abs=0.15)
    assert found.estimate(1).value == pytest.approx(true[:500].mean(), abs=0.01)


# --- variances ---------------------------------------------------------------------------------


def jackknife(audit: Audit, target: Target, estimator: Callable[..., ClassTotals]) -> np.ndarray:
    """Estimate anew without each record in turn."""
    weights = audit.design.weights
    again = []
    for place in range(len(audit)):
        less = np.delete(np.arange(len(audit)), place)
        part = Audit(
            audit.true[less],
            audit.predicted[less],
            drawn_from=audit.drawn_from,
            design=Design(weights[less] * len(audit) / (len(audit) - 1)),
        )
        again.append(estimator(part, target).share[0])
    n = len(audit)
    return np.sqrt((n - 1) / n * np.square(again - np.mean(again, axis=0)).sum(axis=0))


@pytest.mark.parametrize("name", WITH_AUDIT)
@pytest.mark.parametrize("drawn_from", ["target", "elsewhere"])
def test_standard_errors_under_a_design_against_the_jackknife(name: str, drawn_from: Any) -> None:
    rng = np.random.default_rng(12)
    true = rng.choice(3, 900, p=[0.4, 0.3, 0.3])
    predicted = np.where(rng.random(900) < 0.5, true, 0)  # errors do not cancel
    design = Design(20 * rng.lognormal(0, 0.7, 900))
    counts = design.weights.sum() * np.array([0.3, 0.4, 0.3])
    audit, target = Audit(true, predicted, drawn_from=drawn_from, design=design), in_counts(counts)
    found = WITH_AUDIT[name](audit, target)
    again = jackknife(audit, target, WITH_AUDIT[name])
    assert found.standard_error[0] == pytest.approx(again, rel=0.05)
    assert found.note.startswith(
        "a bias of second order" if name == "subtracted-bias" else "valid for independent"
    )


@pytest.mark.parametrize("name", WITH_AUDIT)
def test_replicate_weights_give_nearly_the_same(name: str) -> None:
    rng = np.random.default_rng(13)
    psu = np.repeat(np.arange(80), 6)
    true = rng.choice(3, 480, p=[0.5, 0.3, 0.2])
    predicted = np.where(rng.random(80)[psu] < 0.7, true, rng.integers(0, 3, 480))
    design = Design(rng.uniform(5, 10, 480), psu=psu, strata=psu % 4)
    known = ReplicateDesign(
        design.weights, replicate_weights(design, replicates=1000, seed=1), df=design.df
    )
    target = in_counts([1800, 1200, 600])
    one, other = (
        WITH_AUDIT[name](Audit(true, predicted, drawn_from="elsewhere", design=by), target)
        for by in (design, known)
    )
    assert other.standard_error == pytest.approx(one.standard_error, rel=0.12)
    plain = WITH_AUDIT[name](Audit(true, predicted, drawn_from="elsewhere"), target)
    assert plain.share == pytest.approx(one.share, abs=0.05)


def test_analytic_bias_and_variance_by_simulation() -> None:
    """Kloos' unconditional figures are what our estimators have over many audits."""
    share, p00, p11, n, size, draws = 0.3, 0.8, 0.9, 400, 10**6, 600
    rng = np.random.default_rng(14)
    for a0 in (share, 0.2):
        planned = two_class_errors(share, p00, p11, n_audit=n, n_target=size, audit_share=a0)
        cells = np.array([(1 - a0) * p00, (1 - a0) * (1 - p00), a0 * (1 - p11), a0 * p11])
        c = (1 - share) * (1 - p00) + share * p11
        target = in_counts([size * (1 - c), size * c])
        values: dict[str, list[float]] = {name: [] for name in WITH_AUDIT}
        for drawn in rng.multinomial(n, cells, size=draws):
            audit = counted(drawn.reshape(2, 2))
            for name, estimator in WITH_AUDIT.items():
                values[name].append(estimator(audit, target).share[0, 1])
        for name, found in values.items():
            error = np.std(found) / math.sqrt(draws)
            assert np.mean(found) == pytest.approx(planned[name].expected, abs=4 * error), name
            assert np.var(found) == pytest.approx(planned[name].variance, rel=0.2), name


def test_planned_variance_of_the_prediction_powered_estimator() -> None:
    share, p00, p11, n = 0.3, 0.6, 0.95, 100
    errors = two_class_errors(share, p00, p11, n_audit=n, n_target=10**6)
    gap = np.array([-1, 0, 1])  # true minus predicted
    part = np.array([(1 - share) * (1 - p00), 0, share * (1 - p11)])
    part[1] = 1 - part.sum()
    variance = part @ gap**2 - (part @ gap) ** 2
    assert errors["prediction-powered"].variance == pytest.approx(variance / n)


def test_weight_zero_is_as_good_as_absent() -> None:
    true, predicted = [*"aabbba" * 9, "c"], [*"aabbab" * 9, "a"]
    target = Target.from_counts({"a": 6.0, "b": 4.0})
    weights = [1, 2, 1, 3, 1, 2] * 9
    for name, estimator in WITH_AUDIT.items():
        some, every = (
            estimator(
                Audit(true[:n], predicted[:n], drawn_from="elsewhere", design=Design(by)), target
            )
            for n, by in ((54, weights), (55, [*weights, 0]))
        )
        assert every.share[0, :2] == pytest.approx(some.share[0]), name
        assert every.estimate("c").value == 0
        assert math.isnan(every.estimate("c").standard_error)


def test_clusters_widen_standard_errors() -> None:
    rng = np.random.default_rng(15)
    psu = np.repeat(np.arange(50), 12)
    true = rng.integers(0, 2, 600)
    blind = rng.random(50)[psu] < 0.3  # some clusters never see the code 1
    predicted = np.where(blind, 0, true)
    target = in_counts([5e5, 5e5])
    naive, right = (
        calibration_estimator(
            Audit(true, predicted, drawn_from="elsewhere", design=design), target
        ).standard_error[0, 0]
        for design in (None, Design(psu=psu))
    )
    assert right > 1.5 * naive


def test_a_complete_audit_leaves_nothing_unsure(three: tuple[Audit, Target]) -> None:
    audit, _ = three
    target = Target(audit.predicted)
    for name in ("calibration", "prediction-powered"):
        found = WITH_AUDIT[name](audit, target)
        assert found.share[0] == pytest.approx(np.bincount(audit.true) / 300), name
        assert (found.standard_error == 0).all()
        assert "do not believe" not in found.note


def test_an_audit_without_errors_is_not_believed() -> None:
    audit = counted([[20, 0], [0, 30]])
    for estimator in WITH_AUDIT.values():
        found = estimator(audit, in_counts([600, 400]))
        assert found.share[0] == pytest.approx([0.6, 0.4])
        assert (found.standard_error == 0).all()
        assert "do not believe the standard error of 0, of: 0, 1" in found.note


def test_sampled_target_adds_its_own_variance(three: tuple[Audit, Target]) -> None:
    audit, _ = three
    audit = Audit(audit.true, audit.predicted, drawn_from="elsewhere")
    rng = np.random.default_rng(16)
    predicted, psu = rng.integers(0, 3, 2_000), np.arange(2_000) // 10
    design = Design(rng.uniform(1, 9, 2_000), psu=psu)
    sampled = Target(predicted, design=design)
    known = in_counts(sampled.counts[0])
    for name, estimator in WITH_AUDIT.items():
        one, other = estimator(audit, sampled), estimator(audit, known)
        assert one.share == pytest.approx(other.share), name
        assert (one.standard_error > other.standard_error).all(), name
        assert (one.df[0] > 60).all()
    # By hand: shares are linear in predicted shares, with q as slope.
    cells = audit.to_frame().to_numpy()
    q = (cells / cells.sum(axis=0)).T
    one, other = calibration_estimator(audit, sampled), calibration_estimator(audit, known)
    for k in range(3):
        moved = (q[predicted, k] - one.share[0, k]) / design.weights.sum()
        assert one.standard_error[0, k] ** 2 == pytest.approx(
            other.standard_error[0, k] ** 2 + design.variance(moved)
        )
        assert one.total_standard_error[0, k] ** 2 == pytest.approx(
            other.total_standard_error[0, k] ** 2 + design.variance(q[predicted, k])
        )


def test_classify_and_count_of_a_sample_has_its_sampling_error() -> None:
    rng = np.random.default_rng(17)
    predicted = rng.integers(0, 2, 400)
    design = Design(np.full(400, 25.0), psu=np.arange(400) // 8)
    found = classify_and_count(Target(predicted, design=design))
    moved = (predicted - predicted.mean()) / 10_000
    assert found.standard_error[0, 1] == pytest.approx(math.sqrt(design.variance(moved)))
    assert found.df[0, 1] == 49
    assert found.audited == 0


def test_two_phases_of_a_cluster_sample_need_rows() -> None:
    rng = np.random.default_rng(18)
    true, psu = rng.integers(0, 2, 600), np.arange(600) // 10
    predicted = confuse(rng, true, 0.8, 2)
    target = Target(predicted, design=Design(np.full(600, 5.0), psu=psu))
    audited = rng.random(600) < 0.3
    with pytest.raises(ValueError, match=r"Give Audit\(\.\.\., rows=\.\.\.\)"):
        calibration_estimator(Audit(true[audited], predicted[audited], drawn_from="target"), target)
    by_mask, by_place = (
        calibration_estimator(
            Audit(true[audited], predicted[audited], drawn_from="target", rows=rows), target
        )
        for rows in (audited, np.flatnonzero(audited))
    )
    assert by_mask.standard_error == pytest.approx(by_place.standard_error)
    assert by_mask.df[0, 0] == 59
    assert "over both phases" in by_mask.variance
    with pytest.raises(ValueError, match="have another predicted code than the target"):
        calibration_estimator(
            Audit(true[audited], predicted[audited], drawn_from="target", rows=np.roll(audited, 1)),
            target,
        )
    beyond = Audit(
        true[audited],
        predicted[audited],
        drawn_from="target",
        rows=np.flatnonzero(audited) + 100,
    )
    with pytest.raises(ValueError, match="counted from 0"):
        calibration_estimator(beyond, target)


def test_linked_phases_of_a_simple_sample_agree_with_the_formula() -> None:
    rng = np.random.default_rng(19)
    true = rng.integers(0, 3, 4_000)
    predicted = np.where(rng.random(4_000) < 0.6, true, 0)  # errors do not cancel
    rows = rng.choice(4_000, 1_000, replace=False)
    target = Target(predicted, design=Design(np.ones(4_000)))
    for name, estimator in WITH_AUDIT.items():
        apart, linked = (
            estimator(Audit(true[rows], predicted[rows], drawn_from="target", rows=at), target)
            for at in (None, rows)
        )
        assert linked.share == pytest.approx(apart.share), name
        assert linked.standard_error == pytest.approx(apart.standard_error, rel=0.05), name


# --- domains -----------------------------------------------------------------------------------


def test_domains_with_audits_of_their_own_are_as_if_alone() -> None:
    rng = np.random.default_rng(20)
    true, domain = rng.integers(0, 3, 3_000), rng.choice(["north", "south"], 3_000)
    predicted = confuse(rng, true, 0.8, 3)
    n = 500
    audit = Audit(true[:n], predicted[:n], drawn_from="target", domain=domain[:n])
    found_by = {name: f(audit, Target(predicted, domain=domain)) for name, f in WITH_AUDIT.items()}
    for place, where in enumerate(["north", "south"]):
        inside, audited = domain == where, domain[:n] == where
        for name, estimator in WITH_AUDIT.items():
            alone = estimator(
                Audit(true[:n][audited], predicted[:n][audited], drawn_from="target"),
                Target(predicted[inside]),
            )
            found = found_by[name]
            assert found.domains == ("north", "south")
            assert found.share[place] == pytest.approx(alone.share[0]), name
            assert found.standard_error[place] == pytest.approx(alone.standard_error[0]), name
            assert found.estimate(1, domain=where).interval == pytest.approx(
                alone.estimate(1).interval
            )


def test_domains_under_a_design_keep_units_outside() -> None:
    rng = np.random.default_rng(21)
    true, psu = rng.integers(0, 2, 800), np.arange(800) // 8
    predicted = confuse(rng, true, 0.8, 2)
    domain = np.where(psu < 40, 1, rng.integers(0, 2, 800))  # it misses many primary units
    design = Design(rng.uniform(9, 11, 800), psu=psu)
    audit = Audit(true, predicted, drawn_from="elsewhere", design=design, domain=domain)
    counts = pd.DataFrame([[700, 300], [200, 800]])
    found = calibration_estimator(audit, Target.from_counts(counts))
    inside = domain == 0
    weights = np.where(inside, design.weights, 0)
    q = [weights[predicted == h] @ true[predicted == h] for h in (0, 1)]
    q = np.array(q) / [weights[predicted == h].sum() for h in (0, 1)]
    assert found.share[0, 1] == pytest.approx(np.array([0.7, 0.3]) @ q)
    rows = np.array([0.7, 0.3]) / [weights[predicted == h].sum() for h in (0, 1)]
    moved = np.where(inside, rows[predicted] * (true - q[predicted]), 0)
    assert found.standard_error[0, 1] == pytest.approx(math.sqrt(design.variance(moved)))
    assert found.df[0, 1] == design.df_in(inside) < design.df


def test_domains_without_audits_of_their_own_are_synthetic(three: tuple[Audit, Target]) -> None:
    audit, _ = three
    audit = Audit(audit.true, audit.predicted, drawn_from="elsewhere")
    counts = pd.DataFrame([[500, 300, 200], [100, 100, 800]], index=["x", "y"])
    for name in ("calibration", "misclassification", "subtracted-bias"):
        found = WITH_AUDIT[name](audit, Target.from_counts(counts))
        for where in ("x", "y"):
            alone = WITH_AUDIT[name](audit, in_counts(counts.loc[where]))
            row = found.domains.index(where)
            assert found.share[row] == pytest.approx(alone.share[0])
            assert found.standard_error[row] == pytest.approx(alone.standard_error[0])
        assert "(of every domain)" in found.assumption
    with pytest.raises(ValueError, match="Give the audit its domains"):
        prediction_powered_estimator(audit, Target.from_counts(counts))


def test_synthetic_domains_of_a_target_that_was_audited() -> None:
    rng = np.random.default_rng(22)
    true = rng.integers(0, 3, 2_000)
    predicted, domain = confuse(rng, true, 0.8, 3), (np.arange(2_000) < 60).astype(int)
    rows = rng.choice(2_000, 700, replace=False)
    audit = Audit(true[rows], predicted[rows], drawn_from="target")
    found = calibration_estimator(audit, Target(predicted, domain=domain))
    n_h, all_h = (np.bincount(one, minlength=3) for one in (predicted[rows], predicted))
    q = (audit.to_frame().to_numpy() / n_h).T
    for d in (0, 1):
        c = np.bincount(predicted[domain == d], minlength=3) / (domain == d).sum()
        variance = (c**2 * (1 - n_h / all_h) / (n_h - 1)) @ (q * (1 - q))
        assert found.share[d] == pytest.approx(c @ q)
        assert found.standard_error[d] ** 2 == pytest.approx(variance)
    sampled = Target(predicted, domain=domain, design=Design(np.ones(2_000)))
    more = calibration_estimator(audit, sampled)
    assert (more.standard_error > found.standard_error).all()
    assert "(of every domain)" in more.assumption


def test_code_that_a_domain_has_not_is_zero_without_standard_error() -> None:
    true = [0, 0, 1, 1, 0, 0, 2, 2] * 9
    predicted = [0, 0, 1, 0, 0, 2, 2, 2] * 9
    domain = (["x"] * 4 + ["y"] * 4) * 9
    counts = pd.DataFrame([[6, 4, 0], [5, 0, 5]], index=["x", "y"])
    audit = Audit(true, predicted, drawn_from="elsewhere", domain=domain)
    found = misclassification_estimator(audit, Target.from_counts(counts))
    assert found.estimate(2, domain="x").value == 0
    assert math.isnan(found.estimate(2, domain="x").standard_error)
    assert found.share.sum(axis=1) == pytest.approx([1, 1])


# --- many codes --------------------------------------------------------------------------------


def zipf(k: int, n: int, size: int, seed: int) -> tuple[Audit, Target]:
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, k + 1)
    shares /= shares.sum()
    true = rng.choice(k, n + size, p=shares)
    predicted = np.where(rng.random(n + size) < 0.8, true, rng.choice(k, n + size, p=shares))
    return Audit(true[:n], predicted[:n], drawn_from="elsewhere"), Target(predicted[n:])


def test_methods_10_many_codes_and_a_small_audit_are_refused() -> None:
    # methods.md 10: 369 Zipf codes and 500 audited: some 200 codes have no audit row.
    audit, target = zipf(369, 500, 50_000, seed=1)
    assert 369 - len(np.unique(audit.true)) > 150
    for estimator in WITH_AUDIT.values():
        with pytest.raises(ValueError, match="fewer than 2 audited records") as caught:
            estimator(audit, target)
        assert "collapse_rare" in str(caught.value)


def test_issue_4_seven_hundred_codes_are_singular_with_any_affordable_audit() -> None:
    # Issue 4 (tried): rank 695 of 700 with 20,000 audited.
    audit, target = zipf(700, 20_000, 20_000, seed=2)
    rare = np.repeat(np.arange(700), 2)  # audited twice more, so that none is refused for that
    audit = Audit(
        np.concatenate([audit.true, rare]),
        # The model never gives the five last codes.
        np.where(np.r_[audit.predicted, rare] < 695, np.r_[audit.predicted, rare], 0),
        drawn_from="elsewhere",
    )
    with pytest.raises(ValueError, match="its rank is 695, its condition number infinite") as no:
        misclassification_estimator(audit, target)
    assert "5 codes are never predicted in the audit" in str(no.value)
    assert "noise" in str(no.value)


def test_matrix_of_full_rank_is_refused_when_it_is_noise() -> None:
    audit, target = zipf(369, 30_000, 20_000, seed=3)
    codes = np.flatnonzero(np.bincount(audit.true, minlength=369) >= 2)
    assert len(codes) == 369
    with pytest.raises(ValueError, match="the audit knows it to about"):
        misclassification_estimator(audit, target)
    cells = audit.to_frame().to_numpy()
    p = cells / cells.sum(axis=1, keepdims=True)
    assert np.linalg.svd(p, compute_uv=False)[-1] > 1e-3


def test_two_classes_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="rank is 1"):
        misclassification_estimator(counted([[50, 50], [50, 50]]), in_counts([500, 500]))
    with pytest.raises(ValueError, match="the result would be noise"):
        misclassification_estimator(counted([[52, 48], [49, 51]]), in_counts([500, 500]))
    strong = misclassification_estimator(counted([[600, 400], [300, 700]]), in_counts([500, 500]))
    assert strong.condition == pytest.approx(np.linalg.cond([[0.6, 0.4], [0.3, 0.7]]))


def test_shares_outside_the_unit_interval_are_reported_not_cut() -> None:
    found = misclassification_estimator(counted([[80, 20], [10, 90]]), in_counts([9_500, 500]))
    assert found.estimate(1).value == pytest.approx((0.05 - 0.2) / 0.7)
    assert found.outside == (0, 1)
    assert "outside [0, 1]" in found.note
    assert "outside" in found._repr_html_()


def test_codes_climb_to_a_level() -> None:
    soc = load_soc_index().classification
    audit, target = zipf(60, 900, 20_000, seed=4)
    codes = soc.codes(soc.levels[-1])[::6][:60]
    audit = Audit(codes[audit.true], codes[audit.predicted], drawn_from="elsewhere")
    target = Target.from_counts(dict(zip(codes, target.counts[0], strict=True)))
    with pytest.raises(ValueError, match="fewer than 2"):
        calibration_estimator(audit, target)
    top = soc.levels[0]
    joined, joined_target = to_level(audit, target, soc, top)
    assert joined.codes == tuple(sorted(set(soc.at_level(codes, top))))
    assert joined_target.counts.sum() == target.counts.sum()
    assert joined_target.codes == joined.codes
    found = calibration_estimator(joined, joined_target)
    by_hand = Audit(
        soc.at_level(np.array(audit.codes)[audit.true], top),
        soc.at_level(np.array(audit.codes)[audit.predicted], top),
        drawn_from="elsewhere",
    )
    same = calibration_estimator(by_hand, joined_target)
    assert found.share == pytest.approx(same.share)


def test_sampled_target_climbs_with_its_units() -> None:
    small = tree(**SMALL)
    rng = np.random.default_rng(24)
    true = rng.choice(["11", "12", "21", "22"], 900)
    predicted = np.where(rng.random(900) < 0.8, true, "21")
    design = Design(rng.uniform(1, 5, 600), psu=np.arange(600) // 6)
    audit = Audit(true[600:], predicted[600:], drawn_from="elsewhere")
    climbed = to_level(audit, Target(predicted[:600], design=design), small, "level 1")
    first = [[code[0] for code in side] for side in (true, predicted)]
    by_hand = (
        Audit(first[0][600:], first[1][600:], drawn_from="elsewhere"),
        Target(first[1][:600], design=design),
    )
    for name, estimator in WITH_AUDIT.items():
        found, same = estimator(*climbed), estimator(*by_hand)
        assert found.share == pytest.approx(same.share), name
        assert found.standard_error == pytest.approx(same.standard_error), name


def test_a_code_with_just_enough_records_stays() -> None:
    small = tree(**SMALL)
    codes = ["11"] * 30 + ["12"] * 20 + ["21"] * 30 + ["22"] * 19
    audit = Audit(codes, codes, drawn_from="elsewhere")
    assert collapse_rare(audit, Target(codes), small)[0].codes == ("11", "12", "2")


def test_rare_codes_join_with_their_siblings_only() -> None:
    small = tree(**SMALL)
    true = ["11"] * 30 + ["12"] * 3 + ["21"] * 30 + ["22"] * 30
    predicted = ["11"] * 32 + ["12"] * 1 + ["21"] * 29 + ["22"] * 31
    audit = Audit(true, predicted, drawn_from="elsewhere")
    target = Target(["11", "12", "21", "22"] * 50)
    joined, joined_target = collapse_rare(audit, target, small)
    assert joined.codes == joined_target.codes == ("1", "21", "22")
    assert joined_target.counts[0].tolist() == [100, 50, 50]
    assert [len(audit), len(joined)] == [93, 93]
    for estimator in WITH_AUDIT.values():
        assert estimator(joined, joined_target).share.sum() == pytest.approx(1)
    untouched, _ = collapse_rare(audit, Target(["11"] * 9), small, at_least=1 + 1)
    assert untouched.codes == ("1", "21", "22")  # "12" is predicted once
    with pytest.raises(ValueError, match="2 codes at the top of small"):
        collapse_rare(audit, target, small, at_least=90)
    with pytest.raises(ValueError, match="at_least=1; allowed are 2"):
        collapse_rare(audit, target, small, at_least=1)


def test_rare_codes_of_a_real_classification_leave_enough_records() -> None:
    soc = load_soc_index().classification
    audit, target = zipf(369, 5_000, 100_000, seed=5)
    codes = np.random.default_rng(5).permutation(soc.codes(soc.levels[-1]))
    audit = Audit(codes[audit.true], codes[audit.predicted], drawn_from="elsewhere")
    target = Target.from_counts(
        dict(zip(codes[: len(target.codes)], target.counts[0], strict=True))
    )
    joined, joined_target = collapse_rare(audit, target, soc)
    cells = joined.to_frame()
    assert cells.sum(axis=0).min() >= 20
    assert cells.sum(axis=1).min() >= 20
    assert {*joined_target.codes} <= {*joined.codes}
    assert 9 < len(joined.codes) < 369
    # A cut: no code lies below another one.
    assert not any(set(soc.ancestors(code)) & {*joined.codes} for code in joined.codes)
    found = misclassification_estimator(joined, joined_target)
    assert not found.outside
    assert found.condition < 20


def test_rare_codes_are_counted_by_domain() -> None:
    small = tree(**SMALL)
    codes = ["11"] * 40 + ["12"] * 40 + ["21"] * 40 + ["22"] * 40
    domain = ["x"] * 20 + ["y"] * 20 + ["x"] * 39 + ["y"] * 1 + (["x"] * 20 + ["y"] * 20) * 2
    audit = Audit(codes, codes, drawn_from="elsewhere", domain=domain)
    target = Target(codes, domain=domain)
    joined, _ = collapse_rare(audit, target, small, at_least=5)
    assert joined.codes == ("1", "21", "22")


def test_codes_above_the_level_and_unknown_ones_are_refused() -> None:
    small = tree(**SMALL)
    audit = Audit(["11", "1"], ["11", "12"], drawn_from="elsewhere")
    with pytest.raises(ValueError, match="1 codes lie above the level 'level 2', such as '1'"):
        to_level(audit, Target(["11"]), small, "level 2")
    with pytest.raises(ValueError, match="unknown to small"):
        to_level(audit, Target(["99"]), small, "level 1")
    with pytest.raises(ValueError, match="unknown to small"):
        collapse_rare(audit, Target(["99"]), small)
    joined, target = to_level(
        Audit([11, 12], [11, 11], drawn_from="elsewhere"), Target([11, 21]), small, "level 1"
    )
    assert (joined.codes, target.codes) == (("1",), ("1", "2"))


# --- inputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["numpy", "object", "str", "string", "string[pyarrow]", "category", "index"]
)
def test_forms_of_codes_give_the_same(dtype: str) -> None:
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")

    def make(codes: list[str]) -> Any:
        if dtype in ("numpy", "index"):
            return np.array(codes) if dtype == "numpy" else pd.Index(codes)
        # With an index of its own, which must not matter.
        return pd.Series(codes, index=range(7, 7 + len(codes)), dtype=dtype)

    true, predicted = ["01", "02", "01", "02", "01"], ["01", "02", "02", "02", "01"]
    target = ["01", "02", "02", "01"]
    expected = calibration_estimator(Audit(true, predicted, drawn_from="elsewhere"), Target(target))
    found = calibration_estimator(
        Audit(make(true), make(predicted), drawn_from="elsewhere"), Target(make(target))
    )
    assert found.codes == expected.codes == ("01", "02")
    assert (found.share == expected.share).all()


def test_the_first_of_k_codes_counts() -> None:
    audit = Audit(["a", "b", "b"], [["a", "x"], ["b", "a"], ["a", "b"]], drawn_from="elsewhere")
    assert audit.codes == ("a", "b")
    assert audit.to_frame().to_numpy().tolist() == [[1, 0], [1, 1]]
    assert Target([["a", "x"], ["b", "a"]]).codes == ("a", "b")


def test_forms_of_counts_give_the_same() -> None:
    target = Target(list("aabcc"), domain=[1, 1, 2, 2, 2])
    crossed = pd.crosstab(pd.Series([1, 1, 2, 2, 2]), pd.Series(list("aabcc")))
    for other in (crossed, crossed.iloc[::-1, ::-1]):
        same = Target.from_counts(other)
        assert same.domains == target.domains == (1, 2)
        assert same.codes == target.codes
        assert (same.counts == target.counts).all()
        assert same.to_frame().equals(target.to_frame())
    one = Target(list("aabcc"))
    for counts in ({"c": 2, "a": 2, "b": 1}, pd.Series(list("aabcc")).value_counts()):
        assert (Target.from_counts(counts).counts == one.counts).all()
    assert Target.from_counts({"a": 2.5, "b": 0}).counts.tolist() == [[2.5, 0]]


def test_audit_from_counts_is_the_audit_of_its_records() -> None:
    cells = table([[3, 1], [0, 2]], ["x", "y"])
    audit = Audit.from_counts(cells, drawn_from="target")
    records = Audit(list("xxxxyy"), list("xxxyyy"), drawn_from="target")
    assert audit.to_frame().equals(records.to_frame())
    assert audit.to_frame().to_numpy().tolist() == [[3, 1], [0, 2]]


OK = {"y_true": ["a", "b", "a"], "y_pred": ["a", "b", "b"], "drawn_from": "elsewhere"}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"drawn_from": "here"}, ValueError, "'target', if the audited records are a sample"),
        ({"y_true": ["a", "b"]}, ValueError, "lengths differ: y_true 2, y_pred 3"),
        ({"y_true": ["a", None, "b"]}, ValueError, "1 of 3 records have no code in y_true"),
        ({"y_pred": ["a", "", "b"]}, ValueError, "1 of 3 records have no code in y_pred"),
        ({"y_true": [], "y_pred": []}, ValueError, "at least one record"),
        ({"y_true": [1, 2, 1]}, TypeError, "Mixed types"),
        ({"y_true": ["a", 1, "b"]}, TypeError, "mixed types"),
        ({"y_true": [1.5, 2.0, 1.0]}, TypeError, "a code is text or a whole number"),
        ({"design": Design([1.0, 2.0])}, ValueError, "records 3, design 2"),
        ({"design": [1.0, 2.0, 3.0]}, TypeError, "give a Design"),
        ({"domain": ["n", "s"]}, ValueError, "units 3, domain 2"),
        ({"domain": ["n", None, "s"]}, ValueError, "no code in domain"),
        ({"rows": [0, 1]}, ValueError, "y_true 3, rows 2"),
        ({"rows": [0, 1, 1]}, ValueError, "comes twice"),
        ({"rows": [-1, 0, 1]}, ValueError, "negative"),
        ({"rows": [0.0, 1.0, 2.0]}, TypeError, "give the position"),
    ],
)
def test_bad_audits_are_refused(change: dict[str, Any], error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        Audit(**OK | change)


@pytest.mark.parametrize(
    ("counts", "error", "says"),
    [
        ({}, ValueError, "counts is empty"),
        ({"a": -1, "b": 3}, ValueError, "1 of 2 counts are missing, infinite or negative"),
        ({"a": math.nan, "b": 3}, ValueError, "1 of 2 counts are missing"),
        ({"a": 0, "b": 0}, ValueError, "All counts are 0"),
        ({"a": "many"}, TypeError, "counts needs numbers"),
        ({"a": 1, 2: 1}, TypeError, "mixed types"),
        ([3, 4], TypeError, "give a dict or Series"),
        (pd.Series([1, 2], index=["a", "a"]), ValueError, "A code comes twice"),
        (pd.DataFrame({"a": [1, 0], "b": [1, 0]}), ValueError, "No unit in 1 of the domains"),
        (pd.DataFrame({"a": [1, 2]}, index=["n", "n"]), ValueError, "A domain comes twice"),
    ],
)
def test_bad_counts_are_refused(counts: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        Target.from_counts(counts)


def test_bad_tables_of_audits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"counts has the value 0\.5; records are counted"):
        Audit.from_counts(table([[0.5, 1], [1, 1]]), drawn_from="target")
    with pytest.raises(ValueError, match="negative"):
        Audit.from_counts(table([[-1, 1], [1, 1]]), drawn_from="target")
    with pytest.raises(TypeError, match="give a DataFrame"):
        Audit.from_counts([[1, 0], [0, 1]], drawn_from="target")


def test_bad_targets_are_refused() -> None:
    for given, error, says in (
        ([], ValueError, "at least one record"),
        ({"a": 3}, TypeError, "use Target.from_counts"),
        (["a", None], ValueError, "1 of 2 records have no code"),
    ):
        with pytest.raises(error, match=says):
            Target(given)
    with pytest.raises(ValueError, match="1 of 2 domains have units with the weight 0"):
        Target(["a", "b", "b"], domain=[1, 1, 2], design=Design([1.0, 2.0, 0.0]))
    with pytest.raises(ValueError, match="records 3, design 2"):
        Target(["a", "b", "b"], design=Design([1.0, 2.0]))


def test_what_does_not_belong_together_is_refused(three: tuple[Audit, Target]) -> None:
    audit, target = three
    with pytest.raises(TypeError, match="audit is a str; give Audit"):
        calibration_estimator("audit", target)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="target is a dict; give Target"):
        calibration_estimator(audit, {0: 3})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="target is a dict; give Target"):
        classify_and_count({0: 3})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="codes of the audit are numbers, those of the target text"):
        calibration_estimator(audit, Target(["a"]))
    with pytest.raises(ValueError, match="but 1 units of the target"):
        calibration_estimator(audit, Target([0, 1]))
    light = Audit(audit.true, audit.predicted, drawn_from="target", design=Design(np.ones(300)))
    with pytest.raises(ValueError, match="sum to 300, but the target has 9,000"):
        calibration_estimator(light, target)
    named = Audit(audit.true, audit.predicted, drawn_from="elsewhere", domain=["x"] * 300)
    with pytest.raises(ValueError, match="has 1 domains that the target has not, such as 'x'"):
        calibration_estimator(named, target)
    for estimator in WITH_AUDIT.values():
        with pytest.raises(ValueError, match=r"confidence=1\.5"):
            estimator(audit, target, confidence=1.5)
    with pytest.raises(ValueError, match="confidence=0"):
        classify_and_count(target, confidence=0)


def test_a_domain_without_audited_records_is_refused(three: tuple[Audit, Target]) -> None:
    audit, target = three
    counts = pd.DataFrame([target.counts[0]] * 2, index=["x", "y"])
    for drawn_from in ("target", "elsewhere"):
        named = Audit(audit.true, audit.predicted, drawn_from=drawn_from, domain=["y"] * len(audit))
        for estimator in WITH_AUDIT.values():
            with pytest.raises(ValueError, match="3 of 3 codes in the domain 'x'"):
                estimator(named, Target.from_counts(counts))


def test_one_code_leaves_nothing_to_correct() -> None:
    found = calibration_estimator(
        Audit(["a"] * 3, ["a"] * 3, drawn_from="elsewhere"), Target(["a"])
    )
    assert found.estimate("a").value == 1
    assert found.estimate("a").standard_error == 0


def test_fewer_than_two_audited_records_are_refused() -> None:
    lonely = counted([[10, 2], [0, 1]])
    for estimator in WITH_AUDIT.values():
        with pytest.raises(ValueError, match=r"1 of 2 codes are the true code of .* 1 \(1\)"):
            estimator(lonely, in_counts([90, 10]))
    with pytest.raises(ValueError, match="are the predicted code of fewer than 2"):
        calibration_estimator(counted([[10, 1], [5, 0]]), in_counts([90, 10]))
    # A predicted code that the target has not is no obstacle.
    fine = calibration_estimator(counted([[10, 1], [5, 0]]), in_counts([90, 0]))
    assert fine.share[0] == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"share": 0}, "share=0; allowed is a number between 0 and 1"),
        ({"audit_share": 1.2}, r"audit_share=1\.2"),
        ({"p00": 1.1}, r"p00=1\.1; allowed are 0 to 1"),
        ({"p11": math.nan}, "p11=nan"),
        ({"p00": 0.3, "p11": 0.7}, "says nothing"),
        ({"n_audit": 1}, "n_audit=1"),
        ({"n_target": 0}, "n_target=0"),
    ],
)
def test_bad_plans_are_refused(change: dict[str, Any], says: str) -> None:
    good = {"share": 0.3, "p00": 0.9, "p11": 0.8, "n_audit": 100, "n_target": 1000}
    with pytest.raises(ValueError, match=says):
        two_class_errors(**good | change)


def test_bad_means_are_refused() -> None:
    for args, error, says in (
        (([1, 0], [1], [1, 0]), ValueError, r"f has the shape \(1,\)"),
        (([1, 0, 1], [1, 0], [1, 0]), ValueError, "y 3, f 2"),
        (([1, math.nan], [1, 0], [1, 0]), ValueError, "y has 1 missing"),
        ((["a", "b"], [1, 0], [1, 0]), TypeError, "y needs numbers"),
    ):
        with pytest.raises(error, match=says):
            prediction_powered_mean(*args)
    with pytest.raises(ValueError, match="confidence"):
        prediction_powered_mean([1, 0], [1, 0], [1, 0], confidence=95)


# --- results -----------------------------------------------------------------------------------


def test_every_situation_and_assumption_is_named(three: tuple[Audit, Target]) -> None:
    audit, target = three
    elsewhere = Audit(audit.true, audit.predicted, drawn_from="elsewhere")
    sampled = Target(np.repeat([0, 1, 2], 900), design=Design(np.ones(2_700)))
    seen = set()
    for one, other in itertools.product((audit, elsewhere), (target, sampled)):
        for estimator in WITH_AUDIT.values():
            found = estimator(one, other)
            seen.add(found.situation)
            drawn = one.drawn_from == "target"
            assert ("nothing else need be stable" in found.assumption) == drawn
            assert ("of the sampling of the target" in found.variance) == (other is sampled)
            for text in (found.situation, found.assumption, found.variance):
                assert text in repr(found)
    assert len(seen) == 4
    small = Target([0, 1, 2] * 200)
    assert "fewer than ten times" in calibration_estimator(elsewhere, small).note
    assert "fewer than ten times" not in calibration_estimator(elsewhere, target).note


def test_result_as_a_table(three: tuple[Audit, Target]) -> None:
    found = calibration_estimator(*three, confidence=0.9)
    frame = found.to_frame()
    assert list(frame.columns) == [
        "estimator",
        "code",
        "share",
        "standard_error",
        "low",
        "high",
        "total",
        "total_standard_error",
        "total_low",
        "total_high",
        "df",
    ]
    assert frame["code"].tolist() == [0, 1, 2]
    one = found.estimate(1)
    row = frame.iloc[1]
    assert (one.value, one.low, one.high) == tuple(row[["share", "low", "high"]])
    assert one.confidence == 0.9
    total = found.estimate(1, of="total")
    assert total.value == pytest.approx(9_000 * one.value)
    assert total.interval == pytest.approx((9_000 * one.low, 9_000 * one.high))
    assert found.audited == 300
    with pytest.raises(KeyError, match="No code 7"):
        found.estimate(7)
    with pytest.raises(KeyError, match="No domain 'x'"):
        found.estimate(1, domain="x")
    with pytest.raises(ValueError, match="allowed are 'share' and 'total'"):
        found.estimate(1, of="mean")  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(found)).share == pytest.approx(found.share)  # noqa: S301


def test_results_show_themselves(three: tuple[Audit, Target]) -> None:
    audit, target = three
    first = calibration_estimator(audit, target)
    ax = first.plot()
    assert prediction_powered_estimator(audit, target).plot(ax) is ax
    classify_and_count(target).plot(ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [
        "calibration estimator",
        "prediction-powered estimator",
        "classify and count",
    ]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "1", "2"]
    assert "<table" in first._repr_html_()
    domains = Target.from_counts(pd.DataFrame([[5, 3], [2, 9]], index=["x", "y"]))
    two = classify_and_count(domains)
    assert two.plot(domain="y").get_xlabel() == "share, y"
    with pytest.raises(KeyError, match="Name one of the domains: 'x', 'y'"):
        two.plot()
    assert two.to_frame()["domain"].tolist() == ["x", "x", "y", "y"]
    plan = two_class_errors(0.2, 0.9, 0.8, n_audit=100, n_target=10_000)
    assert plan.plot().get_xlabel() == "error of the share"
    assert "Unconditional" in plan._repr_html_()
    assert "calibration" in repr(plan)
    with pytest.raises(KeyError, match="There are 'baseline'"):
        plan["ppi"]
    plt.close("all")


def test_long_results_are_cut_in_the_view_only() -> None:
    found = classify_and_count(in_counts(np.arange(1, 101)))
    assert "70 more rows: to_frame() has them all." in repr(found)
    assert len(found.to_frame()) == 100
    ax = found.plot()
    assert ax.get_ylabel() == "code, the 30 largest of 100"
    assert ax.get_yticklabels()[0].get_text() == "70"
    plt.close("all")


def test_plan_as_a_table() -> None:
    frame = two_class_errors(0.2, 0.9, 0.8, n_audit=100, n_target=10_000).to_frame()
    assert list(frame.columns) == ["estimator", "expected", "bias", "variance", "rmse"]
    assert (frame["rmse"] ** 2).to_numpy() == pytest.approx(
        (frame["bias"] ** 2 + frame["variance"]).to_numpy()
    )


def test_names_of_the_door_exist() -> None:
    assert all(hasattr(totals, name) for name in totals.__all__)
    assert totals.__all__ == sorted(totals.__all__)
