"""Whether confidences can be taken at their word: of codes at .9, nine in ten are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.evaluation._inputs import read_correct, read_scores, read_weights
from mlkit.evaluation._views import three_decimals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False, repr=False)
class ReliabilityTable:
    """What :func:`reliability_table` found: one entry per bin that holds records.

    Attributes
    ----------
    low, high : ndarray of shape (m,)
        The bins: above `low`, up to `high`; the first one includes 0.
    records : ndarray of shape (m,)
        How many records each holds.
    mean_score, accuracy : ndarray of shape (m,)
        The mean score, and the share that is right; weighted if weights were given. NaN where
        all weights are zero.
    record_mean_score, record_accuracy : ndarray of shape (m,)
        The same, each record counted once.
    share : ndarray of shape (m,)
        The share of the records, weighted if weights were given.
    weighted : bool
        Whether weights were given.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    records: NDArray[np.intp]
    mean_score: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    record_mean_score: NDArray[np.float64]
    record_accuracy: NDArray[np.float64]
    share: NDArray[np.float64]
    weighted: bool

    @property
    def ece(self) -> float:
        """The expected calibration error: the mean gap between score and accuracy."""
        return float(self.share @ np.nan_to_num(np.abs(self.mean_score - self.accuracy)))

    def to_frame(self) -> pd.DataFrame:
        """Write the table.

        Returns
        -------
        DataFrame
            One row per bin that holds records: `low`, `high`, `records`, `record_mean_score`,
            `record_accuracy`, and, if weights were given, `population_share`,
            `population_mean_score` and `population_accuracy`.
        """
        table = {
            "low": self.low,
            "high": self.high,
            "records": self.records,
            "record_mean_score": self.record_mean_score,
            "record_accuracy": self.record_accuracy,
        }
        if self.weighted:
            table["population_share"] = self.share
            table["population_mean_score"] = self.mean_score
            table["population_accuracy"] = self.accuracy
        return pd.DataFrame(table)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw accuracy against score: points on the diagonal can be taken at their word.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        ax = axes(ax)
        ax.plot([0, 1], [0, 1], color="0.5", linestyle=":", label="as sure as right")
        ax.plot(self.record_mean_score, self.record_accuracy, marker="o", label="of records")
        if self.weighted:
            ax.plot(
                self.mean_score,
                self.accuracy,
                marker="s",
                linestyle="--",
                label="of the population (weighted)",
            )
        ax.set_xlabel("mean score")
        ax.set_ylabel("share right")
        ax.legend()
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str]:
        frame = self.to_frame()
        counts = frame["records"].map("{:,}".format)
        shown = frame.drop(columns="records").map(three_decimals)
        shown.insert(2, "records", counts)
        of = "population (weighted)" if self.weighted else "records"
        return (
            f"Reliability of the scores of {self.records.sum():,} records",
            shown,
            f"Expected calibration error, of the {of}: {self.ece:.4f}.",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def reliability_table(
    correct: Any,
    scores: ArrayLike,
    *,
    n_bins: int = 15,
    sample_weight: ArrayLike | None = None,
) -> ReliabilityTable:
    """Compare scores with accuracy, in bins of equal width.

    Parameters
    ----------
    correct : array-like of shape (n,), or pair (y_true, y_pred)
        Whether each record's best code is right, or codes to compare, as in
        :func:`production_curve`.
    scores : array-like of shape (n,) or (n, k)
        The probability that the best code is right, from 0 to 1; of k scores, best first, the
        first counts. What exceeds 0 or 1 by a rounding error is cut.
    n_bins : int, default=15
        How many bins of equal width.
    sample_weight : array-like of shape (n,), optional
        The design weights.

    Returns
    -------
    ReliabilityTable
        One entry per bin that holds records.

    Raises
    ------
    ValueError
        If there are no records, lengths differ, `correct` is neither true nor false somewhere,
        a score is missing or outside 0 to 1, `n_bins` is below 1, or weights are negative,
        missing or all zero.

    Examples
    --------
    >>> from mlkit.evaluation.coding import reliability_table
    >>> reliability_table([1, 0, 1, 1], [0.4, 0.4, 0.9, 0.8], n_bins=2).to_frame()
       low  high  records  record_mean_score  record_accuracy
    0  0.0   0.5        2               0.40              0.5
    1  0.5   1.0        2               0.85              1.0
    """
    if n_bins < 1:
        raise ValueError(f"n_bins={n_bins}; at least 1 is needed.")
    right = read_correct(correct)
    score = read_scores(scores, len(right), probabilities=True)
    weights = read_weights(sample_weight, len(right))
    edges = np.linspace(0, 1, n_bins + 1)
    place = np.searchsorted(edges[1:-1], score)  # a score on an edge belongs to the bin below
    occupied = np.bincount(place, minlength=n_bins) > 0
    ones = np.ones(len(right))

    def averages(values: NDArray[Any], by: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.bincount(place, by * values, minlength=n_bins)[occupied]
        mass = np.bincount(place, by, minlength=n_bins)[occupied]
        return np.divide(sums, mass, out=np.full_like(sums, np.nan), where=mass > 0)

    by = ones if weights is None else weights
    return ReliabilityTable(
        low=edges[:-1][occupied],
        high=edges[1:][occupied],
        records=np.bincount(place, minlength=n_bins)[occupied],
        mean_score=averages(score, by),
        accuracy=averages(right, by),
        record_mean_score=averages(score, ones),
        record_accuracy=averages(right, ones),
        share=np.bincount(place, by, minlength=n_bins)[occupied] / by.sum(),
        weighted=weights is not None,
    )


def expected_calibration_error(
    correct: Any,
    scores: ArrayLike,
    *,
    n_bins: int = 15,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Compute the mean gap between score and accuracy, over bins of equal width.

    Parameters
    ----------
    correct, scores, n_bins, sample_weight
        As in :func:`reliability_table`.

    Returns
    -------
    float
        The sum over bins of the share of the records times the absolute difference of mean
        score and accuracy; weighted if weights were given.

    Raises
    ------
    ValueError
        As :func:`reliability_table`.

    Notes
    -----
    Guo, Pleiss, Sun and Weinberger (2017), "On calibration of modern neural networks", equation
    3. It depends on the bins, and is above 0 even for perfect confidences, the more so the
    fewer records.

    Examples
    --------
    >>> from mlkit.evaluation.coding import expected_calibration_error
    >>> round(expected_calibration_error([1, 0, 1, 1], [0.4, 0.4, 0.9, 0.8], n_bins=2), 3)
    0.125
    """
    return reliability_table(correct, scores, n_bins=n_bins, sample_weight=sample_weight).ece


def brier_of_correct(
    correct: Any, scores: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the Brier score of "the best code is right".

    Parameters
    ----------
    correct, scores, sample_weight
        As in :func:`reliability_table`.

    Returns
    -------
    float
        The mean of (score - correct) squared; weighted if weights were given. Lower is better.

    Raises
    ------
    ValueError
        As :func:`reliability_table`.

    Notes
    -----
    Brier (1950), for the event that the best code is right; not the score of all codes'
    probabilities, which goes by the same name.

    Examples
    --------
    >>> from mlkit.evaluation.coding import brier_of_correct
    >>> round(brier_of_correct([1, 0], [0.9, 0.4]), 4)
    0.085
    """
    right = read_correct(correct)
    score = read_scores(scores, len(right), probabilities=True)
    weights = read_weights(sample_weight, len(right))
    return float(np.average((score - right) ** 2, weights=weights))
