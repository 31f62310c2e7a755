"""What short-lists are worth: how many hold the true code, and how long they are."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import axes
from mlkit.coding._certificate import percent
from mlkit.coding._checks import as_design
from mlkit.coding._short_lists import ShortLists, read_automatic, read_truth
from mlkit.estimate import Estimate, mean, proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from mlkit.classifications import Classification
    from mlkit.estimate import AnyDesign

ALL, CLERK = "all records", "clerk cases"
COVERAGE, MEAN_LENGTH = "coverage", "mean length"

_SHOWN = 5  # groups in a view


@dataclass(frozen=True)
class ShortListFigure:
    """One figure of a :class:`ShortListReport`.

    Attributes
    ----------
    cases : str
        "all records" or "clerk cases".
    group : str
        The code that the true codes belong to; "" for all.
    measure : str
        "coverage": the share of lists that hold the true code; or "mean length": the mean
        number of codes on a list.
    records : int
        How many records it is about.
    estimate : Estimate
        The figure with its standard error and interval.
    """

    cases: str
    group: str
    measure: str
    records: int
    estimate: Estimate


@dataclass(frozen=True, repr=False)
class ShortListReport:
    """What :func:`short_list_report` found.

    Attributes
    ----------
    figures : tuple of ShortListFigure
        All figures.
    records : int
        How many records were judged.
    coverage : float or None
        The coverage that was asked for; None for top-k lists.
    note : str
        How the lists were made, and what is promised of them.
    """

    figures: tuple[ShortListFigure, ...]
    records: int
    coverage: float | None
    note: str

    def estimate(self, measure: str, *, cases: str | None = None, group: str = "") -> Estimate:
        """Look up one figure.

        Parameters
        ----------
        measure : {"coverage", "mean length"}
            What is measured.
        cases : {"clerk cases", "all records"}, optional
            By default clerk cases, if the report knows them.
        group : str, default=""
            One of the groups of the report; all by default.

        Returns
        -------
        Estimate
            The figure with its standard error and interval.

        Raises
        ------
        ValueError
            If there is no such figure.

        Examples
        --------
        >>> from mlkit.coding import top_k_lists
        >>> lists = top_k_lists([["11", "12"], ["21", "11"]], [[0.6, 0.3], [0.5, 0.4]], k=1)
        >>> short_list_report(["12", "21"], lists).estimate("coverage").value
        0.5
        """
        found = {(f.cases, f.group, f.measure): f.estimate for f in self.figures}
        if cases is None:
            cases = self.figures[-1].cases
        if (cases, group, measure) not in found:
            known = ", ".join(map(repr, found))
            raise ValueError(
                f"There is no figure {(cases, group, measure)!r} of cases, group and measure; "
                f"there are {known}."
            )
        return found[cases, group, measure]

    def to_frame(self) -> pd.DataFrame:
        """Write the report as a table.

        Returns
        -------
        DataFrame
            One row per figure: `cases`, `group`, `measure`, `records`, `value`,
            `standard_error`, `low`, `high`, `note`.
        """
        names = ("value", "standard_error", "low", "high", "note")
        return pd.DataFrame(
            [
                {"cases": f.cases, "group": f.group, "measure": f.measure, "records": f.records}
                | {name: getattr(f.estimate, name) for name in names}
                for f in self.figures
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the coverage with its interval, and the mean length as text; lowest groups first.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            Where it was drawn.
        """
        from mlkit.style import GREY

        ax = axes(ax)
        rows = self._rows(groups=20)
        for place, (_, _, coverage, length) in enumerate(rows):
            ax.plot([coverage.low, coverage.high], [place, place], color="C0")
            ax.plot(coverage.value, place, marker="o", color="C0")
            ax.annotate(
                f"{length.value:.1f} codes", (coverage.value, place), (0, 6),
                textcoords="offset points", ha="center", fontsize="small",
            )  # fmt: skip
        if self.coverage is not None:
            ax.axvline(self.coverage, color=GREY, linestyle="--", label="asked for")
            ax.legend()
        ax.set_yticks(range(len(rows)), [name for name, *_ in rows])
        ax.set_ylim(len(rows) - 0.5, -0.7)
        ax.set_xlabel("lists that hold the true code")
        return ax

    def _rows(self, groups: int) -> list[tuple[str, int, Estimate, Estimate]]:
        """Give name, records, coverage and length of all, and of the groups covered least."""
        found = {(f.cases, f.group, f.measure): f for f in self.figures}
        rows = []
        for (cases, group, measure), figure in found.items():
            if measure == COVERAGE:
                length = found[cases, group, MEAN_LENGTH].estimate
                name = f"{cases}, {group}" if group else cases
                rows.append((group, (name, figure.records, figure.estimate, length)))
        worst = sorted((row for row in rows if row[0]), key=lambda row: row[1][2].value)
        return [row for group, row in rows if not group] + [row for _, row in worst[:groups]]

    def _view(self) -> tuple[str, pd.DataFrame, list[str]]:
        rows = self._rows(groups=_SHOWN)
        table = pd.DataFrame(
            {
                "cases": [name for name, *_ in rows],
                "records": [f"{records:,}" for _, records, *_ in rows],
                "hold the true code": [_with_interval(one, 3) for _, _, one, _ in rows],
                "mean length": [_with_interval(one, 2) for *_, one in rows],
            }
        )
        notes = [f"In brackets: {percent(rows[0][2].confidence)} intervals."]
        left_out = len({f.group for f in self.figures if f.group}) - _SHOWN
        if left_out > 0:
            notes.append(f"Of the groups, those covered least; {left_out:,} more in to_frame().")
        # The notes of single groups are in to_frame().
        about_all = dict.fromkeys(f.estimate.note for f in self.figures if not f.group)
        return f"Short-lists of {self.records:,} records", table, [self.note, *notes, *about_all]

    def __repr__(self) -> str:
        title, table, notes = self._view()
        return "\n".join([title, table.to_string(index=False), *filter(None, notes)])

    def _repr_html_(self) -> str:
        title, table, notes = self._view()
        below = "".join(f"<p>{html.escape(note)}</p>" for note in notes if note)
        body = table.to_html(index=False, border=0, justify="left")
        return f"<p><strong>{html.escape(title)}</strong></p>{body}{below}"


def short_list_report(
    y_true: Any,
    lists: ShortLists,
    *,
    automatic: ArrayLike | None = None,
    classification: Classification | None = None,
    level: str | None = None,
    sample_weight: ArrayLike | None = None,
    design: AnyDesign | None = None,
    confidence: float = 0.95,
) -> ShortListReport:
    """Judge short-lists: how many hold the true code, and how long they are.

    Both where it matters: clerks see only what is not coded automatically, and there lists
    hold the true code less often, and are longer, than over all records.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        The true codes of records on which the lists were not calibrated.
    lists : ShortLists
        Their lists.
    automatic : array-like of bool, of shape (n,), optional
        The records that are coded without a clerk, such as ``certificate.automatic(scores)``.
        The report then has the clerk cases as well as all records.
    classification : Classification, optional
        Of which the codes are.
    level : str, optional
        A level of it: the report then has a group for each code there, to which true codes
        belong, among the clerk cases if `automatic` is given. True codes above the level are in
        no group.
    sample_weight : array-like of shape (n,), optional
        The weights with which the records were drawn from those to be coded, valid for
        independent selection only. Clerks' work counts records: leave out survey weights, which
        count people, unless it is the people you ask about.
    design : Design or ReplicateDesign, optional
        How the records were drawn. Instead of `sample_weight`.
    confidence : float, default=0.95
        The confidence of each interval.

    Returns
    -------
    ShortListReport
        Coverage and mean length.

    Raises
    ------
    ValueError
        If there are no records, lengths differ, a true code is missing or unknown to the
        classification, all records are automatic, one of `classification` and `level` is
        given without the other, or weights are not valid.
    TypeError
        If `lists` are no ShortLists, or a code is neither text nor a whole number.

    Notes
    -----
    Coverage is a :func:`mlkit.estimate.proportion`, the mean length a
    :func:`mlkit.estimate.mean`; the clerk cases and the groups are domains.

    *When it fails.* Records on which the lists were calibrated are covered as promised by
    construction: judge on others. The interval is about these lists, calibrated once; the
    promise of :class:`ConformalShortLists` is about the average of all calibrations, so a small
    calibration sample may leave a coverage a little below it, as said there. Each group has an
    interval of its own: about 1 of 20 misses.

    Examples
    --------
    >>> from mlkit.coding import top_k_lists
    >>> codes = [["11", "12"], ["11", "21"], ["21", "12"], ["12", "11"]]
    >>> scores = [[0.9, 0.1], [0.5, 0.4], [0.4, 0.3], [0.6, 0.3]]
    >>> lists = top_k_lists(codes, scores, k=2)
    >>> report = short_list_report(
    ...     ["11", "21", "11", "12"], lists, automatic=[True, False, False, False]
    ... )
    >>> report.estimate("coverage", cases="all records").value
    0.75
    >>> round(report.estimate("coverage", cases="clerk cases").value, 4)
    0.6667
    """
    if not isinstance(lists, ShortLists):
        raise TypeError(
            f"lists is a {type(lists).__name__}; give ShortLists, such as top_k_lists makes of "
            "codes and scores."
        )
    if not len(lists):
        raise ValueError("There are no lists. Give at least one record.")
    if (classification is None) != (level is None):
        raise ValueError("Groups need both: give classification and level, or neither.")
    truth = read_truth(y_true, len(lists))
    drawn = as_design(sample_weight, design, len(lists))
    mask = read_automatic(automatic, len(lists))
    everyone = np.ones(len(lists), dtype=bool)
    by_cases = {ALL: everyone} if mask is None else {ALL: everyone, CLERK: ~mask}
    parts = [(cases, "", domain) for cases, domain in by_cases.items()]
    if classification is not None and level is not None:
        cases, domain = list(by_cases.items())[-1]
        above = pd.Series(classification.at_level(truth, level), dtype=object)
        parts += [
            (cases, str(group), domain & (above == group).to_numpy())
            for group in sorted(above[domain].dropna().unique())
        ]
    weights = np.ones(len(lists)) if drawn is None else drawn.weights
    hit, lengths = lists.contains(truth), lists.lengths
    figures = [
        ShortListFigure(cases, group, measure, int(domain.sum()), found)
        for cases, group, domain in parts
        if not group or weights[domain].any()
        for measure, found in _figures(hit, lengths, domain, drawn, confidence).items()
    ]
    return ShortListReport(tuple(figures), len(lists), lists.coverage, lists.note)


def _figures(
    hit: NDArray[np.bool_],
    lengths: NDArray[np.intp],
    domain: NDArray[np.bool_],
    design: AnyDesign | None,
    confidence: float,
) -> dict[str, Estimate]:
    covered = proportion(hit, design=design, domain=domain, confidence=confidence)
    if len(hit) == 1:
        value, nan = float(lengths[0]), float("nan")
        length = Estimate(value, nan, nan, nan, confidence, 0, "none", "one record")
    else:
        length = mean(lengths, design=design, domain=domain, confidence=confidence)
        if np.ptp(lengths[domain]) == 0:
            length = replace(length, note="every list has this length")
    return {COVERAGE: covered, MEAN_LENGTH: length}


def _with_interval(estimate: Estimate, digits: int) -> str:
    value, low, high = (
        f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high)
    )
    return value if low == high or np.isnan(estimate.low) else f"{value} ({low} to {high})"
