"""How good is error detection: which errors are found, and what do the others do to totals.

Truth, observed data and flags are data frames with the same records in the same order; the
columns of the flags are the variables that are judged. Flags are what
:func:`mlkit.editing.localise_errors` gives as ``fields``, or any other frame of True and False.
One variable can be given as a Series or an array, too.

Refused with a ValueError or TypeError that says what to do: no records, frames of different
records, repeated columns or record identifiers, flags that are not True or False, infinite
numbers, numbers on one side and text on the other, a truth that is missing where something was
observed, and weights that are negative, missing or all zero.

**Two kinds of figures.** Those *of records* count each record once: they are about the work of
editing. Those *of the population* are weighted: they are about the published statistic. Where
the weights differ between records, results show both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.estimate import AnyDesign, Estimate, proportion
from mlkit.evaluation._estimates import undefined
from mlkit.evaluation._imputation_cells import (
    Cells,
    Variable,
    as_row,
    ratio_in,
    read_variables,
    refuse_missing,
    share,
    weights_of,
)
from mlkit.evaluation._inputs import designs_by_unit
from mlkit.evaluation._views import with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = ["DetectionFigure", "DetectionReport", "detection_report"]

ALL = "all variables"
NO_ERROR = "there are no errors that could be missed"
NO_CORRECT = "there is nothing correct that could be flagged"
NO_VALUE = "no values were observed"
UNSETTLED = (
    "RER: unsettled whether the range is that of all remaining errors, as here, or of those that "
    "are not 0; the second is given as RER (not 0)"
)
SHRINKS = "RRASE shrinks with the square root of the number of records: compare equal sizes only"


@dataclass(frozen=True)
class DetectionFigure:
    """One figure of a :class:`DetectionReport`.

    Attributes
    ----------
    variable : label
        The variable; "all variables" for figures of all of them.
    level : str
        "cells", or "records": a record is wrong if any of its cells is, and flagged if any is.
    measure : str
        "alpha", "beta", "delta", "Dcat", "RAE", "RRASE", "RER" or "RER (not 0)".
    unit : str
        "records", each counted once, or "population", weighted.
    judged : int
        How many cells or records it is about.
    estimate : Estimate
        The figure with its standard error and interval, where it has one.
    """

    variable: Any
    level: str
    measure: str
    unit: str
    judged: int
    estimate: Estimate


@dataclass(frozen=True, repr=False)
class DetectionReport:
    """What :func:`detection_report` found.

    Attributes
    ----------
    figures : tuple of DetectionFigure
        All figures.
    records : int
        How many records were judged.
    errors : int
        How many of their cells are wrong.
    missing : int
        How many cells were not observed, and so are left out.
    confidence : float
        The confidence of the intervals.
    """

    figures: tuple[DetectionFigure, ...]
    records: int
    errors: int
    missing: int
    confidence: float

    @property
    def variables(self) -> tuple[Any, ...]:
        """The variables, in the order of the flags."""
        return tuple(dict.fromkeys(f.variable for f in self.figures if f.variable != ALL))

    @property
    def units(self) -> tuple[str, ...]:
        """The units that are counted: records, and the population if there are weights."""
        return tuple(dict.fromkeys(figure.unit for figure in self.figures))

    def estimate(
        self, measure: str, *, variable: Any = ALL, level: str = "cells", unit: str | None = None
    ) -> Estimate:
        """Look up one figure.

        Parameters
        ----------
        measure : str
            "alpha", "beta" or "delta"; of a variable also "RAE", "RRASE", "RER" and
            "RER (not 0)" for numbers, "Dcat" for categories.
        variable : label, optional
            One of :attr:`variables`; all of them together by default.
        level : {"cells", "records"}, default="cells"
            Count cells, or records with any cell.
        unit : str, optional
            One of :attr:`units`; by default the population if there are weights, else records.

        Returns
        -------
        Estimate
            The figure with its standard error and interval.

        Raises
        ------
        KeyError
            If the report has no such figure.
        """
        wanted = (variable, level, measure, unit or self.units[-1])
        for figure in self.figures:
            if (figure.variable, figure.level, figure.measure, figure.unit) == wanted:
                return figure.estimate
        measures = tuple(dict.fromkeys(figure.measure for figure in self.figures))
        raise KeyError(
            f"No figure {wanted}. The variables are {(ALL, *self.variables)}, the levels 'cells' "
            f"and, of all variables, 'records', the measures {measures}, the units {self.units}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Write the report as a table.

        Returns
        -------
        DataFrame
            One row per figure: `variable`, `level`, `measure`, `unit`, `judged`, `value`,
            `standard_error`, `low`, `high`, `df`, `method`, `note`.
        """
        return pd.DataFrame(
            [
                {
                    "variable": figure.variable,
                    "level": figure.level,
                    "measure": figure.measure,
                    "unit": figure.unit,
                    "judged": figure.judged,
                    **as_row(figure.estimate),
                }
                for figure in self.figures
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw which part of the errors is missed, and of the correct values flagged.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn: of the population if there are weights, else of records.
        """
        ax = axes(ax)
        names = (*self.variables, ALL)
        for number, (measure, words) in enumerate(
            (("alpha", "errors missed (alpha)"), ("beta", "correct values flagged (beta)"))
        ):
            found = [self.estimate(measure, variable=name) for name in names]
            value, low, high = (
                np.array([getattr(one, end) for one in found]) for end in ("value", "low", "high")
            )
            ax.errorbar(
                value,
                np.arange(len(names)) + 0.16 * (number - 0.5),
                xerr=np.nan_to_num([value - low, high - value]),
                fmt="os"[number],
                capsize=2,
                label=words,
            )
        ax.set_yticks(np.arange(len(names)), [str(name) for name in names])
        ax.invert_yaxis()
        ax.set_xlim(left=0)
        ax.set_xlabel(f"share, {_of(self.units[-1])}")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str, str]:
        rows: dict[tuple[str, str, str], dict[str, str]] = {}
        for figure in self.figures:
            key = (str(figure.variable), figure.level, figure.unit)
            row = rows.setdefault(
                key, {"variable": key[0], "level": key[1], "of": _of(figure.unit)}
            )
            row[figure.measure] = with_interval(figure.estimate)
        notes = [note for f in self.figures for note in f.estimate.note.split("; ") if note]
        left_out = f"; {self.missing:,} cells were not observed" if self.missing else ""
        return (
            f"Detection of {self.errors:,} wrong cells in {self.records:,} records{left_out}",
            pd.DataFrame(list(rows.values())).fillna(""),
            "alpha: errors missed, of the errors; beta: correct values flagged, of the correct; "
            "delta: wrong decisions, of all.",
            f"In brackets: {self.confidence:.0%} intervals.",
            "; ".join(dict.fromkeys(notes)),
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def detection_report(
    truth: Cells,
    observed: Cells,
    flags: Cells,
    *,
    sample_weight: ArrayLike | None = None,
    design: AnyDesign | None = None,
    confidence: float = 0.95,
) -> DetectionReport:
    """Judge error detection: missed errors, false alarms, and what remains in the totals.

    Parameters
    ----------
    truth : DataFrame of shape (n, columns), or array-like of shape (n,)
        The true values.
    observed : the same
        The values as they were observed, errors among them.
    flags : DataFrame of bool of shape (n, p), or array-like of bool of shape (n,)
        Which cells were found to be wrong. Its p columns are judged.
    sample_weight : array-like of shape (n,), optional
        The design weights, if nothing else is known about how the records were drawn. The
        standard errors then are valid for independent selection only.
    design : Design or ReplicateDesign, optional
        How the records were drawn: weights, strata, primary units. Instead of `sample_weight`.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    DetectionReport
        Figures per variable, of all variables, and of records. Where the weights differ, there
        are two units: records and the population.

    Raises
    ------
    ValueError
        If there are no records, the frames are not about the same ones, columns or record
        identifiers come twice, a number is infinite, the truth is missing where something was
        observed, lengths differ, or weights are negative, missing or all zero.
    TypeError
        If flags are not True or False, or a variable is a number on one side only.

    Notes
    -----
    *Target.* The figures that all records of the population would give with this detection.

    *Missing values.* A cell without an observed value needs no detection, so that it is left out
    here, flagged or not, and counted in ``missing``.

    *Shares.* A cell is wrong if the observed value differs from the true one at all. alpha is the
    share of the wrong cells that are not flagged, beta the share of the correct ones that are,
    delta the share of all cells on which the decision is wrong. The same of records, which are
    wrong, or flagged, if any of their cells is. Of one variable, and of records, they are
    proportions with the interval of :func:`mlkit.estimate.proportion`. Of all variables they are
    ratios of counts per record, as the cells of a record are not independent
    (:func:`mlkit.estimate.ratio`); at 0 or 1 the interval is that of the share of records.

    *What remains.* Let Y be the true value, and Z the value after editing: the true one where it
    is flagged, else the observed one; D = Z - Y. With w the weight,

    - RAE = sum w D / sum w Y, with an interval, as it is a ratio of totals;
    - RRASE = sqrt(sum w D^2) / sum w Y;
    - RER = (max D - min D) / (upper quartile - lower quartile of Y), unweighted, with quartiles
      interpolated linearly;
    - Dcat, of categories: the share of values that are wrong after editing.

    *When it fails.* RRASE shrinks with the square root of the number of records, so that only
    samples of equal size compare. Whether RER takes the range of all D, as here, or of those that
    are not 0, is not settled: both are given, and where one error remains the second is 0.
    Errors of opposite sign cancel in RAE. A flag counts as if it led to the true value, which
    imputation does not reach: see :func:`mlkit.evaluation.imputation.imputation_report`.

    *Reference.* Chambers, R. (2001). Evaluation criteria for statistical editing and imputation.
    National Statistics Methodological Series 28 (the EUREDIT project; formulas cited from memory).

    *Tests.* A worked example, brute force, and coverage by simulation, in
    tests/test_evaluation_editing.py.

    Examples
    --------
    One of three errors is missed, which leaves 4 too much in a total of 49:

    >>> from mlkit.evaluation.editing import detection_report
    >>> truth = [5, 7, 9, 10, 3, 4, 6, 5]
    >>> observed = [5, 7, 9, 100, 3, 8, 6, 50]
    >>> flags = [False, True, False, True, False, False, False, True]
    >>> report = detection_report(truth, observed, flags)
    >>> round(report.estimate("alpha").value, 4), report.estimate("beta").value
    (0.3333, 0.2)
    >>> round(report.estimate("RAE", variable="value").value, 4)
    0.0816
    """
    names = ("truth", "observed", "flags")
    variables, index = read_variables(truth, observed, flags, names)
    for variable in variables:
        refuse_missing(
            variable,
            variable.true,
            ~np.isnan(variable.other),
            "truth",
            "Give the true value; where none applies, a value of its own, such as 0 or 'none'.",
        )
    designs = designs_by_unit(len(index), sample_weight, design)
    judged = [_Judged.of(variable) for variable in variables]
    figures = [
        figure
        for unit, one in designs.items()
        for figure in _figures(judged, unit, one, confidence)
    ]
    return DetectionReport(
        tuple(figures),
        len(index),
        int(sum(one.wrong.sum() for one in judged)),
        int(sum((~one.given).sum() for one in judged)),
        confidence,
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """A variable: which cells were observed, are wrong, and are flagged."""

    variable: Variable
    given: Mask
    wrong: Mask
    flagged: Mask

    @classmethod
    def of(cls, variable: Variable) -> _Judged:
        given = ~np.isnan(variable.other)
        wrong = given & (variable.other != variable.true)
        return cls(variable, given, wrong, given & variable.chosen)

    def remaining(self) -> Floats:
        """Give what editing leaves of the error."""
        missed = self.wrong & ~self.flagged
        return np.where(missed, self.variable.other - self.variable.true, 0.0)


def _figures(
    judged: list[_Judged], unit: str, design: AnyDesign | None, confidence: float
) -> Iterator[DetectionFigure]:
    for one in judged:
        cells = one.given, one.wrong, one.flagged
        for measure, count, found in _decisions(*cells, design, confidence):
            yield DetectionFigure(one.variable.name, "cells", measure, unit, count, found)
        for measure, found in _influence(one, design, confidence):
            count = int(one.given.sum())
            yield DetectionFigure(one.variable.name, "cells", measure, unit, count, found)
    given, wrong, flagged = (
        np.stack([getattr(one, name) for one in judged], axis=1)
        for name in ("given", "wrong", "flagged")
    )
    for measure, count, found in _decisions_of_all(given, wrong, flagged, design, confidence):
        yield DetectionFigure(ALL, "cells", measure, unit, count, found)
    any_given, any_wrong, any_flagged = (
        np.asarray(cells.any(axis=1)) for cells in (given, wrong, flagged)
    )
    for measure, count, found in _decisions(any_given, any_wrong, any_flagged, design, confidence):
        yield DetectionFigure(ALL, "records", measure, unit, count, found)


def _decisions(
    given: Mask, wrong: Mask, flagged: Mask, design: AnyDesign | None, confidence: float
) -> Iterator[tuple[str, int, Estimate]]:
    for measure, mistake, among, nobody in _kinds(given, wrong, flagged):
        found = share(mistake, among, design, confidence, nobody)
        yield measure, int(among.sum()), found


def _decisions_of_all(
    given: Mask, wrong: Mask, flagged: Mask, design: AnyDesign | None, confidence: float
) -> Iterator[tuple[str, int, Estimate]]:
    for measure, mistake, among, nobody in _kinds(given, wrong, flagged):
        mistakes = (mistake & among).sum(axis=1).astype(np.float64)
        cells = among.sum(axis=1).astype(np.float64)
        found = _share_of_cells(mistakes, cells, design, confidence, nobody)
        yield measure, int(among.sum()), found


def _kinds(given: Mask, wrong: Mask, flagged: Mask) -> Iterator[tuple[str, Mask, Mask, str]]:
    """Give each kind of mistake, and among what it is counted."""
    yield "alpha", ~flagged, wrong, NO_ERROR
    yield "beta", flagged, given & ~wrong, NO_CORRECT
    yield "delta", wrong != flagged, given, NO_VALUE


def _share_of_cells(
    mistakes: Floats, cells: Floats, design: AnyDesign | None, confidence: float, nobody: str
) -> Estimate:
    """Estimate a share of cells, which come in records."""
    domain = cells > 0
    seen = domain & (weights_of(design, len(cells)) > 0)
    if not seen.any():
        return undefined(nobody, confidence)
    if (mistakes[seen] == 0).all() or (mistakes[seen] == cells[seen]).all():
        # A ratio without variation has no standard error; the share of records has an interval,
        # and its value is the same.
        return proportion(mistakes > 0, design=design, domain=domain, confidence=confidence)
    found = ratio_in(mistakes, cells, domain, design, confidence)
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def _influence(
    one: _Judged, design: AnyDesign | None, confidence: float
) -> Iterator[tuple[str, Estimate]]:
    if not one.variable.numeric:
        missed = one.wrong & ~one.flagged
        yield "Dcat", share(missed, one.given, design, confidence, NO_VALUE)
        return
    remaining, true = one.remaining(), np.where(one.given, one.variable.true, 0.0)
    yield "RAE", ratio_in(remaining, true, one.given, design, confidence)
    weights = weights_of(design, len(true))
    total = float(weights @ true)
    root = float(np.sqrt(weights @ remaining**2))
    yield "RRASE", undefined(SHRINKS, confidence, value=root / total if total else np.nan)
    for measure, errors in (
        ("RER", remaining[one.given]),
        ("RER (not 0)", remaining[remaining != 0]),
    ):
        value = _range_by_quartiles(errors, one.variable.true[one.given])
        yield measure, undefined(UNSETTLED, confidence, value=value)


def _range_by_quartiles(errors: Floats, true: Floats) -> float:
    if not len(true):
        return np.nan
    low, high = np.percentile(true, [25, 75])
    if high == low:
        return np.nan
    return float(np.ptp(errors) / (high - low)) if len(errors) else 0.0


def _of(unit: str) -> str:
    return "records" if unit == "records" else "population (weighted)"
