"""How far two coders agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.estimate import AnyDesign, Estimate, proportion
from mlkit.evaluation._estimates import bounded, undefined
from mlkit.evaluation._inputs import Labels, check_lengths, designs_by_unit, match, read_truth
from mlkit.evaluation._views import with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


@dataclass(frozen=True, repr=False)
class Agreement:
    """What :func:`agreement` found.

    Attributes
    ----------
    agreement : Estimate
        The share on which the coders agree; of the population if there are weights.
    kappa : Estimate
        Cohen's kappa: the agreement beyond what two coders would reach who draw codes at
        random, each with their own shares. 1 is full agreement, 0 is none beyond chance. NaN
        if both coders use one and the same code throughout.
    record_agreement, record_kappa : Estimate
        The same, each record counted once.
    records : int
        How many records both coders coded.
    weighted : bool
        Whether the weights differ.
    """

    agreement: Estimate
    kappa: Estimate
    record_agreement: Estimate
    record_kappa: Estimate
    records: int
    weighted: bool

    def to_frame(self) -> pd.DataFrame:
        """Write the result as a table.

        Returns
        -------
        DataFrame
            One row per measure and unit: `measure`, `unit`, `records`, `value`,
            `standard_error`, `low`, `high`.
        """
        return pd.DataFrame(
            [
                {
                    "measure": measure,
                    "unit": unit,
                    "records": self.records,
                    "value": found.value,
                    "standard_error": found.standard_error,
                    "low": found.low,
                    "high": found.high,
                }
                for measure, unit, found in self._rows()
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw agreement and kappa with their intervals.

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
        rows = self._rows()
        for place, (_, _, found) in enumerate(rows):
            ax.plot([found.low, found.high], [place, place], color="C0")
            ax.plot(found.value, place, marker="o", color="C0")
        ax.set_yticks(range(len(rows)), [f"{measure}, of {unit}" for measure, unit, _ in rows])
        ax.invert_yaxis()
        ax.set_xlabel("agreement of the coders")
        return ax

    def _rows(self) -> list[tuple[str, str, Estimate]]:
        rows = [
            ("agreement", "records", self.record_agreement),
            ("kappa", "records", self.record_kappa),
        ]
        if self.weighted:
            rows += [
                ("agreement", "population", self.agreement),
                ("kappa", "population", self.kappa),
            ]
        return rows

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        rows = [
            {"measure": measure, "of": unit, "value": with_interval(found)}
            for measure, unit, found in self._rows()
        ]
        notes = dict.fromkeys(found.note for _, _, found in self._rows() if found.note)
        return (
            f"Agreement of two coders on {self.records:,} records",
            pd.DataFrame(rows),
            f"In brackets: {self.agreement.confidence:.0%} intervals.",
            "; ".join(notes),
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def agreement(
    coder_a: Labels,
    coder_b: Labels,
    *,
    design: AnyDesign | None = None,
    confidence: float = 0.95,
) -> Agreement:
    """Compare two coders of the same records: agreement and Cohen's kappa.

    To compare them at a higher level of a classification, climb there first, with
    :meth:`mlkit.classifications.Classification.at_level`.

    Parameters
    ----------
    coder_a, coder_b : array-like of shape (n,)
        The codes.
    design : Design, optional
        How the records were drawn.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    Agreement
        Agreement and kappa, each with its standard error.

    Raises
    ------
    ValueError
        If there are no records, a code is missing, or lengths differ.
    TypeError
        If the codes are of mixed types, or neither text nor whole numbers.

    Notes
    -----
    *Target.* The agreement of these two coders on the whole population.

    *Formula.* With p the weighted share of agreement, a_c and b_c the weighted shares of code c
    with each coder, and q = sum a_c b_c, kappa is (p - q) / (1 - q) (Cohen 1960). Its influence
    value, for a record with the codes i and j, e = 1 if they agree and 0 otherwise, is
    ((e - p)(1 - q) - (1 - p)(b_i + a_j - 2 q)) / ((1 - q)^2 W), with W the sum of the weights.
    For a simple random sample this is the standard error of Fleiss, Cohen and Everitt (1969),
    times the root of n / (n - 1).

    *When it fails.* Agreement is not accuracy: two coders may be wrong together. If they agree
    on every record, the standard error of kappa is 0, which is false; see the interval of the
    agreement. If both use one code throughout, kappa is not defined, and NaN.

    *Tests.* Against that paper's formula and the jackknife, in tests/test_evaluation_coding.py.

    Examples
    --------
    >>> from mlkit.evaluation.coding import agreement
    >>> both = agreement(["11", "11", "12", "21"], ["11", "12", "12", "21"])
    >>> both.agreement.value, round(both.kappa.value, 4)
    (0.75, 0.6364)
    """
    a, b = read_truth(coder_a, "coder_a"), read_truth(coder_b, "coder_b")
    check_lengths(coder_a=len(a), coder_b=len(b))
    left, right, size = match(a, b)
    designs = designs_by_unit(len(a), None, design)
    found = {
        unit: _compare(left[:, 0], right[:, 0], size, one, confidence)
        for unit, one in designs.items()
    }
    records = found["records"]
    return Agreement(
        *found.get("population", records), *records, len(a), weighted="population" in found
    )


def _compare(
    a: NDArray[np.intp],
    b: NDArray[np.intp],
    size: int,
    design: AnyDesign | None,
    confidence: float,
) -> tuple[Estimate, Estimate]:
    """Estimate agreement and kappa."""
    same = a == b
    agreed = proportion(same, design=design, confidence=confidence)
    weights = np.ones(len(a)) if design is None else design.weights
    total = weights.sum()
    share_a = np.bincount(a, weights, minlength=size) / total
    share_b = np.bincount(b, weights, minlength=size) / total
    p, q = float(weights @ same / total), float(share_a @ share_b)
    if np.isclose(q, 1, rtol=0, atol=1e-12):
        note = "kappa is not defined: both coders use one and the same code throughout"
        return agreed, undefined(note, agreed.confidence)
    influence = (same - p) * (1 - q) - (1 - p) * (share_b[a] + share_a[b] - 2 * q)
    kappa = bounded(
        influence / ((1 - q) ** 2 * total),
        (p - q) / (1 - q),
        at_least=-1,
        design=design,
        confidence=confidence,
    )
    return agreed, kappa
