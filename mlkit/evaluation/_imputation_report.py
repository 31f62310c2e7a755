"""The EUREDIT criteria: how near imputed values, their distribution and their totals come."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.editing import EditRules, RuleCheck
from mlkit.estimate import AnyDesign, Estimate, total
from mlkit.evaluation._estimates import undefined
from mlkit.evaluation._imputation_cells import (
    NO_RECORDS,
    Cells,
    Variable,
    as_frame,
    as_row,
    is_clustered,
    mean_in,
    ratio_in,
    read_variables,
    refuse_missing,
    share,
    shown,
    weights_of,
)
from mlkit.evaluation._inputs import designs_by_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Mask: TypeAlias = NDArray[np.bool_]

RECORDS = "records"
EVERYWHERE = "all"
WEIGHTED_W = "W: with weights it is no chi-square, so it is given for records only"
CLUSTERED_W = "W: a chi-square only if records were drawn independently, which the design denies"
NO_ERROR_BAR = "no standard error is known for it"
_MOST_SHOWN = 30


@dataclass(frozen=True)
class ImputationFigure:
    """One figure of an :class:`ImputationReport`.

    Attributes
    ----------
    variable : label
        The variable; "records" for figures of whole records.
    criterion : str
        "predictive", "ranking", "distributional", "estimation" or "plausibility".
    measure : str
        See :func:`imputation_report`.
    unit : str
        "records", each counted once, or "population", weighted.
    judged : int
        How many imputed cells, or records with such, it is about.
    estimate : Estimate
        The figure with its standard error and interval, where it has one.
    """

    variable: Any
    criterion: str
    measure: str
    unit: str
    judged: int
    estimate: Estimate


@dataclass(frozen=True, repr=False, eq=False)
class ImputationReport:
    """What :func:`imputation_report` found.

    Attributes
    ----------
    figures : tuple of ImputationFigure
        All figures.
    totals : DataFrame
        What imputation did to totals: one row per variable (of categories, per category) and
        domain, the first for all records (domain "all"): `variable`, `category`, `domain`,
        `imputed_cells`, `true_total`, `imputed_total`, `difference`, its `standard_error`,
        `low`, `high`, and `relative`, the difference by the true total.
    check : RuleCheck or None
        Which rules the records break after imputation.
    records : int
        How many records there are.
    cells : int
        How many cells of them were imputed.
    confidence : float
        The confidence of the intervals.
    """

    figures: tuple[ImputationFigure, ...]
    totals: pd.DataFrame
    check: RuleCheck | None
    records: int
    cells: int
    confidence: float

    @property
    def variables(self) -> tuple[Any, ...]:
        """The variables, in the order of the mask."""
        return tuple(dict.fromkeys(f.variable for f in self.figures if f.variable != RECORDS))

    @property
    def units(self) -> tuple[str, ...]:
        """The units that are counted: records, and the population if there are weights."""
        return tuple(dict.fromkeys(figure.unit for figure in self.figures))

    def estimate(self, measure: str, *, variable: Any = None, unit: str | None = None) -> Estimate:
        """Look up one figure.

        Parameters
        ----------
        measure : str
            Such as "dL1"; see :func:`imputation_report`.
        variable : label, optional
            One of :attr:`variables`. By default the only one there is; of measures of records
            ("failing", ...) it is not asked for.
        unit : str, optional
            One of :attr:`units`; by default the population if there are weights, else records.

        Returns
        -------
        Estimate
            The figure with its standard error and interval.

        Raises
        ------
        KeyError
            If the report has no such figure, or several.
        """
        unit = unit or self.units[-1]
        found = [
            figure
            for figure in self.figures
            if (figure.measure, figure.unit) == (measure, unit)
            and variable in (None, figure.variable)
        ]
        if len(found) == 1:
            return found[0].estimate
        measures = tuple(dict.fromkeys(figure.measure for figure in self.figures))
        raise KeyError(
            f"{len(found)} figures for {(measure, variable, unit)}. The measures are {measures}, "
            f"the variables {self.variables}, the units {self.units}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Write the report as a table; :attr:`totals` is another.

        Returns
        -------
        DataFrame
            One row per figure: `variable`, `criterion`, `measure`, `unit`, `judged`, `value`,
            `standard_error`, `low`, `high`, `df`, `method`, `note`.
        """
        return pd.DataFrame(
            [
                {
                    "variable": figure.variable,
                    "criterion": figure.criterion,
                    "measure": figure.measure,
                    "unit": figure.unit,
                    "judged": figure.judged,
                    **as_row(figure.estimate),
                }
                for figure in self.figures
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw by how many percent imputation moved each total.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn. Of more than 30 totals the 30 that moved most.
        """
        from mlkit.style import GREY

        ax = axes(ax)
        rows = self.totals[np.isfinite(self.totals["relative"])]
        most = rows["relative"].abs().sort_values(ascending=False, kind="stable").index
        rows = rows.loc[np.sort(most[:_MOST_SHOWN])]
        scale = 100 / rows["true_total"].abs().to_numpy()
        sign = np.sign(rows["true_total"].to_numpy())
        moved = 100 * rows["relative"].to_numpy()
        margins = np.nan_to_num((rows["high"] - rows["difference"]).to_numpy() * scale)
        places = np.arange(len(rows))
        ax.axvline(0, color=GREY, linewidth=1)
        ax.errorbar(moved, places, xerr=np.abs(sign * margins), fmt="o", capsize=2)
        names = [_name_of_total(row) for row in rows.itertuples()]
        ax.set_yticks(places, names)
        ax.invert_yaxis()
        ax.set_xlabel("imputed total minus true total, % of the true one")
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str, str]:
        rows: dict[tuple[str, str, str], dict[str, str]] = {}
        for figure in self.figures:
            key = (str(figure.variable), figure.criterion, figure.measure)
            row = rows.setdefault(key, {"variable": key[0], "criterion": key[1], "measure": key[2]})
            row[f"of {_of(figure.unit)}"] = shown(figure.estimate)
        notes = [note for f in self.figures for note in f.estimate.note.split("; ") if note]
        return (
            f"Imputation of {self.cells:,} cells in {self.records:,} records",
            pd.DataFrame(list(rows.values())),
            f"In brackets: {self.confidence:.0%} intervals.",
            f"totals has what it did to {len(self.totals):,} totals.",
            "; ".join(note for note in dict.fromkeys(notes) if note != NO_ERROR_BAR),
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def imputation_report(
    truth: Cells,
    imputed: Cells,
    mask: Cells,
    *,
    sample_weight: ArrayLike | None = None,
    design: AnyDesign | None = None,
    rules: EditRules | None = None,
    domains: ArrayLike | None = None,
    confidence: float = 0.95,
) -> ImputationReport:
    """Judge imputed values by the criteria of the EUREDIT project, weighted if need be.

    Parameters
    ----------
    truth : DataFrame of shape (n, columns), or array-like of shape (n,)
        The true values.
    imputed : the same
        The values after imputation.
    mask : DataFrame of bool of shape (n, p), or array-like of bool of shape (n,)
        Which cells were imputed. Its p columns are judged, and only where it is True; a column
        without any True is left out.
    sample_weight : array-like of shape (n,), optional
        The design weights, if nothing else is known about how the records were drawn. The
        standard errors then are valid for independent selection only.
    design : Design or ReplicateDesign, optional
        How the records were drawn: weights, strata, primary units. Instead of `sample_weight`.
    rules : EditRules, optional
        Rules that the records should keep, for plausibility.
    domains : array-like of shape (n,), optional
        The publication domain of each record: any labels. Totals are compared in each.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    ImputationReport
        Figures per variable, and totals. Where the weights differ, there are two units of
        figures: records and the population. Totals are weighted.

    Raises
    ------
    ValueError
        If there are no records, nothing was imputed, the frames are not about the same records,
        columns or record identifiers come twice, an imputed value or its truth is missing or
        infinite, a domain is missing, lengths differ, or weights are negative, missing or all 0.
    TypeError
        If the mask is not True or False, or a variable is a number on one side only.

    Notes
    -----
    Let y be the true and z the imputed value of a cell, w the weight of its record, n the number
    of imputed cells of the variable; all sums go over these.

    *Numbers.*

    - predictive: "slope" b = sum w y z / sum w z^2, of the regression of the true on the imputed
      values through the origin; "R2" = 1 - sum w (y - b z)^2 / sum w y^2, which is not centred;
      "dL1" = sum w abs(z - y) / sum w; "dL2" = sqrt(sum w (z - y)^2 / sum w);
      "dLinf" = n max(w abs(z - y)) / sum w.
    - ranking: "rank correlation", Spearman's, with weighted mid-ranks.
    - distributional: "KS", the largest gap between the weighted distribution functions of true
      and imputed values (Kolmogorov-Smirnov).
    - estimation: "m1" = abs(sum w (z - y)) / sum w; "m2" = abs(sum w (z^2 - y^2)) / sum w.

    *Categories.*

    - predictive: "D", the share that is wrong.
    - ranking, of ordered categories: "D ordinal", the mean of half of (z is not y) plus half of
      abs(place of z - place of y) / (number of categories - 1).
    - distributional: "W" and "W p", the statistic of Stuart and Maxwell and its probability if
      true and imputed shares are alike: W = (R - S)' [diag(R + S) - T - T']^-1 (R - S), with T
      the table of true by imputed categories, and R and S its margins, one category left out.
      Where that matrix has no inverse, as with categories that are never confused with the
      others, the table falls into parts: one category of each part is left out, and W has as
      many degrees of freedom (`df`) as there are categories less parts.

    *Plausibility*, of records with an imputed cell: "failing", the share that breaks a hard rule
    after imputation; "undecided", the share that breaks none but has an unknown one; "failing in
    truth", the share that breaks one with true values, as real data do.

    *Standard errors* say how the figure would vary over samples of the design, with imputation
    as it was done. Shares have the interval of :func:`mlkit.estimate.proportion`, means and
    ratios are linearised. dL2, m1 and m2 take theirs from the mean of squares or differences. R2,
    dLinf, KS, the ranks and W have none.

    *When it fails.* Predictive measures favour imputing the mean, which destroys the
    distribution: read them beside KS, m2 and the totals. dLinf is the largest of a sample, and
    grows with it. W is a chi-square only for records drawn independently and counted once, so it
    is not given for the population. What imputation adds to the standard error of a total is not
    here: see :func:`pool` and :func:`reimputation_bootstrap`.

    *Reference.* Chambers, R. (2001). Evaluation criteria for statistical editing and imputation.
    National Statistics Methodological Series 28 (formulas cited from memory; W as in Stuart
    (1955), Biometrika 42, 412-416). Spearman's correlation for ranking is our choice.

    *Tests.* Worked examples, brute force, and coverage by simulation, in
    tests/test_evaluation_imputation.py.

    Examples
    --------
    >>> from mlkit.evaluation.imputation import imputation_report
    >>> report = imputation_report(
    ...     [10, 20, 30, 40, 50], [12, 18, 33, 40, 45], [True] * 5, sample_weight=[1, 2, 1, 2, 1]
    ... )
    >>> round(report.estimate("dL1").value, 4), round(report.estimate("KS").value, 4)
    (2.0, 0.2857)
    """
    names = ("truth", "imputed", "mask")
    variables, index = read_variables(truth, imputed, mask, names)
    variables = [variable for variable in variables if variable.chosen.any()]
    if not variables:
        raise ValueError("mask is False everywhere: nothing was imputed, so nothing can be judged.")
    for variable in variables:
        _refuse_new_categories(variable)
        for side, name in ((variable.true, "truth"), (variable.other, "imputed")):
            remedy = "Leave them out of the mask, and say how many they are."
            refuse_missing(variable, side, variable.chosen, name, remedy)
    designs = designs_by_unit(len(index), sample_weight, design)
    drawn = list(designs.values())[-1]
    places, labels = _read_domains(domains, len(index))
    check = None
    figures: list[ImputationFigure] = []
    for unit, one in designs.items():
        for variable in variables:
            figures += _figures(variable, unit, one, confidence)
    if rules is not None:
        check = rules.check(as_frame(imputed, "imputed"), design=drawn)
        in_truth = rules.check(as_frame(truth, "truth"))
        touched = np.any([variable.chosen for variable in variables], axis=0)
        for unit, one in designs.items():
            figures += _plausibility(check, in_truth, touched, unit, one, confidence)
    return ImputationReport(
        tuple(figures),
        _totals(variables, places, labels, drawn, confidence),
        check,
        len(index),
        int(sum(variable.chosen.sum() for variable in variables)),
        confidence,
    )


def _refuse_new_categories(variable: Variable) -> None:
    """Refuse a value that has no place in the order."""
    ordered, new = np.split(np.array(variable.categories, object), [variable.n_ordered])
    if len(ordered) and len(new):
        raise ValueError(
            f"The column {variable.name!r} of imputed holds {new[0]!r}, which is no category of "
            f"the ordered variable in truth: {', '.join(map(str, ordered))}."
        )


def _figures(
    variable: Variable, unit: str, design: AnyDesign | None, confidence: float
) -> Iterator[ImputationFigure]:
    measures = _of_numbers if variable.numeric else _of_categories
    for criterion, measure, found in measures(variable, unit, design, confidence):
        yield ImputationFigure(
            variable.name, criterion, measure, unit, int(variable.chosen.sum()), found
        )


def _of_numbers(
    variable: Variable, unit: str, design: AnyDesign | None, confidence: float
) -> Iterator[tuple[str, str, Estimate]]:
    chosen = variable.chosen
    true, imputed = (np.where(chosen, side, 0.0) for side in (variable.true, variable.other))
    gap = imputed - true

    def average(y: Floats) -> Estimate:
        return mean_in(y, chosen, design, confidence)

    slope = ratio_in(true * imputed, imputed**2, chosen, design, confidence)
    yield "predictive", "slope", slope
    weights = weights_of(design, len(chosen))[chosen]
    y, z = true[chosen], imputed[chosen]
    plain = _describe(y, z, weights, slope.value)
    yield "predictive", "R2", _without_error(plain["R2"], confidence)
    yield "predictive", "dL1", _not_negative(average(np.abs(gap)))
    yield "predictive", "dL2", _root(average(gap**2))
    yield "predictive", "dLinf", _without_error(plain["dLinf"], confidence)
    yield "ranking", "rank correlation", _without_error(plain["ranks"], confidence)
    yield "distributional", "KS", _without_error(plain["KS"], confidence)
    yield "estimation", "m1", _absolute(average(gap))
    yield "estimation", "m2", _absolute(average(imputed**2 - true**2))


def _describe(y: Floats, z: Floats, weights: Floats, slope: float) -> dict[str, float]:
    """Compute what has no standard error; NaN where it does not exist."""
    if not weights.any():
        return dict.fromkeys(("R2", "dLinf", "ranks", "KS"), math.nan)
    squares, rest = float(weights @ y**2), float(weights @ (y - slope * z) ** 2)
    return {
        "R2": 1 - rest / squares if squares else math.nan,
        "dLinf": float(len(y) * (weights * np.abs(z - y)).max() / weights.sum()),
        "ranks": rank_correlation(y, z, weights),
        "KS": distribution_gap(y, z, weights),
    }


def _of_categories(
    variable: Variable, unit: str, design: AnyDesign | None, confidence: float
) -> Iterator[tuple[str, str, Estimate]]:
    chosen = variable.chosen
    wrong = chosen & (variable.true != variable.other)
    yield "predictive", "D", share(wrong, chosen, design, confidence, NO_RECORDS)
    if variable.n_ordered:
        steps = max(variable.n_ordered - 1, 1)
        apart = np.where(chosen, np.abs(variable.other - variable.true), 0.0) / steps
        found = mean_in((wrong + apart) / 2, chosen, design, confidence)
        yield "ranking", "D ordinal", _not_negative(found)
    if unit != RECORDS:
        for measure in ("W", "W p"):
            yield "distributional", measure, undefined(WEIGHTED_W, confidence)
        return
    size = len(variable.categories)
    cells = variable.true[chosen] * size + variable.other[chosen]
    table = np.bincount(cells.astype(np.intp), minlength=size * size).reshape(size, size)
    statistic, df, probability = stuart_maxwell(table)
    note = CLUSTERED_W if is_clustered(design) else ""
    for measure, value in (("W", statistic), ("W p", probability)):
        found = undefined(note, confidence, value=value)
        yield "distributional", measure, replace(found, df=df, method="Stuart-Maxwell")


def stuart_maxwell(table: NDArray[np.int64]) -> tuple[float, int, float]:
    """Test whether the two margins of a square table of counts are alike.

    Gives the statistic, its degrees of freedom and the probability of a larger one. The matrix
    of the statistic is the Laplacian of a graph in which two categories are joined if they were
    ever confused; it loses one rank per connected part, and so do the differences of margins,
    which add up to 0 in each part.
    """
    from scipy.sparse.csgraph import connected_components
    from scipy.special import chdtrc

    counts = table.astype(np.float64)
    size = len(counts)
    parts, part = connected_components(counts, directed=False)
    df = size - int(parts)
    if not df:
        return 0.0, 0, 1.0
    gaps = counts.sum(axis=1) - counts.sum(axis=0)
    laplacian = np.diag(counts.sum(axis=0) + counts.sum(axis=1)) - counts - counts.T
    kept = np.ones(size, dtype=bool)
    kept[np.unique(part, return_index=True)[1]] = False
    solved = np.linalg.solve(laplacian[np.ix_(kept, kept)], gaps[kept])
    statistic = float(gaps[kept] @ solved)
    return statistic, df, float(chdtrc(df, statistic))


def rank_correlation(y: Floats, z: Floats, weights: Floats) -> float:
    """Compute Spearman's correlation with weighted mid-ranks; NaN without variation."""
    a, b = (_mid_ranks(side, weights) for side in (y, z))
    a, b = (side - np.average(side, weights=weights) for side in (a, b))
    spread = float(weights @ a**2) * float(weights @ b**2)
    return float(weights @ (a * b)) / math.sqrt(spread) if spread > 0 else math.nan


def _mid_ranks(values: Floats, weights: Floats) -> Floats:
    """Give the weight below each value plus half of the weight at it."""
    _, places = np.unique(values, return_inverse=True)
    at = np.bincount(places, weights)
    ranks: Floats = (np.cumsum(at) - at / 2)[places]
    return ranks


def distribution_gap(y: Floats, z: Floats, weights: Floats) -> float:
    """Compute the largest gap between two weighted distribution functions."""
    _, places = np.unique(np.concatenate([y, z]), return_inverse=True)
    signed = np.concatenate([weights, -weights]) / weights.sum()
    return float(np.abs(np.cumsum(np.bincount(places, signed))).max())


def _plausibility(
    check: RuleCheck,
    in_truth: RuleCheck,
    touched: Mask,
    unit: str,
    design: AnyDesign | None,
    confidence: float,
) -> Iterator[ImputationFigure]:
    for measure, records in (
        ("failing", check.failing),
        ("undecided", check.undecided),
        ("failing in truth", in_truth.failing),
    ):
        found = share(records, touched, design, confidence, NO_RECORDS)
        judged = int(touched.sum())
        yield ImputationFigure(RECORDS, "plausibility", measure, unit, judged, found)


def _read_domains(
    domains: ArrayLike | None, n: int
) -> tuple[NDArray[np.intp] | None, tuple[Any, ...]]:
    if domains is None:
        return None, ()
    if np.ndim(domains) != 1 or len(np.asarray(domains)) != n:
        raise ValueError(
            f"domains has the shape {np.shape(domains)}; give one label for each of the {n:,} "
            "records."
        )
    values = domains if isinstance(domains, pd.Series) else pd.Series(domains, dtype=object)
    places, different = pd.factorize(values, sort=True)
    if (places < 0).any():
        raise ValueError(
            f"domains has {int((places < 0).sum()):,} missing labels among {n:,}. Give each record "
            "a domain, such as 'unknown'."
        )
    return places, tuple(different)


def _totals(
    variables: list[Variable],
    places: NDArray[np.intp] | None,
    labels: tuple[Any, ...],
    design: AnyDesign | None,
    confidence: float,
) -> pd.DataFrame:
    rows = []
    for variable in variables:
        for category, true, gap in _summands(variable):
            for number, label in enumerate((EVERYWHERE, *labels)):
                inside = np.asarray(places == number - 1) if number else np.ones(len(true), bool)
                head = {"variable": variable.name, "category": category, "domain": label}
                cells = {"imputed_cells": int((variable.chosen & inside).sum())}
                rows.append(head | cells | _compare(true, gap, inside, number, design, confidence))
    return pd.DataFrame(rows)


def _summands(variable: Variable) -> Iterator[tuple[Any, Floats, Floats]]:
    """Give what is added up to a total: true values, and what imputation changed."""
    if variable.numeric:
        gap = np.where(variable.chosen, variable.other - variable.true, 0.0)
        yield None, np.nan_to_num(variable.true), gap
        return
    for place, category in enumerate(variable.categories):
        true, imputed = ((side == place).astype(float) for side in (variable.true, variable.other))
        yield category, true, np.where(variable.chosen, imputed - true, 0.0)


def _compare(
    true: Floats,
    gap: Floats,
    inside: Mask,
    domain: int,
    design: AnyDesign | None,
    confidence: float,
) -> dict[str, float]:
    weights = weights_of(design, len(true)) * inside
    before, change = float(weights @ true), float(weights @ gap)
    if len(true) > 1 and weights.any():
        found = total(gap, design=design, domain=inside if domain else None, confidence=confidence)
    else:
        found = undefined(NO_RECORDS, confidence)
    return {
        "true_total": before,
        "imputed_total": before + change,
        "difference": change,
        "standard_error": found.standard_error,
        "low": found.low,
        "high": found.high,
        "relative": change / before if before else math.nan,
    }


def _without_error(value: float, confidence: float) -> Estimate:
    return undefined(NO_ERROR_BAR, confidence, value=value)


def _not_negative(found: Estimate) -> Estimate:
    """Cut the interval of a mean of distances."""
    return replace(found, low=max(found.low, 0.0))


def _root(found: Estimate) -> Estimate:
    """Turn an estimated mean of squares, with its interval, into its root."""
    value = math.sqrt(found.value) if found.value >= 0 else math.nan
    error = found.standard_error / (2 * value) if value else found.standard_error
    low, high = (math.sqrt(max(end, 0.0)) for end in found.interval)
    return replace(found, value=value, standard_error=error, low=low, high=high)


def _absolute(found: Estimate) -> Estimate:
    """Turn an estimate, with its interval, into its absolute value."""
    low, high = sorted(abs(end) for end in found.interval)
    low = 0.0 if found.low <= 0 <= found.high else low
    return replace(found, value=abs(found.value), low=low, high=high)


def _name_of_total(row: Any) -> str:
    parts = [row.variable, row.category, None if row.domain == EVERYWHERE else row.domain]
    return ", ".join(str(part) for part in parts if part is not None and part == part)


def _of(unit: str) -> str:
    return "records" if unit == "records" else "population (weighted)"
