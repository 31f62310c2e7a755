"""Calibration of the confidence in the first code: worked examples, manners, and bad input."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate

from mlkit.coding import ConfidenceCalibrator, confidence_from_scores

METHODS = ["isotonic", "platt", "temperature"]
every_method = pytest.mark.parametrize("method", METHODS)


def answers(n: int, *, seed: int = 0, over: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose log-odds are `over` times too large, and whether the code is right."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(1.5, 1.5, n)
    correct = rng.random(n) < 1 / (1 + np.exp(-logit))
    return 1 / (1 + np.exp(-over * logit)), correct


# --- what it gives -------------------------------------------------------------------------------


def test_isotonic_pools_the_adjacent_violators() -> None:
    # By hand: 1, 0 | 1, 1, 0 | 1 pools to means 1/2, 2/3 and 1.
    fitted = ConfidenceCalibrator().fit([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [1, 0, 1, 1, 0, 1])
    wanted = [0.5, 0.5, 2 / 3, 2 / 3, 2 / 3, 1]
    np.testing.assert_allclose(fitted.predict([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), wanted)
    np.testing.assert_allclose(fitted.predict([0.0, 1.0]), [0.5, 1.0])  # flat beyond the ends


def test_platt_is_a_weighted_logistic_regression_on_the_log_odds() -> None:
    scores, correct = answers(3_000, over=2.0)
    weights = np.random.default_rng(1).uniform(0.5, 3, len(scores))
    fitted = ConfidenceCalibrator("platt").fit(scores, correct, weights)
    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(
        np.log(scores / (1 - scores))[:, None], correct, sample_weight=weights
    )
    # Platt's two additional rows move the line a little.
    assert fitted.slope_ == pytest.approx(peer.coef_.item(), abs=0.01)
    assert fitted.intercept_ == pytest.approx(peer.intercept_.item(), abs=0.01)


@pytest.mark.parametrize("over", [0.5, 1.0, 3.0])
def test_temperature_finds_how_much_the_log_odds_are_too_large(over: float) -> None:
    scores, correct = answers(20_000, over=over)
    fitted = ConfidenceCalibrator("temperature").fit(scores, correct)
    assert 1 / fitted.slope_ == pytest.approx(over, rel=0.06)
    assert fitted.intercept_ == 0


@every_method
def test_calibrated_confidences_are_the_shares_of_right_codes_among_other_rows(
    method: str,
) -> None:
    fitted = ConfidenceCalibrator(method).fit(*answers(20_000, over=3.0))
    scores, correct = answers(20_000, seed=1, over=3.0)
    before, after = scores, fitted.predict(scores)
    gaps = []
    for confidence in (before, after):
        band = np.minimum((confidence * 10).astype(int), 9)
        sizes = np.bincount(band, minlength=10)
        gap = np.bincount(band, correct, minlength=10) - np.bincount(band, confidence, minlength=10)
        gaps.append(np.abs(gap).sum() / sizes.sum())
    assert gaps[0] > 0.07
    assert gaps[1] < 0.015


@every_method
def test_the_order_of_records_stays(method: str) -> None:
    fitted = ConfidenceCalibrator(method).fit(*answers(500))
    calibrated = fitted.predict(np.linspace(0, 1, 5_001))
    assert (np.diff(calibrated) >= 0).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


@every_method
def test_even_where_scores_are_worse_than_useless_the_order_is_not_turned(method: str) -> None:
    scores, correct = answers(2_000)
    fitted = ConfidenceCalibrator(method).fit(scores, ~correct)
    calibrated = fitted.predict(np.linspace(0, 1, 101))
    assert (np.diff(calibrated) >= 0).all()


@every_method
def test_equal_scores_get_equal_confidences_whatever_the_order_of_rows(method: str) -> None:
    scores, correct = answers(3_000)
    scores = scores.round(1)
    shuffled = np.random.default_rng(2).permutation(len(scores))
    one = ConfidenceCalibrator(method).fit(scores, correct).predict(scores)
    other = ConfidenceCalibrator(method).fit(scores[shuffled], correct[shuffled]).predict(scores)
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert len(np.unique(one)) <= len(np.unique(scores))


@every_method
def test_a_weight_of_two_is_the_row_twice(method: str) -> None:
    scores, correct = answers(400)
    twice = np.random.default_rng(3).random(400) < 0.5
    weighted = ConfidenceCalibrator(method).fit(scores, correct, np.where(twice, 2, 1))
    repeated = ConfidenceCalibrator(method).fit(
        np.concatenate([scores, scores[twice]]), np.concatenate([correct, correct[twice]])
    )
    points = np.linspace(0, 1, 50)
    # Platt's two additional rows weigh less among more rows.
    atol = 1e-9 if method == "isotonic" else 5e-3
    np.testing.assert_allclose(weighted.predict(points), repeated.predict(points), atol=atol)


@every_method
def test_only_the_ratios_of_weights_count(method: str) -> None:
    scores, correct = answers(400)
    weights = np.random.default_rng(4).uniform(1, 5, 400)
    one = ConfidenceCalibrator(method).fit(scores, correct, weights)
    other = ConfidenceCalibrator(method).fit(scores, correct, weights * 1_000)
    points = np.linspace(0, 1, 50)
    np.testing.assert_allclose(one.predict(points), other.predict(points), atol=1e-6)


def test_isotonic_is_scikit_learns() -> None:
    scores, correct = answers(1_000)
    peer = IsotonicRegression(out_of_bounds="clip").fit(scores, correct)
    ours = ConfidenceCalibrator().fit(scores, correct)
    np.testing.assert_allclose(ours.predict(scores), peer.predict(scores))


# --- it never fails on codes (text-classification.md, A10) ---------------------------------------


@every_method
def test_codes_that_are_rare_missing_or_new_do_no_harm(method: str) -> None:
    y_true = pd.Series(["2211"] * 30 + ["5414"] * 30 + ["9233"], dtype="str")  # one row of 9233
    y_pred = pd.Series(["2211"] * 25 + ["5414"] * 36, dtype="str")  # 9233 is never predicted
    scores, _ = answers(61)
    fitted = ConfidenceCalibrator(method).fit(scores, y_true == y_pred)
    assert np.isfinite(fitted.predict(scores)).all()  # of whatever codes these may be


@pytest.mark.parametrize("dtype", ["str", "category", "string[pyarrow]", "object"])
def test_labels_of_every_kind(dtype: str) -> None:
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    y_true = pd.Series(["a", "b", "a", "b"]).astype(dtype)
    y_pred = pd.Series(["a", "a", "a", "b"]).astype(dtype)
    if dtype == "category":
        y_pred = y_pred.cat.set_categories(y_true.cat.categories)
    fitted = ConfidenceCalibrator().fit([0.9, 0.4, 0.8, 0.7], y_true == y_pred)
    assert fitted.predict([0.4, 0.9]).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("kind", [bool, int, float, "boolean", "Int64", object])
def test_correct_of_every_kind(kind: Any) -> None:
    correct = pd.Series([True, False, True, True]).astype(kind)
    fitted = ConfidenceCalibrator().fit([0.9, 0.4, 0.8, 0.7], correct)
    assert fitted.predict([0.4, 0.9]).tolist() == [0.0, 1.0]


@every_method
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_a_single_class(method: str, right: bool, n: int) -> None:
    scores = answers(n)[0]
    calibrated = ConfidenceCalibrator(method).fit(scores, np.full(n, right)).predict(scores)
    if method == "isotonic":
        assert (calibrated == right).all()
    elif method == "platt":
        wanted = (n + 1) / (n + 2)
        np.testing.assert_allclose(calibrated, wanted if right else 1 - wanted, atol=1e-3)
    else:
        assert ((calibrated > 0) & (calibrated < 1)).all()


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_perfectly_separated_rows_give_no_jump(method: str) -> None:
    scores = np.array([0.6, 0.7, 0.55, 0.9, 0.95, 0.99])
    fitted = ConfidenceCalibrator(method).fit(scores, scores > 0.8)
    calibrated = fitted.predict(scores)
    assert ((calibrated > 0.01) & (calibrated < 0.99)).all()


@every_method
def test_scores_of_0_and_1(method: str) -> None:
    fitted = ConfidenceCalibrator(method).fit([0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 0])
    low, high = fitted.predict([0, 1])
    assert 0 <= low <= high <= 1
    assert np.isfinite([low, high]).all()


# --- scikit-learn's manners ----------------------------------------------------------------------


@every_method
def test_manners_of_scikit_learn(method: str) -> None:
    scores, correct = answers(600)
    calibrator = ConfidenceCalibrator(method=method)
    assert calibrator.get_params() == {"method": method}
    assert repr(calibrator).startswith("ConfidenceCalibrator(")
    fitted = calibrator.fit(scores, correct)
    assert fitted is calibrator
    fresh = clone(fitted)
    with pytest.raises(NotFittedError):
        fresh.predict(scores)
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - our own
    np.testing.assert_array_equal(again.predict(scores), fitted.predict(scores))


def test_it_works_in_cross_validation() -> None:
    scores, correct = answers(3_000, over=3.0)
    held_out = cross_val_predict(ConfidenceCalibrator(), scores, correct, cv=5)
    raw = np.mean((scores - correct) ** 2)
    assert np.mean((held_out - correct) ** 2) < raw
    result = cross_validate(
        ConfidenceCalibrator(), scores, correct, scoring="neg_mean_squared_error", cv=5,
        error_score="raise",
    )  # fmt: skip
    assert (-result["test_score"] < raw).all()
    search = GridSearchCV(ConfidenceCalibrator(), {"method": METHODS}, error_score="raise")
    assert search.fit(scores, correct).best_params_["method"] in METHODS


def test_score_is_the_brier_skill_score() -> None:
    scores, correct = answers(1_000)
    fitted = ConfidenceCalibrator("platt").fit(scores, correct)
    brier = np.mean((fitted.predict(scores) - correct) ** 2)
    assert fitted.score(scores, correct) == pytest.approx(1 - brier / correct.var())


def test_of_short_lists_only_the_first_score_counts() -> None:
    scores, correct = answers(300)
    table = np.column_stack([scores, scores / 2, np.zeros(300)])
    one = ConfidenceCalibrator().fit(scores, correct)
    other = ConfidenceCalibrator().fit(pd.DataFrame(table), correct)
    np.testing.assert_array_equal(one.predict(scores), other.predict(table))
    assert len(one.predict([])) == 0


# --- confidence from the scores of several codes -------------------------------------------------

# text-classification.md, A9: confidence of INSEE, as published and as in its code.
INSEE = [[0.70, 0.20, 0.05, 0.03, 0.02]]


def test_confidence_of_insee() -> None:
    assert confidence_from_scores(INSEE) == pytest.approx([0.70])
    assert confidence_from_scores(INSEE, measure="margin") == pytest.approx([0.50])
    assert confidence_from_scores(INSEE, measure="lead") == pytest.approx([0.40])
    assert confidence_from_scores(INSEE, measure="margin")[0] < 0.65  # to a clerk
    assert confidence_from_scores([[0.3, 0.25, 0.25]], measure="lead") == [0.0]


@pytest.mark.parametrize(
    ("scores", "measure", "message"),
    [
        (INSEE, "entropy", "allowed are 'top', 'margin', 'lead'"),
        ([0.7, 0.2], "margin", "at least two codes"),
        ([[0.2, 0.7]], "margin", "the best first"),
        ([[0.5, 0.1, 0.3]], "margin", "the best first"),
        ([[0.5, np.nan]], "lead", "missing"),
    ],
)
def test_confidence_from_bad_scores(scores: Any, measure: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confidence_from_scores(scores, measure=measure)


# --- bad input -----------------------------------------------------------------------------------

GOOD = ([0.9, 0.4], [True, False], None)


@pytest.mark.parametrize(
    ("scores", "correct", "weights", "message"),
    [
        ([0.9, 1.7], *GOOD[1:], r"1 of 2 lie outside \[0, 1\], such as 1.7.*softmax"),
        ([0.9, -0.1], *GOOD[1:], r"outside \[0, 1\]"),
        ([0.9, np.inf], *GOOD[1:], r"outside \[0, 1\]"),
        ([0.9, np.nan], *GOOD[1:], "1 of 2 are missing"),
        (pd.Series([0.9, None], dtype="Float64"), *GOOD[1:], "1 of 2 are missing"),
        ([], [], None, "empty"),
        ([0.9, 0.4, 0.1], *GOOD[1:], "3 scores, but 2 values"),
        ([[[0.9]]], [True], None, r"shape \(1, 1, 1\)"),
        ([[0.1, 0.9], [0.9, 0.1]], *GOOD[1:], "the best first"),
        (GOOD[0], [True, None], None, "1 of 2 are missing"),
        (GOOD[0], [1, 2], None, "y_true == y_pred"),
        (*GOOD[:2], [1, -1], "negative"),
        (*GOOD[:2], [1, np.nan], "missing"),
        (*GOOD[:2], [0, 0], "0 for every record"),
        (*GOOD[:2], [1, 1, 1], "Give one weight"),
    ],
)
def test_bad_input(scores: Any, correct: Any, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConfidenceCalibrator().fit(scores, correct, weights)


def test_codes_instead_of_right_or_wrong() -> None:
    with pytest.raises(TypeError, match="y_true == y_pred"):
        ConfidenceCalibrator().fit([0.9, 0.4], ["2211", "5414"])
    with pytest.raises(TypeError, match="not numbers"):
        ConfidenceCalibrator().fit(["high", "low"], [True, False])


def test_unknown_method() -> None:
    with pytest.raises(ValueError, match="allowed are 'isotonic', 'platt', 'temperature'"):
        ConfidenceCalibrator("beta").fit(*GOOD)  # type: ignore[arg-type]


@every_method
def test_bad_scores_to_predict(method: str) -> None:
    fitted = ConfidenceCalibrator(method).fit(*answers(50))
    for bad in ([np.nan], [1.5], [-1.0]):
        with pytest.raises(ValueError, match=r"missing|outside"):
            fitted.predict(bad)


def test_certainty_that_is_a_little_more_than_certain() -> None:
    # fastText returns 1.00001 (text-classification.md, 1.1).
    fitted = ConfidenceCalibrator().fit([1.00001, 0.2], [True, False])
    assert fitted.predict([1.00001]) == [1.0]
