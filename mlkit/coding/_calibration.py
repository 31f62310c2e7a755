"""Confidences that mean what they say: of the records with confidence .9, nine in ten are right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from mlkit.coding._checks import as_confidences, as_correct, as_weights

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

_METHODS = ("isotonic", "platt", "temperature")
_MEASURES = ("top", "margin", "lead")

# The log-odds of 0 and 1 are infinite, so confidences stop short of them.
_EDGE = 1e-7


class ConfidenceCalibrator(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Turn a model's confidence in its first code into the probability that the code is right.

    It learns from two columns alone: the confidence, and whether the code was right. It never
    sees the codes, so a code that is rare, missing from the calibration rows, or new cannot make
    it fail. The order of records stays: a higher score never gets a lower confidence.

    Calibrate on rows that neither trained the model nor certify a threshold.

    Parameters
    ----------
    method : {"isotonic", "platt", "temperature"}, default="isotonic"
        "isotonic" fits the best non-decreasing step curve [1]_; it needs some hundred rows, and
        gives many records the same confidence. "platt" fits
        ``logit(p) = slope * logit(score) + intercept`` with a slope of at least 0 [2]_, and
        "temperature" the same without the intercept [3]_; these two suit small samples and keep
        the scores of different records apart.

    Attributes
    ----------
    slope_, intercept_ : float
        The line on the log-odds, after "platt" and "temperature". The temperature is
        ``1 / slope_``.
    isotonic_ : sklearn.isotonic.IsotonicRegression
        The fitted curve, after "isotonic".

    Notes
    -----
    If all rows are right, or all wrong, "isotonic" gives every record the confidence 1 or 0. The
    other two methods count one more right and one more wrong row than there are, as Platt
    advises [2]_, and stay short of both.

    :meth:`score` is scikit-learn's R squared. For probabilities it is the Brier skill score:
    the part of the Brier score that the confidences save, against giving everyone the mean.

    References
    ----------
    .. [1] Zadrozny, B. and Elkan, C. (2002). Transforming classifier scores into accurate
       multiclass probability estimates. KDD.
    .. [2] Platt, J. (1999). Probabilistic outputs for support vector machines. Advances in Large
       Margin Classifiers, MIT Press.
    .. [3] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. (2017). On calibration of modern neural
       networks. ICML. Here the temperature acts on the first confidence alone, because a
       short-list does not hold the others.

    Examples
    --------
    >>> scores = [0.99, 0.98, 0.97, 0.96, 0.90, 0.85]
    >>> correct = [True, True, False, True, False, False]
    >>> calibrator = ConfidenceCalibrator().fit(scores, correct)
    >>> calibrator.predict([0.99, 0.965, 0.5]).round(2)
    array([1. , 0.5, 0. ])
    """

    def __init__(self, method: Literal["isotonic", "platt", "temperature"] = "isotonic") -> None:
        self.method = method

    def fit(
        self, scores: ArrayLike, correct: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> ConfidenceCalibrator:
        """Learn from records whose true code is known.

        Parameters
        ----------
        scores : array-like of shape (n,) or (n, k)
            Confidences in [0, 1]. Of k columns, the best first, only the first is used.
        correct : array-like of shape (n,)
            Whether the first code is right: ``y_true == y_pred``.
        sample_weight : array-like of shape (n,), optional
            Weights, such as design weights.

        Returns
        -------
        ConfidenceCalibrator
            Itself.

        Raises
        ------
        ValueError
            If the method is none of the three, there are no records, a score is missing or
            outside [0, 1], lengths differ, or weights are negative or all 0.
        TypeError
            If `scores` are not numbers, or `correct` holds codes.
        """
        if self.method not in _METHODS:
            raise ValueError(
                f"method={self.method!r}; allowed are {', '.join(map(repr, _METHODS))}."
            )
        confidences = as_confidences(scores)
        right = as_correct(correct, len(confidences))
        weights = as_weights(sample_weight, len(confidences))
        if self.method == "isotonic":
            from sklearn.isotonic import IsotonicRegression

            self.isotonic_ = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
            self.isotonic_.fit(confidences, right.astype(float), sample_weight=weights)
        else:
            self.slope_, self.intercept_ = _fit_line(
                _log_odds(confidences), right, weights, with_intercept=self.method == "platt"
            )
        return self

    def predict(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Give the calibrated confidences.

        Parameters
        ----------
        scores : array-like of shape (n,) or (n, k)
            Confidences in [0, 1], as for :meth:`fit`.

        Returns
        -------
        ndarray of shape (n,)
            Probabilities that the first code is right.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If a score is missing or outside [0, 1].
        """
        from scipy.special import expit
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        confidences = as_confidences(scores, empty=True)
        if not len(confidences):
            return confidences
        if self.method == "isotonic":
            return np.asarray(self.isotonic_.predict(confidences), dtype=np.float64)
        line = self.slope_ * _log_odds(confidences) + self.intercept_
        return np.asarray(expit(line), dtype=np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        return tags


def confidence_from_scores(
    scores: ArrayLike | pd.DataFrame, *, measure: Literal["top", "margin", "lead"] = "top"
) -> NDArray[np.float64]:
    """Make one confidence per record of the scores of its best codes.

    Parameters
    ----------
    scores : array-like of shape (n, k)
        Probabilities of the k best codes of each record, the best first.
    measure : {"top", "margin", "lead"}, default="top"
        "top" is the first score. "margin" is the first less the second, as in the production
        system of INSEE. "lead" is the first less all others given, as in the code that INSEE
        published; it is set to 0 where they outweigh the first.

    Returns
    -------
    ndarray of shape (n,)
        Confidences in [0, 1]. They order records; they are no probabilities before a
        :class:`ConfidenceCalibrator` has made them so.

    Raises
    ------
    ValueError
        If a score is missing or outside [0, 1], a row is not sorted, or `measure` needs a second
        column.

    Examples
    --------
    >>> p = [[0.70, 0.20, 0.05, 0.03, 0.02]]
    >>> confidence_from_scores(p, measure="margin").round(2)
    array([0.5])
    >>> confidence_from_scores(p, measure="lead").round(2)
    array([0.4])
    """
    if measure not in _MEASURES:
        raise ValueError(f"measure={measure!r}; allowed are {', '.join(map(repr, _MEASURES))}.")
    first = as_confidences(scores)
    if measure == "top":
        return first
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(
            f"measure={measure!r} compares the first score with others, and scores have the shape "
            f"{table.shape}. Give the scores of at least two codes per record."
        )
    others = table[:, 1:]
    if np.isnan(others).any() or (np.diff(table, axis=1) > 0).any():
        raise ValueError("scores: a row is not sorted, the best first, or has a missing score.")
    rival = others[:, 0] if measure == "margin" else others.sum(axis=1)
    return np.clip(first - rival, 0.0, 1.0)


def _log_odds(confidences: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import logit

    return np.asarray(logit(np.clip(confidences, _EDGE, 1 - _EDGE)), dtype=np.float64)


def _fit_line(
    x: NDArray[np.float64],
    right: NDArray[np.bool_],
    weights: NDArray[np.float64] | None,
    *,
    with_intercept: bool,
) -> tuple[float, float]:
    """Fit slope and intercept of a logistic curve by maximum likelihood, the slope from 0 up."""
    from scipy.optimize import minimize
    from scipy.special import expit

    w = np.ones(len(x)) if weights is None else weights * (len(x) / weights.sum())
    n_right, n_wrong = float(w[right].sum()), float(w[~right].sum())
    # Platt's targets: without them the curve of perfectly separated rows would be a jump.
    wanted = np.where(right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    columns = np.column_stack([x, np.ones(len(x))]) if with_intercept else x[:, None]

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = columns @ line
        value = np.average(np.logaddexp(0, z) - wanted * z, weights=w)
        gradient = np.average((expit(z) - wanted)[:, None] * columns, axis=0, weights=w)
        return float(value), gradient

    bounds = [(0.0, None), (None, None)][: columns.shape[1]]
    start = np.array([1.0, 0.0])[: columns.shape[1]]
    fitted = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", tol=1e-12).x
    return float(fitted[0]), float(fitted[1]) if with_intercept else 0.0
