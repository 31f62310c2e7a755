"""The share coded automatically against its accuracy."""

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


@dataclass(frozen=True)
class CurvePoint:
    """One point of a :class:`ProductionCurve`: what coding from a threshold up would give.

    Attributes
    ----------
    threshold : float
        Records with this score or a higher one are coded automatically. Infinite if none is.
    production : float
        The share coded automatically; weighted if the curve is.
    accuracy : float
        The share of these that is right; weighted if the curve is. NaN if none is coded.
    records : int
        How many records are coded automatically.
    """

    threshold: float
    production: float
    accuracy: float
    records: int


@dataclass(frozen=True, eq=False, repr=False)
class ProductionCurve:
    """What :func:`production_curve` found: one point per different score, from the highest down.

    Attributes
    ----------
    thresholds : ndarray of shape (m,)
        The different scores, falling.
    production : ndarray of shape (m,)
        The share with this score or a higher one; weighted if weights were given.
    accuracy : ndarray of shape (m,)
        The share of these that is right; weighted if weights were given. NaN as long as only
        records of weight 0 are coded.
    record_production, record_accuracy : ndarray of shape (m,)
        The same, each record counted once: what the clerks will notice.
    records : ndarray of shape (m,)
        How many records are coded automatically.
    aurc : float
        The area under the risk-coverage curve: the error rate (1 - accuracy) at each record's
        own threshold, averaged over the records (weighted if weights were given). Lower is
        better; random scores give the overall error rate.
    weighted : bool
        Whether weights were given.
    """

    thresholds: NDArray[np.float64]
    production: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    record_production: NDArray[np.float64]
    record_accuracy: NDArray[np.float64]
    records: NDArray[np.intp]
    aurc: float
    weighted: bool

    def at(
        self,
        *,
        threshold: float | None = None,
        production: float | None = None,
        accuracy: float | None = None,
    ) -> CurvePoint:
        """Read one point off the curve. Give one of the three.

        What is read off here describes these records. It is no guarantee for others: a
        threshold chosen as the best of a sample looks better there than it is. Certify it
        on other records.

        Parameters
        ----------
        threshold : float, optional
            Code the records with this score or a higher one.
        production : float, optional
            Code at least this share, and as little more as the ties allow.
        accuracy : float, optional
            Code as large a share as possible with at least this accuracy.

        Returns
        -------
        CurvePoint
            The point. If no point has the accuracy, or no score reaches the threshold: no
            production, at an infinite threshold or at the one given.

        Raises
        ------
        ValueError
            If not exactly one of the three is given, or it is out of range.

        Examples
        --------
        >>> from mlkit.evaluation.coding import production_curve
        >>> curve = production_curve([1, 1, 0, 1], [0.9, 0.8, 0.8, 0.5])
        >>> curve.at(production=0.5).production  # the two records at 0.8 cannot be told apart
        0.75
        """
        asked = {"threshold": threshold, "production": production, "accuracy": accuracy}
        given = {name: value for name, value in asked.items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                f"Give one of threshold, production and accuracy; given {given or 'none'}."
            )
        name, value = next(iter(given.items()))
        if np.isnan(value) or (name != "threshold" and not 0 <= value <= 1):
            raise ValueError(f"{name}={value}; a share lies between 0 and 1, and NaN is no number.")
        if name == "threshold":
            return self._point(int((self.thresholds >= value).sum()) - 1, value)
        # Shares are quotients of sums: allow for their rounding.
        if name == "production":
            return self._point(int((self.production < value - 1e-12).sum()), np.inf)
        good = np.flatnonzero(self.accuracy >= value - 1e-12)
        return self._point(int(good[-1]) if len(good) else -1, np.inf)

    def to_frame(self) -> pd.DataFrame:
        """Write the curve as a table.

        Returns
        -------
        DataFrame
            One row per threshold: `threshold`, `records`, `record_production`,
            `record_accuracy`, and, if weights were given, `population_production` and
            `population_accuracy`.
        """
        table = {
            "threshold": self.thresholds,
            "records": self.records,
            "record_production": self.record_production,
            "record_accuracy": self.record_accuracy,
        }
        if self.weighted:
            table["population_production"] = self.production
            table["population_accuracy"] = self.accuracy
        return pd.DataFrame(table)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw accuracy against the share coded automatically.

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
        # A few points are marked: between them lie ties, and no threshold reaches there.
        marker = "o" if len(self.thresholds) <= 50 else None
        ax.plot(self.record_production, self.record_accuracy, marker=marker, label="of records")
        if self.weighted:
            ax.plot(
                self.production,
                self.accuracy,
                linestyle="--",
                marker=marker,
                label="of the population (weighted)",
            )
        ax.set_xlim(0, 1)
        ax.set_xlabel("share coded automatically")
        ax.set_ylabel("accuracy of these codes")
        ax.legend()
        return ax

    def _point(self, place: int, empty_threshold: float) -> CurvePoint:
        """Make a point of a place on the curve; -1 stands before the first one."""
        if place < 0:
            return CurvePoint(empty_threshold, 0.0, float("nan"), 0)
        return CurvePoint(
            float(self.thresholds[place]),
            float(self.production[place]),
            float(self.accuracy[place]),
            int(self.records[place]),
        )

    def _view(self) -> tuple[str, pd.DataFrame, str]:
        rows = []
        for share in (0.5, 0.7, 0.8, 0.9, 1.0):
            point = self.at(production=share)
            rows.append(
                {
                    "share asked for": f"{share:.0%}",
                    "threshold": f"{point.threshold:.3f}",
                    "share coded": three_decimals(point.production),
                    "accuracy": three_decimals(point.accuracy),
                    "records": f"{point.records:,}",
                }
            )
        counted = "population (weighted)" if self.weighted else "records"
        return (
            f"Production curve of {self.records[-1]:,} records",
            pd.DataFrame(rows),
            f"Shares and accuracy are of the {counted}. "
            f"Area under the risk-coverage curve: {self.aurc:.4f}.",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def production_curve(
    correct: Any, scores: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> ProductionCurve:
    """Weigh the share coded automatically against its accuracy.

    Records with a score from some threshold up are coded automatically; clerks code the rest.
    Records with equal scores cannot be told apart, so they are coded together: the order of the
    rows does not matter, and no point of the curve is out of reach.

    Parameters
    ----------
    correct : array-like of shape (n,), or pair (y_true, y_pred)
        Whether each record's best code is right: True or 1, False or 0. A tuple of true codes
        and predicted ones, shape (n,) or (n, k), is compared.
    scores : array-like of shape (n,) or (n, k)
        How sure the best code is, in any unit: the higher, the surer. Of k scores, best first,
        the first counts. For the margin, give ``scores[:, 0] - scores[:, 1]``.
    sample_weight : array-like of shape (n,), optional
        The design weights.

    Returns
    -------
    ProductionCurve
        One point per different score.

    Raises
    ------
    ValueError
        If there are no records, lengths differ, `correct` is neither true nor false somewhere,
        a score is missing or infinite, or weights are negative, missing or all zero.

    Notes
    -----
    This is the risk-coverage curve of selective classification (El-Yaniv and Wiener 2010), the
    production rate being the coverage and 1 - accuracy the risk. With ties, the area under it
    is the mean over blocks of equal scores, each with its share of the records. Without ties
    it is the mean of the n risks (Geifman and others 2019).

    Examples
    --------
    >>> from mlkit.evaluation.coding import production_curve
    >>> curve = production_curve([1, 1, 0, 1], [0.9, 0.8, 0.8, 0.5])
    >>> curve.to_frame()
       threshold  records  record_production  record_accuracy
    0        0.9        1               0.25         1.000000
    1        0.8        3               0.75         0.666667
    2        0.5        4               1.00         0.750000
    """
    right = read_correct(correct)
    score = read_scores(scores, len(right))
    weights = read_weights(sample_weight, len(right))
    rising, block = np.unique(score, return_inverse=True)
    ones = np.ones(len(right))
    records, production, accuracy = _cumulate(ones, right, block)
    record_production, record_accuracy = production, accuracy
    if weights is not None:
        _, production, accuracy = _cumulate(weights, right, block)
    # An accuracy is missing only where nothing is coded yet, which has no share in the area.
    risk = np.nan_to_num(1 - accuracy)
    return ProductionCurve(
        thresholds=rising[::-1],
        production=production,
        accuracy=accuracy,
        record_production=record_production,
        record_accuracy=record_accuracy,
        records=records.astype(np.intp),
        aurc=float(np.diff(production, prepend=0) @ risk),
        weighted=weights is not None,
    )


def _cumulate(
    weights: NDArray[np.float64], right: NDArray[np.bool_], block: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Add up blocks of equal scores from the highest down: weight, its share, its accuracy."""
    coded = np.cumsum(np.bincount(block, weights)[::-1], dtype=np.float64)
    hits = np.cumsum(np.bincount(block, weights * right)[::-1], dtype=np.float64)
    accuracy = np.divide(hits, coded, out=np.full_like(coded, np.nan), where=coded > 0)
    return coded, coded / coded[-1], accuracy
