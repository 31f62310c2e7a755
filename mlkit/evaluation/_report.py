"""Accuracy, F1 and top-k accuracy at every level of a classification, with standard errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.classifications import Classification
from mlkit.estimate import AnyDesign, Estimate, proportion
from mlkit.evaluation._estimates import bounded, undefined
from mlkit.evaluation._inputs import (
    MISSING,
    Codes,
    Labels,
    at_levels,
    check_lengths,
    designs_by_unit,
    match,
    read_predictions,
    read_truth,
)
from mlkit.evaluation._views import with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

# Below that, intervals of macro F1 are too short: see the simulation in coding_report.
FEW_RECORDS = 20
RARE_CODES = (
    f"macro F1: some codes have fewer than {FEW_RECORDS} records, so its interval is too short"
)


@dataclass(frozen=True)
class CodingFigure:
    """One figure of a :class:`CodingReport`.

    Attributes
    ----------
    level : str
        The level of the classification.
    measure : str
        "accuracy", "top-2 accuracy" and so on, "macro F1" or "weighted F1".
    unit : str
        "records", each counted once, or "population", weighted.
    records : int
        How many records it is about: those whose true code reaches the level.
    codes : int
        How many different codes occur among them, true or predicted.
    estimate : Estimate
        The figure with its standard error and interval.
    """

    level: str
    measure: str
    unit: str
    records: int
    codes: int
    estimate: Estimate


@dataclass(frozen=True, repr=False)
class CodingReport:
    """What :func:`coding_report` found.

    Attributes
    ----------
    figures : tuple of CodingFigure
        All figures.
    records : int
        How many records were judged.
    confidence : float
        The confidence of the intervals.
    """

    figures: tuple[CodingFigure, ...]
    records: int
    confidence: float

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels, in the order in which they were asked for."""
        return tuple(dict.fromkeys(figure.level for figure in self.figures))

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures."""
        return tuple(dict.fromkeys(figure.measure for figure in self.figures))

    @property
    def units(self) -> tuple[str, ...]:
        """The units that are counted: records, and the population if there are weights."""
        return tuple(dict.fromkeys(figure.unit for figure in self.figures))

    def estimate(
        self, measure: str, *, level: str | None = None, unit: str | None = None
    ) -> Estimate:
        """Look up one figure.

        Parameters
        ----------
        measure : str
            One of :attr:`measures`.
        level : str, optional
            One of :attr:`levels`; the last by default.
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
        wanted = (level or self.levels[-1], measure, unit or self.units[-1])
        for figure in self.figures:
            if (figure.level, figure.measure, figure.unit) == wanted:
                return figure.estimate
        raise KeyError(
            f"No figure {wanted}. The levels are {self.levels}, the measures {self.measures}, "
            f"the units {self.units}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Write the report as a table.

        Returns
        -------
        DataFrame
            One row per figure: `level`, `measure`, `unit`, `records`, `codes`, `value`,
            `standard_error`, `low`, `high`, `df`, `method`.
        """
        rows = []
        for figure in self.figures:
            found = figure.estimate
            rows.append(
                {
                    "level": figure.level,
                    "measure": figure.measure,
                    "unit": figure.unit,
                    "records": figure.records,
                    "codes": figure.codes,
                    "value": found.value,
                    "standard_error": found.standard_error,
                    "low": found.low,
                    "high": found.high,
                    "df": found.df,
                    "method": found.method,
                }
            )
        return pd.DataFrame(rows)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw accuracy and macro F1 at every level, with their intervals.

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
        measures = [measure for measure in self.measures if measure != "weighted F1"]
        lines = [(measure, unit) for measure in measures for unit in self.units]
        places = np.arange(len(self.levels))
        for number, (measure, unit) in enumerate(lines):
            found = [self.estimate(measure, level=level, unit=unit) for level in self.levels]
            value, low, high = (
                np.array([getattr(one, end) for one in found]) for end in ("value", "low", "high")
            )
            ax.errorbar(
                places + 0.04 * (number - (len(lines) - 1) / 2),
                value,
                yerr=[value - low, high - value],
                color=f"C{measures.index(measure)}",
                linestyle="-" if unit == "records" else "--",
                marker="o" if unit == "records" else "s",
                capsize=3,
                label=f"{measure}, of {_of(unit)}",
            )
        ax.set_xticks(places, self.levels)
        ax.set_xlabel("level of the classification")
        ax.set_ylabel("share or score")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))  # beside: bars fill the rest
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        rows = []
        for level in self.levels:
            for unit in self.units:
                here = [f for f in self.figures if (f.level, f.unit) == (level, unit)]
                counts = {"records": f"{here[0].records:,}", "codes": f"{here[0].codes:,}"}
                shown = {f.measure: with_interval(f.estimate) for f in here}
                rows.append({"level": level, "of": _of(unit)} | counts | shown)
        notes = [note for f in self.figures for note in f.estimate.note.split("; ")]
        return (
            f"Coding of {self.records:,} records",
            pd.DataFrame(rows),
            f"In brackets: {self.confidence:.0%} intervals.",
            "; ".join(dict.fromkeys(note for note in notes if note)),
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def coding_report(
    y_true: Labels,
    y_pred: Labels,
    *,
    classification: Classification | None = None,
    sample_weight: ArrayLike | None = None,
    design: AnyDesign | None = None,
    levels: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> CodingReport:
    """Judge coding: accuracy, F1 and top-k accuracy at every level, with standard errors.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        The true codes.
    y_pred : array-like of shape (n,) or (n, k)
        The codes to judge: one per record, or the k best ones, best first. With k > 1, the
        report has the top-2 to top-k accuracy: the share of records whose true code is among
        the first 2 to k. The other measures are about the best code.
    classification : Classification, optional
        Of which the codes are, of any level. Without one, the codes are judged as they are,
        at one level named "code".
    sample_weight : array-like of shape (n,), optional
        The design weights, if nothing else is known about how the records were drawn. The
        standard errors then are valid for independent selection only.
    design : Design, optional
        How the records were drawn: weights, strata, primary units. Instead of `sample_weight`.
    levels : sequence of str, optional
        The levels of the classification to report; all by default.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    CodingReport
        One figure per level, measure and unit. Where the weights differ, there are two units:
        records and the population.

    Raises
    ------
    ValueError
        If there are no records, a label is missing, lengths differ, a code or level is unknown,
        or weights are negative, missing or all zero.
    TypeError
        If the codes are of mixed types, or neither text nor whole numbers.

    Notes
    -----
    *Target.* The figures that all records of the population would give with these predictions.

    *Levels.* At each level, those records count whose true code reaches the level; in a ragged
    classification, or where the truth is known coarsely, there are fewer of them further down.
    A predicted code that does not reach the level is wrong there.

    *Accuracy* is a proportion, with the interval of :func:`mlkit.estimate.proportion`.

    *F1 of a code* c is F_c = 2 t_c / D_c, with t_c the weighted count of its hits and D_c that of
    its true plus its predicted records. *Macro F1* is the mean of the C codes that occur, true
    or predicted, with a positive weight; *weighted F1* is their mean weighted by the true count
    T_c. Both as in scikit-learn. Their influence values, for a record with true code i and
    predicted code j, e = 1 if i = j and 0 otherwise, are, by the linearisation of Woodruff (1971),

    - macro: (2 e / D_i - F_i / D_i - F_j / D_j) / C
    - weighted: (F_i - F + T_i / D_i (2 e - F_i) - T_j / D_j F_j) / T, where F is the weighted F1.

    *When it fails.* The codes that occur are taken as given, and F1 is not linear where counts
    are small: with rare codes the macro F1 is biased and its interval too short. Simulated with
    shares of 1, 1/2, 1/3, ... of C codes and an accuracy near .8, the 95 % intervals covered
    the macro F1 of the population in these parts of 2,000 samples (600 in the last two):

    =====  =======  =====================  ========
    codes  records  records of the rarest  coverage
    =====  =======  =====================  ========
    300    500      .3                     .02
    300    3,000    1.6                    .09
    40     400      2.3                    .75
    40     800      4.7                    .90
    40     1,600    9.3                    .94
    10     400      13.7                   .94
    300    19,000   10.1                   .85
    300    38,000   20.2                   .92
    =====  =======  =====================  ========

    So where a code has fewer than 20 true records, the estimate of macro F1 says so in its
    note: take accuracy or weighted F1, or a higher level.

    A figure of records describes how such a sample would be coded, so its standard error keeps
    strata, primary units and finite population correction, and leaves out the weights.

    *Tests.* Against scikit-learn, R's survey package, brute force and the jackknife, in
    tests/test_evaluation_coding.py.

    Examples
    --------
    >>> from mlkit.evaluation.coding import coding_report
    >>> report = coding_report(["11", "11", "12", "21"], ["11", "12", "12", "21"])
    >>> report.estimate("accuracy").value
    0.75
    >>> round(report.estimate("macro F1").value, 4)
    0.7778
    """
    true, predicted = read_truth(y_true, "y_true"), read_predictions(y_pred, "y_pred")
    check_lengths(y_true=len(true), y_pred=len(predicted))
    chosen = _choose_levels(classification, levels)
    designs = designs_by_unit(len(true), sample_weight, design)
    figures: list[CodingFigure] = []
    for level, truth, guesses, size in _sides(true, predicted, classification, chosen):
        here = _Level(level, truth[:, 0], guesses, size)
        for unit, one in designs.items():
            figures += here.figures(unit, one, confidence)
    return CodingReport(tuple(figures), len(true), confidence)


@dataclass(frozen=True, eq=False)
class _Level:
    """The records at one level: true and predicted codes as places, MISSING above the level."""

    name: str
    truth: NDArray[np.intp]
    guesses: NDArray[np.intp]
    size: int

    def figures(
        self, unit: str, design: AnyDesign | None, confidence: float
    ) -> Iterator[CodingFigure]:
        reached = self.truth != MISSING
        codes = int(np.count_nonzero(sum(self._counts(reached))))
        for measure, found in self._estimates(reached, design, confidence):
            yield CodingFigure(self.name, measure, unit, int(reached.sum()), codes, found)

    def _estimates(
        self, reached: NDArray[np.bool_], design: AnyDesign | None, confidence: float
    ) -> Iterator[tuple[str, Estimate]]:
        names = ["accuracy", *(f"top-{k} accuracy" for k in range(2, self.guesses.shape[1] + 1))]
        weights = np.ones(len(reached)) if design is None else design.weights
        if not (weights * reached).any():
            nothing = undefined("no true code reaches this level", confidence)
            yield from ((name, nothing) for name in (*names, "macro F1", "weighted F1"))
            return
        domain = None if reached.all() else reached
        hit = np.zeros(len(reached), dtype=bool)
        for name, guess in zip(names, self.guesses.T, strict=True):
            hit = hit | (reached & (guess == self.truth))
            yield name, proportion(hit, design=design, domain=domain, confidence=confidence)
        for name, (value, influence) in self._f1(weights, reached).items():
            found = bounded(
                influence,
                value,
                at_least=0,
                design=design,
                domain=domain,
                confidence=confidence,
            )
            rare = name == "macro F1" and self._rarest(reached) < FEW_RECORDS
            yield name, _with_note(found, RARE_CODES) if rare else found

    def _counts(self, reached: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Count the true and the predicted records of each code."""
        # MISSING is -1: one place up, it is counted at 0 and dropped.
        true, predicted = (
            np.bincount(side[reached] + 1, minlength=self.size + 1)[1:]
            for side in (self.truth, self.guesses[:, 0])
        )
        return true, predicted

    def _rarest(self, reached: NDArray[np.bool_]) -> int:
        """Count the true records of the rarest code that occurs."""
        true, predicted = self._counts(reached)
        return int(true[true + predicted > 0].min())

    def _f1(
        self, weights: NDArray[np.float64], reached: NDArray[np.bool_]
    ) -> dict[str, tuple[float, NDArray[np.float64]]]:
        """Compute macro and weighted F1, each with its influence values (see coding_report).

        The values mean nothing outside `reached`.
        """
        size = self.size
        # One more place for "no code at this level", where nothing is ever found.
        i = np.where(reached, self.truth, size)
        j = np.where(reached & (self.guesses[:, 0] != MISSING), self.guesses[:, 0], size)
        hit = (i == j) & (i < size)
        true = _sums(i, weights, size)
        hits = _sums(i, weights * hit, size)
        both = true + _sums(j, weights, size)
        # Codes that do not occur have no F1; 0 keeps them out of every sum below.
        share = np.divide(1.0, both, out=np.zeros_like(both), where=both > 0)
        f1 = 2 * hits * share
        count = int((both > 0).sum())
        macro = float(f1.sum() / count)
        of_macro = (2 * hit * share[i] - (f1 * share)[i] - (f1 * share)[j]) / count
        total = float(true.sum())
        weighted = float(true @ f1 / total)
        slope = true * share
        of_weighted = f1[i] - weighted + slope[i] * (2 * hit - f1[i]) - (slope * f1)[j]
        return {"macro F1": (macro, of_macro), "weighted F1": (weighted, of_weighted / total)}


def _sums(places: NDArray[np.intp], weights: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Add up weights by place; nothing is added up at the last place, "no code"."""
    sums = np.bincount(places, weights, minlength=size + 1).astype(np.float64)
    sums[size] = 0
    return sums


def _choose_levels(
    classification: Classification | None, levels: Sequence[str] | None
) -> tuple[str, ...]:
    if classification is None:
        if levels is not None:
            raise ValueError("Levels are given without a classification, which would know them.")
        return ("code",)
    chosen = classification.levels if levels is None else tuple(levels)
    if isinstance(levels, str) or not chosen:
        raise ValueError(f"levels={levels!r}; give a list of levels, such as [{levels!r}].")
    for level in chosen:
        classification.codes(level)  # raises if there is no such level
    return chosen


def _sides(
    true: Codes, predicted: Codes, classification: Classification | None, levels: tuple[str, ...]
) -> Iterator[tuple[str, NDArray[np.intp], NDArray[np.intp], int]]:
    if classification is None:
        truth, guesses, size = match(true, predicted)
        return iter([(levels[0], truth, guesses, size)])
    return at_levels(true, predicted, classification, levels)


def _with_note(found: Estimate, note: str) -> Estimate:
    return replace(found, note=f"{found.note}; {note}" if found.note else note)


def _of(unit: str) -> str:
    return "records" if unit == "records" else "population (weighted)"
