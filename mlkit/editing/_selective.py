"""Selective editing: the records that a clerk must see, so that the published total is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.editing._check import _as_design
from mlkit.editing._score_inputs import as_amount, check_index, check_same_records, read_numbers
from mlkit.estimate import AnyDesign, Design, Estimate, total

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from mlkit.editing._score_inputs import Floats, Places

Combine: TypeAlias = Literal["max", "sum", "euclid"]

_MOST_SHOWN = 10  # records or variables in a view
_MOST_LINES = 5  # variables in a figure


@dataclass(frozen=True, repr=False, eq=False)
class EditingCurve:
    """What is left wrong in each total after editing the first k records, for every k.

    Attributes
    ----------
    variables : tuple of str
        The p variables.
    expected : ndarray of shape (n + 1, p)
        The expected error that is left after editing the k records with the highest scores, as a
        share of the reference total: its sign says whether the published total is too high. Row 0
        is no editing, row n all.
    largest : ndarray of shape (n + 1, p)
        The same if no two errors cancelled: the sum of the scores that are left.
    true : ndarray of shape (n + 1, p) or None
        The error that is left in truth, as a share of the true total, if the truth was given.
    selected : int
        How many records are selected.
    threshold : float
        The share that may be left.
    """

    variables: tuple[str, ...]
    expected: Floats
    largest: Floats
    true: Floats | None
    selected: int
    threshold: float

    def to_frame(self) -> pd.DataFrame:
        """Write the curve as a table.

        Returns
        -------
        DataFrame
            One row per number of edited records and variable: `records`, `share`, `variable`,
            `expected`, `largest` and, if the truth was given, `true`.
        """
        rows, p = self.expected.shape
        records = np.repeat(np.arange(rows), p)
        table = {
            "records": records,
            "share": records / (rows - 1),
            "variable": np.tile(np.array(self.variables, dtype=object), rows),
            "expected": self.expected.ravel(),
            "largest": self.largest.ravel(),
        }
        if self.true is not None:
            table["true"] = self.true.ravel()
        return pd.DataFrame(table)

    def needed(self, threshold: float) -> int:
        """Count the records to edit so that less than a share is left in every total, and stays.

        By the true errors if the truth was given, else by the expected ones.

        Parameters
        ----------
        threshold : float
            The share that may be left.

        Returns
        -------
        int
            The number of records.
        """
        left = self.expected if self.true is None else self.true
        return _cut_off(left, _share(threshold))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw what is left wrong against the share of records edited.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn: the true error if the truth was given, with the expected one
            dashed; of more than five variables those with most left before editing. The band is
            what may be left, the vertical line the records selected. What editing in random order
            would leave is dotted, for the first variable. The axis is squeezed (symmetric
            logarithm) where errors are large beside the band.
        """
        from matplotlib.ticker import PercentFormatter

        from mlkit.style import BLACK, GREY

        ax = axes(ax)
        n = len(self.expected) - 1
        left = self.expected if self.true is None else self.true
        # The interesting part lies left: what follows is nearly flat.
        last = n if not self.selected else min(n, max(3 * self.selected, 20))
        rows = np.unique(np.linspace(0, last, 1_000).astype(int))
        start = np.abs(left[0])
        shown = np.argsort(-start, kind="stable")[:_MOST_LINES]
        for place in shown:
            (line,) = ax.plot(rows / n, left[rows, place], label=self.variables[place])
            if self.true is not None:
                ax.plot(rows / n, self.expected[rows, place], color=line.get_color(), ls="--", lw=1)
        random = left[0, shown[0]] * (1 - rows / n)
        ax.plot(rows / n, random, color=GREY, ls=":", label="in random order")
        if self.true is not None:
            ax.plot([], [], color=GREY, ls="--", lw=1, label="as expected")
        ax.axhspan(-self.threshold, self.threshold, color=GREY, alpha=0.25, lw=0)
        ax.axvline(self.selected / n, color=BLACK, lw=1)
        above = ax.get_xaxis_transform()
        ax.text(self.selected / n, 1.01, f"{self.selected:,} selected", transform=above, size=10)
        if start.max() > 20 * self.threshold:  # or what may be left would be a hair's breadth
            ax.set_yscale("symlog", linthresh=self.threshold)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set_xlabel("share of records edited")
        kind = "expected error" if self.true is None else "error"
        ax.set_ylabel(f"{kind} left in the total")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str]:
        n = len(self.expected) - 1
        counts = [0, *(round(share * n) for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)), n]
        counts = sorted({*counts, self.selected})
        rows = []
        for k in counts:
            worst = int(np.argmax(np.abs((self.expected if self.true is None else self.true)[k])))
            row = {
                "records edited": f"{k:,} ({k / n:.1%})" + (" *" if k == self.selected else ""),
                "expected error left": f"{self.expected[k, worst]:+,.2%}",
                "if nothing cancelled": f"{self.largest[k, worst]:,.2%}",
            }
            if self.true is not None:
                row["true error left"] = f"{self.true[k, worst]:+,.2%}"
            if len(self.variables) > 1:
                row["worst in"] = self.variables[worst]
            rows.append(row)
        return (
            f"Error left in the total after editing, of {n:,} records",
            pd.DataFrame(rows),
            f"* as selected, for a threshold of {self.threshold:.2%}.",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


@dataclass(frozen=True, repr=False, eq=False)
class SelectiveScores:
    """What :func:`selective_scores` found.

    Attributes
    ----------
    local : DataFrame of shape (n, p)
        The local scores: by what share of the reference total the value may move it.
    score : Series of shape (n,)
        The global scores.
    rank : Series of int, of shape (n,)
        1 for the highest global score; ties by record identifier.
    selected : Series of bool, of shape (n,)
        The records to edit.
    totals : Series of shape (p,)
        The reference totals.
    threshold : float
        The share of each total that may be left wrong, by expectation.
    combine : str
        How local scores were combined.
    """

    local: pd.DataFrame
    score: pd.Series[Any]
    rank: pd.Series[Any]
    selected: pd.Series[Any]
    totals: pd.Series[Any]
    threshold: float
    combine: str
    _observed: Floats  # (n, p), NaN where missing
    _signed: Floats  # (n, p), expected errors as shares of the totals
    _order: Places  # the record of each rank
    _weights: Floats
    _sampling_errors: Floats | None  # as shares of the totals

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables, as they were named."""
        return tuple(map(str, self.local.columns))

    def to_frame(self) -> pd.DataFrame:
        """Write the scores as a table, in the order of the records.

        Returns
        -------
        DataFrame
            One row per record: `rank`, `selected`, `score`, and the local score of each variable
            as `score of <variable>`.
        """
        table = pd.DataFrame({"rank": self.rank, "selected": self.selected, "score": self.score})
        names = {name: f"score of {name}" for name in self.local.columns}
        return pd.concat([table, self.local.rename(columns=names)], axis=1)

    def summary(self) -> pd.DataFrame:
        """Say of each variable what is left when the selected records are edited.

        Returns
        -------
        DataFrame
            One row per variable: `total` (the reference total), `before` (its expected error
            without editing), `left` (with it) and `largest_left` (if no errors cancelled), all
            three as shares of the total; `missing`, values that have no score; and, if the design
            tells it, `sampling_error`: the standard error of the total of the anticipated values,
            as a share, against which an error that is left may be weighed.
        """
        k = int(self.selected.sum())
        curve = self.curve()
        table = pd.DataFrame(
            {
                "variable": self.variables,
                "total": self.totals.to_numpy(),
                "before": curve.expected[0],
                "left": curve.expected[k],
                "largest_left": curve.largest[k],
                "missing": np.isnan(self._observed).sum(axis=0),
            }
        )
        if self._sampling_errors is not None:
            table["sampling_error"] = self._sampling_errors
        return table

    def curve(self, truth: pd.DataFrame | pd.Series[Any] | None = None) -> EditingCurve:
        """Say what is left wrong in each total after editing more and more records.

        Parameters
        ----------
        truth : DataFrame, Series or array-like of shape (n, p) or (n,), optional
            The true values, as a simulation or a fully edited period knows them. Editing is taken
            to find them. Where the observed value is missing nothing is edited.

        Returns
        -------
        EditingCurve
            The curve, for 0 to n records.

        Raises
        ------
        ValueError, TypeError
            If the truth is not about the same records and variables, has a missing value where
            one was observed, or adds up to 0.
        """
        expected = _left(self._signed[self._order])
        largest = _left(self.local.to_numpy()[self._order])
        true = None if truth is None else _left(self._true_errors(truth)[self._order])
        selected = int(self.selected.sum())
        return EditingCurve(self.variables, expected, largest, true, selected, self.threshold)

    def _true_errors(self, truth: Any) -> Floats:
        table = _read_table(truth, "truth")
        _check_same_table(self.local, table, "observed and truth")
        values = _numbers(table)
        known = ~np.isnan(self._observed)
        _refuse_gaps(values, known, "truth", "true")
        weights = self._weights[:, None]
        totals = (weights * np.where(known, values, 0)).sum(axis=0)
        if (totals == 0).any():
            name = self.variables[int(np.flatnonzero(totals == 0)[0])]
            raise ValueError(f"The true total of {name} is 0, so that no share of it exists.")
        errors: Floats = weights * np.where(known, self._observed - values, 0) / np.abs(totals)
        return errors

    def estimate_left(
        self,
        checked: pd.DataFrame | pd.Series[Any],
        *,
        design: Design | None = None,
        variable: str | None = None,
        of: Literal["share", "total"] = "share",
        confidence: float = 0.95,
    ) -> Estimate:
        """Estimate the error left in a total, from a clerk's check of records not selected.

        The expected error rests on the anticipated values, and nothing tells from them whether
        they are right. So draw a probability sample of the records that are not selected, have a
        clerk edit them as carefully as the others, and let the sample speak.

        Parameters
        ----------
        checked : DataFrame or Series
            The values that the clerk found, one row per checked record, with the records'
            identifiers as index; columns as in `observed`.
        design : Design, optional
            How the records were drawn **from those not selected**: weights are the number of
            them for which each checked record stands. By default a simple random sample of them.
        variable : str, optional
            Which variable; needed if there are several.
        of : {"share", "total"}, default="share"
            The error as a share of the reference total, or in units of the variable.
        confidence : float, default=0.95
            The confidence of the interval.

        Returns
        -------
        Estimate
            The error that is left in the published total: above 0 where it is too high.

        Raises
        ------
        KeyError
            If the variable is unknown, or a checked record is.
        ValueError
            If a checked record was selected, comes twice or has no value where one was observed;
            if the design is not about the checked records, or `of` is neither.

        Notes
        -----
        Method sheet:

        - *Target*: B = sum over the records not selected of w (observed - true), the design
          weights w and the records in hand being given: the sampling error of the survey itself
          is not part of it.
        - *Design*: any probability sample of these records, with weights d.
        - *Formula*: sum over the sample of d w (observed - checked), with the variance of
          :func:`mlkit.estimate.total`; a record without observed value counts as 0.
        - *Assumption*: the clerk finds the true value.
        - *Fails* for rare errors: a sample without any says 0, and its note says not to believe
          it; a share of p of wrong records needs 3 / p checked ones to show any in 95 of 100
          samples. With few wrong records in the sample intervals cover too seldom: about .91
          with 30, .65 with 2. Draw more where errors are larger, by strata of size or score.
        - *Test*: coverage by simulation, in ``tests/test_selective.py``.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from mlkit.editing import selective_scores
        >>> rng = np.random.default_rng(1)
        >>> true = pd.Series(rng.lognormal(5, 1, 2_000), name="turnover")
        >>> observed = true * np.where(rng.random(2_000) < 0.3, 1.05, 1)  # with VAT
        >>> scores = selective_scores(observed, observed)  # "as expected": nothing to edit
        >>> int(scores.selected.sum())
        0
        >>> sample = rng.choice(true.index, 400, replace=False)
        >>> print(scores.estimate_left(true[sample]))
        0.0153 (standard error 0.0014; 95 % interval 0.0125 to 0.0180)
        """
        if of not in ("share", "total"):
            raise ValueError(f"of={of!r}; allowed are 'share' and 'total'.")
        place = self._place(variable)
        table = _read_table(checked, "checked")
        if len(self.variables) == 1 and table.shape[1] == 1:
            column = table.iloc[:, 0]
        else:
            if self.local.columns[place] not in table.columns:
                raise KeyError(f"checked has no column {self.variables[place]}.")
            column = table[self.local.columns[place]]
        rows = self._rows_of(table.index)
        observed, found = self._observed[rows, place], _numbers(column.to_frame())[:, 0]
        known = ~np.isnan(observed)
        _refuse_gaps(found[:, None], known[:, None], "checked", "checked")
        error = np.where(known, self._weights[rows] * (observed - found), 0.0)
        if of == "share":
            error = error / abs(self.totals.iloc[place])
        left = int((~self.selected).sum())
        if design is None:
            design = Design(weights=np.full(len(rows), left / len(rows)), fpc=left)
        return total(error, design=design, confidence=confidence)

    def _place(self, variable: str | None) -> int:
        names = list(self.local.columns)
        if variable is None and len(names) == 1:
            return 0
        if variable not in names:
            raise KeyError(f"variable={variable!r}; name one of {', '.join(self.variables)}.")
        return names.index(variable)

    def _rows_of(self, index: pd.Index[Any]) -> Places:
        rows = self.local.index.get_indexer(index)
        if (rows < 0).any():
            unknown = index[rows < 0]
            raise KeyError(
                f"{len(unknown):,} of {len(index):,} checked records are unknown, such as "
                f"{unknown[0]!r}. Give the identifiers of the records as index."
            )
        twice = self.selected.to_numpy()[rows]
        if twice.any():
            raise ValueError(
                f"{int(twice.sum()):,} of {len(index):,} checked records were selected, such as "
                f"{index[twice][0]!r}. They are edited anyway: draw from the others, "
                "scores.selected[~scores.selected]."
            )
        return rows

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the expected error that is left against the share of records edited.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn; see :meth:`EditingCurve.plot`.
        """
        return self.curve().plot(ax)

    def _view(self) -> tuple[str, pd.DataFrame, str, str, str]:
        k, n = int(self.selected.sum()), len(self.local)
        figures = self.summary()
        wide = pd.DataFrame({"total of": figures["variable"].astype(str)})
        wide["reference"] = [as_amount(value) for value in figures["total"]]
        for name, words in (
            ("before", "expected error unedited"),
            ("left", "left"),
            ("largest_left", "left if nothing cancelled"),
            ("sampling_error", "sampling error"),
        ):
            if name in figures:
                wide[words] = [f"{value:,.2%}" for value in figures[name]]
        first = ", ".join(str(label) for label in self.local.index[self._order[:_MOST_SHOWN]])
        missing = int(figures["missing"].sum())
        return (
            f"Selective editing: {k:,} of {n:,} records to edit ({k / n:.1%}), so that less than "
            f"{self.threshold:.2%} of each total is left wrong",
            wide,
            f"Highest scores ({self.combine}): {first}{', ...' if n > _MOST_SHOWN else ''}.",
            "What is left is expected from the anticipated values, not known: have a sample of the "
            "other records checked, and use estimate_left.",
            f"{missing:,} missing values have no score: impute them." if missing else "",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def selective_scores(
    observed: pd.DataFrame | pd.Series[Any] | ArrayLike,
    anticipated: pd.DataFrame | pd.Series[Any] | ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    design: AnyDesign | None = None,
    totals: pd.Series[Any] | None = None,
    risk: pd.DataFrame | pd.Series[Any] | ArrayLike | None = None,
    combine: Combine = "max",
    threshold: float = 0.01,
) -> SelectiveScores:
    """Rank records by what their errors may do to the published totals, and say whom to edit.

    Most errors of a survey cancel or do not matter; a few move the total. A score is risk times
    influence: how likely the value is wrong, times by how much it would move the total if it was.
    Clerks then edit from the top down, until little is left.

    Parameters
    ----------
    observed : DataFrame, Series or array-like of shape (n, p) or (n,)
        The values as reported, with a row per record and a column per published variable; the
        index identifies the records. A missing value has no score: it is imputed, not edited.
    anticipated : DataFrame, Series or array-like of shape (n, p) or (n,)
        What would be expected without errors: last period's edited value times the growth of the
        class, the median of the class, or a prediction. It must not follow the errors themselves.
    sample_weight : array-like of shape (n,), optional
        The design weights. Give these or `design`.
    design : Design or ReplicateDesign, optional
        How the sample was drawn; then the sampling error of each total is shown beside the error
        that is left.
    totals : Series of shape (p,), optional
        The reference totals by variable, such as last period's published ones. By default the
        weighted totals of the anticipated values.
    risk : DataFrame, Series or array-like of shape (n,) or (n, p), optional
        The probability that a value is wrong, from 0 to 1, as from a classifier trained on past
        edits or a contamination model. By default 1: any difference is taken for an error.
    combine : {"max", "sum", "euclid"}, default="max"
        How the local scores of a record become its global score: the largest ("max"; no total is
        neglected), their sum (records that move several totals come first), or the root of the
        sum of their squares ("euclid", in between).
    threshold : float, default=0.01
        The share of each total that may be left wrong, by expectation.

    Returns
    -------
    SelectiveScores
        Scores, ranks, and the records to edit.

    Raises
    ------
    ValueError
        If there are no records, identifiers come twice, the tables are not about the same records
        and variables, an anticipated value is missing, values are infinite, a reference total is
        0 or missing, a risk is no probability, weights are negative, missing or all 0, or
        `combine` or `threshold` is out of range.
    TypeError
        If values are not numbers.

    Notes
    -----
    Local score of value y of variable j in record i: risk w abs(y - anticipated) / abs(T_j). The
    records are ordered by global score, ties by identifier. E_j(k) is the sum, over the records
    after the first k, of risk w (y - anticipated) / abs(T_j), with signs, so that errors cancel
    as they do in the total. Selected are the first k records, k being the smallest number from
    which on abs(E_j) stays below the threshold for every j.

    Source: the score and the selection are those of R's SeleMix, `sel.edit` (manual, t.sel =
    0.01), whose model of contamination makes the anticipated values and the risk: here they come
    from wherever you have them. On risk and influence, and on max, sum and Euclid: De Waal,
    Pannekoek and Scholtus 2011, Handbook of Statistical Data Editing and Imputation; Hedlin 2003,
    Score functions to reduce business survey editing at the U.K. Office for National Statistics,
    Journal of Official Statistics 19(2) (both cited from memory).

    It fails where anticipated values share the error (all report with VAT, and the prediction was
    trained on that): then nothing is expected to be left, and much is. Only a checked sample
    shows it: :meth:`SelectiveScores.estimate_left`. Totals of domains need scores of their own:
    score each domain with its own totals.

    Examples
    --------
    >>> import pandas as pd
    >>> from mlkit.editing import selective_scores
    >>> last_year = pd.Series({"a": 120, "b": 300, "c": 80, "d": 500}, name="turnover")
    >>> now = pd.Series({"a": 125, "b": 300000, "c": 70, "d": 480}, name="turnover")
    >>> scores = selective_scores(now, last_year, sample_weight=[10, 2, 10, 1], threshold=0.05)
    >>> scores.to_frame().round(3)
       rank  selected    score  score of turnover
    a     3     False    0.016              0.016
    b     1      True  193.355            193.355
    c     2     False    0.032              0.032
    d     4     False    0.006              0.006
    """
    if combine not in get_args(Combine):
        allowed = ", ".join(map(repr, get_args(Combine)))
        raise ValueError(f"combine={combine!r}; allowed are {allowed}.")
    _share(threshold)
    seen, expected = _read_table(observed, "observed"), _read_table(anticipated, "anticipated")
    expected = _check_same_table(seen, expected, "observed and anticipated")
    values, predicted = _numbers(seen), _numbers(expected)
    _refuse_gaps(predicted, np.ones_like(predicted, dtype=bool), "anticipated", "anticipated")
    drawn = _as_design(sample_weight, design, len(seen))
    weights = np.ones(len(seen)) if drawn is None else drawn.weights
    reference = _read_totals(totals, seen.columns, weights @ predicted)
    chances = _read_risk(risk, seen)
    difference = np.nan_to_num(values - predicted)  # a missing value is expected as anticipated
    signed = chances * weights[:, None] * difference / np.abs(reference)
    local = np.abs(signed)
    score = _combine(local, combine)
    order = _ranking(score, seen.index)
    k = _cut_off(_left(signed[order]), threshold)
    rank = np.empty(len(seen), dtype=np.int64)
    rank[order] = np.arange(1, len(seen) + 1)
    return SelectiveScores(
        pd.DataFrame(local, index=seen.index, columns=seen.columns),
        pd.Series(score, index=seen.index, name="score"),
        pd.Series(rank, index=seen.index, name="rank"),
        pd.Series(rank <= k, index=seen.index, name="selected"),
        pd.Series(reference, index=seen.columns, name="total"),
        float(threshold),
        combine,
        values,
        signed,
        order,
        weights,
        None if design is None else _sampling_errors(predicted, design, reference),
    )


def _combine(local: Floats, combine: Combine) -> Floats:
    if combine == "max":
        found: Floats = local.max(axis=1)
    elif combine == "sum":
        found = local.sum(axis=1)
    else:
        found = np.sqrt((local**2).sum(axis=1))
    return found


def _ranking(score: Floats, index: pd.Index[Any]) -> Places:
    """Order records by falling score; ties by identifier, whatever the order of the rows."""
    if isinstance(index, pd.RangeIndex) and index.step > 0:
        by_identifier = np.arange(len(score))
    else:
        try:
            by_identifier = index.argsort()
        except TypeError:  # identifiers of several types have no order but as text
            by_identifier = index.astype(str).argsort()
    return by_identifier[np.argsort(-score[by_identifier], kind="stable")]


def _left(errors: Floats) -> Floats:
    """Add up what is left after the first k of ordered errors, for k from 0 to n."""
    left = np.zeros((len(errors) + 1, errors.shape[1]))
    left[:-1] = np.cumsum(errors[::-1], axis=0)[::-1]
    return left


def _cut_off(left: Floats, threshold: float) -> int:
    """Find the first k from which on everything that is left stays below the threshold."""
    above = np.flatnonzero((np.abs(left) >= threshold).any(axis=1))
    return int(above[-1]) + 1 if len(above) else 0


def _sampling_errors(values: Floats, design: AnyDesign, totals: Floats) -> Floats:
    errors = [total(column, design=design).standard_error for column in values.T]
    found: Floats = np.array(errors) / np.abs(totals)
    return found


def _share(threshold: float) -> float:
    if not 0 < threshold < 1:
        raise ValueError(f"threshold={threshold}; allowed is a share of the total, such as 0.01.")
    return float(threshold)


def _read_table(values: Any, name: str) -> pd.DataFrame:
    """Read a table with a column per variable."""
    if isinstance(values, pd.DataFrame):
        table = values
    elif isinstance(values, pd.Series):
        table = values.to_frame(name if values.name is None else values.name)
    else:
        shape = np.shape(values)
        if len(shape) not in (1, 2):
            raise ValueError(f"{name} has the shape {shape}; allowed are (n,) and (n, p).")
        table = pd.DataFrame(values)
        table.columns = pd.Index(["value"] if len(shape) == 1 else map(str, range(shape[1])))
    if not len(table.columns):
        raise ValueError(f"{name} has no columns. Give at least one variable.")
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise ValueError(f"{name} has more than one column named {twice!r}. Rename them.")
    check_index(table.index, name)
    return table


def _numbers(table: pd.DataFrame) -> Floats:
    return np.column_stack([read_numbers(table[name]) for name in table.columns])


def _check_same_table(first: pd.DataFrame, second: pd.DataFrame, names: str) -> pd.DataFrame:
    """Refuse tables of other records or variables; give the second the columns of the first."""
    check_same_records(first.index, second.index, names)
    if first.shape[1] == second.shape[1] == 1:  # one variable, whatever it is called
        return second
    lacking = [name for name in first.columns if name not in second.columns]
    if lacking:
        raise ValueError(
            f"{names} have other columns: the latter lacks {', '.join(map(str, lacking))}. Give "
            "both for the same variables."
        )
    return second[first.columns]


def _refuse_gaps(values: Floats, needed: Any, name: str, what: str) -> None:
    gaps = np.isnan(values) & needed
    if gaps.any():
        raise ValueError(
            f"{name} has {int(gaps.sum()):,} missing values where one is needed. Give each a "
            f"{what} value, such as the median of its class, or leave the records out."
        )


def _read_totals(totals: Any, columns: pd.Index[Any], default: Floats) -> Floats:
    if totals is None:
        found = default
    else:
        if not isinstance(totals, pd.Series):
            raise TypeError(
                f"totals is a {type(totals).__name__}; give a Series of the totals by variable."
            )
        lacking = [str(name) for name in columns if name not in totals.index]
        if lacking:
            raise ValueError(f"totals has no {', '.join(lacking)}. Give one total per variable.")
        found = totals[columns].to_numpy(dtype=np.float64)
    bad = ~np.isfinite(found) | (found == 0)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"The reference total of {columns[place]} is {found[place]:g}; a share of it does not "
            "exist. Give another with totals=, such as last period's."
        )
    return found


def _read_risk(risk: Any, seen: pd.DataFrame) -> Floats:
    if risk is None:
        return np.ones((len(seen), 1))
    table = _read_table(risk, "risk")
    if isinstance(risk, (pd.Series, pd.DataFrame)):
        check_same_records(seen.index, table.index, "observed and risk")
    if len(table) != len(seen) or table.shape[1] not in (1, seen.shape[1]):
        raise ValueError(
            f"risk has the shape {table.shape} for {len(seen):,} records and {seen.shape[1]} "
            "variables. Give one column, or one per variable."
        )
    if isinstance(risk, pd.DataFrame):
        table = _check_same_table(seen, table, "observed and risk") if len(table.T) > 1 else table
    values = _numbers(table)
    outside = ~((values >= 0) & (values <= 1))
    if outside.any():
        raise ValueError(
            f"risk has {int(outside.sum()):,} values that are missing or not from 0 to 1, such as "
            f"{values[outside][0]:g}; it is the probability that a value is wrong."
        )
    return values
