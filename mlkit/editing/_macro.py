"""Macro editing: totals against last period, and the records that move them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.editing._outliers import effects, quartiles_by
from mlkit.editing._score_inputs import (
    Groups,
    as_amount,
    as_label,
    check_index,
    cross,
    read_numbers,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mlkit.editing._score_inputs import Floats, Mask, Places

ALL = "all"
_FEW_CELLS = 10  # fewer ratios of cells tell no usual change
_MOST_SHOWN = 15  # rows in a view
_MOST_BARS = 10  # records in a figure

# What a record is to a cell: how it comes to be in it, and whether its values are known.
STAYED, BIRTH, DEATH, MOVED_IN, MOVED_OUT, NO_VALUE_NOW, NO_VALUE_BEFORE = range(7)
_STATUSES = np.array(
    ["stayed", "birth", "death", "moved in", "moved out", "no value now", "no value before"],
    dtype=object,
)


@dataclass(frozen=True, eq=False)
class _Period:
    """One period's records, read: a row per record."""

    index: pd.Index[Any]
    numbers: Floats  # (n, variables), NaN where missing
    weights: Floats
    shared: Mask  # whether the record is in the other period

    @property
    def amounts(self) -> Floats:
        """What each record adds to the totals; a missing value adds nothing."""
        found: Floats = np.nan_to_num(self.numbers) * self.weights[:, None]
        return found


@dataclass(frozen=True, eq=False)
class _Level:
    """A classification level: the cell of each record in both periods."""

    name: str
    cells: pd.Index[Any]
    now: Places
    before: Places


@dataclass(frozen=True, repr=False, eq=False)
class DrillDown:
    """The records behind the change of one total: what :meth:`TotalsComparison.drill_down` found.

    Attributes
    ----------
    variable, level : str
        The total: its variable and classification level.
    cell : label
        Its cell.
    current, previous : float
        The total in both periods.
    records : DataFrame
        One row per record that is in the cell in either period, indexed by its identifier, the
        largest contribution (without sign) first: `status`, `previous`, `current` (values in this
        cell, NaN where there is none), `previous_weight`, `current_weight`, `contribution` and
        `share`, of the difference. Contributions add up to the difference.
    """

    variable: str
    level: str
    cell: Any
    current: float
    previous: float
    records: pd.DataFrame

    @property
    def difference(self) -> float:
        """The current total minus the previous one."""
        return self.current - self.previous

    def by_status(self) -> pd.DataFrame:
        """Say how much births, deaths, moves and the records that stayed contribute.

        Returns
        -------
        DataFrame
            One row per status that occurs: `status`, `records`, `contribution`.
        """
        grouped = self.records.groupby("status", sort=False)["contribution"]
        table = grouped.agg(["size", "sum"]).reset_index()
        table.columns = pd.Index(["status", "records", "contribution"])
        return table

    def to_frame(self) -> pd.DataFrame:
        """Write the records as a table, the largest contribution first; see `records`."""
        return self.records.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the ten largest contributions, and the sum of the others.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn: rises to the right, falls to the left and hatched.
        """
        from mlkit.style import BLACK, BLUE, GREY, VERMILION

        ax = axes(ax)
        amounts = self.records["contribution"]
        top = amounts.head(_MOST_BARS)
        names = [str(label) for label in top.index]
        names = [
            name if status == "stayed" else f"{name} ({status})"
            for name, status in zip(names, self.records["status"].head(_MOST_BARS), strict=True)
        ]
        sizes = list(top)
        if len(amounts) > len(top):
            names.append(f"{len(amounts) - len(top):,} others")
            sizes.append(float(amounts.iloc[len(top) :].sum()))
        colours = [BLUE if size >= 0 else VERMILION for size in sizes]
        if len(sizes) > len(top):
            colours[-1] = GREY
        bars = ax.barh(np.arange(len(sizes)), sizes, color=colours)
        for bar, size in zip(bars, sizes, strict=True):
            if size < 0:
                bar.set_hatch("//")
        ax.axvline(0, color=BLACK, lw=1)
        ax.set_yticks(np.arange(len(sizes)), names)
        ax.invert_yaxis()
        ax.set_xlabel(f"contribution to the change of {self.variable}")
        ax.set_title(f"{as_label(self.cell)}: {as_amount(self.difference, '+')}")
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        top = self.records.head(_MOST_SHOWN)
        wide = pd.DataFrame(
            {
                "record": [str(label) for label in top.index],
                "status": top["status"].to_list(),
                "previous": [as_amount(value) for value in top["previous"]],
                "current": [as_amount(value) for value in top["current"]],
                "contribution": [as_amount(value, "+") for value in top["contribution"]],
                "of the difference": [_percent(value) for value in top["share"]],
            }
        )
        rest = self.records["contribution"].iloc[len(top) :]
        parts = ", ".join(
            f"{status} {as_amount(amount, '+')} ({records:,})"
            for status, records, amount in self.by_status().itertuples(index=False)
        )
        return (
            f"{self.variable}, {as_label(self.cell)}: from {as_amount(self.previous)} to "
            f"{as_amount(self.current)}, {as_amount(self.difference, '+')}",
            wide,
            f"{len(rest):,} other records: {as_amount(rest.sum(), '+')}." if len(rest) else "",
            f"By status: {parts}." if parts else "",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


@dataclass(frozen=True, repr=False, eq=False)
class TotalsComparison:
    """What :func:`compare_totals` found.

    Attributes
    ----------
    table : DataFrame
        One row per level, cell and variable: `level`, `cell`, `variable`, `previous`, `current`,
        `difference`, `change` (relative; NaN where the previous total is 0), `previous_share` and
        `share` of the total of all cells, `records` (in either period), `births`, `deaths`,
        `moved` (in or out), `missing` (values that are missing in either period, which add
        nothing), and `status`: "inside", "flagged" or "not judged".
    variables : tuple of str
        The variables.
    levels : tuple of str
        The levels, the first being "all".
    rule : str
        By which rule totals were flagged.
    """

    table: pd.DataFrame
    variables: tuple[str, ...]
    levels: tuple[str, ...]
    rule: str
    _current: _Period
    _previous: _Period
    _past: Places  # the previous row of each current record, -1 at a birth
    _levels: tuple[_Level, ...]

    def flagged(self) -> pd.DataFrame:
        """List the flagged totals, the largest difference first, variable by variable.

        Returns
        -------
        DataFrame
            Rows of `table`.
        """
        found = self.table[self.table["status"] == "flagged"]
        order = found.assign(
            size=-found["difference"].abs(),
            place=pd.Categorical(found["variable"], self.variables, ordered=True),
        ).sort_values(["place", "size"], kind="stable")
        return found.loc[order.index].reset_index(drop=True)

    def to_frame(self) -> pd.DataFrame:
        """Write the comparison as a table; see `table`."""
        return self.table.copy()

    def drill_down(
        self, variable: str | None = None, *, level: str | None = None, cell: Any = None
    ) -> DrillDown:
        """Find the records that move a total.

        Parameters
        ----------
        variable : str, optional
            The variable; needed if there are several.
        level : str, optional
            The level, one of `levels`; the total of all records by default.
        cell : label, optional
            The cell of the level; a tuple of labels where columns are crossed.

        Returns
        -------
        DrillDown
            The records of the cell with their contributions, which add up to the difference.

        Raises
        ------
        KeyError
            If there is no such variable, level or cell.
        """
        column = self._variable(variable)
        found, place = self._cell(level, cell)
        now, before = self._current, self._previous
        here, there = found.now == place, found.before == place
        # Records of the cell now, then those that were in it and no longer are.
        rows_now = np.flatnonzero(here)
        with_past = self._past[rows_now]
        stayed = (with_past >= 0) & there[with_past]
        left = there.copy()
        left[with_past[stayed]] = False
        rows_left = np.flatnonzero(left)
        past = np.concatenate([np.where(stayed, with_past, -1), rows_left])
        present = np.concatenate([rows_now, np.full(len(rows_left), -1)])
        table = pd.DataFrame(
            {
                "previous": _take(before.numbers[:, column], past),
                "current": _take(now.numbers[:, column], present),
                "previous_weight": _take(before.weights, past),
                "current_weight": _take(now.weights, present),
            },
            index=now.index[rows_now].append(before.index[rows_left]),
        )
        added = np.nan_to_num(table["current"] * table["current_weight"])
        removed = np.nan_to_num(table["previous"] * table["previous_weight"])
        contribution = added - removed
        status = np.full(len(table), STAYED)
        status[np.isnan(table["current"])] = NO_VALUE_NOW
        status[np.isnan(table["previous"])] = NO_VALUE_BEFORE
        elsewhere_before = np.concatenate([with_past >= 0, np.ones(len(rows_left), dtype=bool)])
        elsewhere_now = np.concatenate(
            [np.ones(len(rows_now), dtype=bool), before.shared[rows_left]]
        )
        status[past < 0] = np.where(elsewhere_before[past < 0], MOVED_IN, BIRTH)
        status[present < 0] = np.where(elsewhere_now[present < 0], MOVED_OUT, DEATH)
        table.insert(0, "status", _STATUSES[status])
        table["contribution"] = contribution
        row = self._row(found.name, place, column)
        difference = row["current"] - row["previous"]
        table["share"] = contribution / difference if difference else np.nan
        order = np.argsort(-np.abs(contribution), kind="stable")
        return DrillDown(
            self.variables[column],
            found.name,
            found.cells[place],
            float(row["current"]),
            float(row["previous"]),
            table.iloc[order].astype({"status": "str"}),
        )

    def _variable(self, variable: str | None) -> int:
        if variable is None and len(self.variables) == 1:
            return 0
        if variable not in self.variables:
            raise KeyError(f"variable={variable!r}; name one of {', '.join(self.variables)}.")
        return self.variables.index(variable)

    def _cell(self, level: str | None, cell: Any) -> tuple[_Level, int]:
        if level is None:
            if cell is not None:
                raise KeyError(f"cell={cell!r} is given without its level: {self.levels[1:]}.")
            return self._levels[0], 0
        if level not in self.levels:
            raise KeyError(f"level={level!r}; name one of {', '.join(self.levels)}.")
        found = self._levels[self.levels.index(level)]
        labels = list(found.cells)
        if cell is None and len(labels) == 1:
            return found, 0
        if cell not in labels:
            shown = ", ".join(map(repr, labels[:10])) + (", ..." if len(labels) > 10 else "")
            raise KeyError(f"cell={cell!r}; the {len(labels):,} cells of {level} are {shown}")
        return found, labels.index(cell)

    def _row(self, level: str, place: int, column: int) -> pd.Series[Any]:
        before = sum(len(each.cells) for each in self._levels[: self.levels.index(level)])
        return self.table.iloc[(before + place) * len(self.variables) + column]

    def plot(self, ax: Axes | None = None, *, variable: str | None = None) -> Axes:
        """Draw the change of each cell against its size, level by level, flagged ones named.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        variable : str, optional
            The variable; needed if there are several.

        Returns
        -------
        matplotlib Axes
            Where it was drawn. The ten flagged cells with the largest differences are named.
        """
        from matplotlib.ticker import PercentFormatter

        from mlkit.style import BLACK, VERMILION

        ax = axes(ax)
        name = self.variables[self._variable(variable)]
        table = self.table[(self.table["variable"] == name) & self.table["change"].notna()]
        for level, marker in zip(self.levels, "*osD^vP" * len(self.levels), strict=False):
            some = table[table["level"] == level]
            ax.plot(some["current"], some["change"], marker, ls="", alpha=0.7, label=level)
        flagged = table[table["status"] == "flagged"]
        if len(flagged):
            ax.plot(
                flagged["current"],
                flagged["change"],
                "o",
                ls="",
                ms=12,
                mfc="none",
                mec=VERMILION,
                mew=2,
                label="flagged",
            )
        largest = flagged["difference"].abs().sort_values(ascending=False).index[:_MOST_BARS]
        for row in flagged.loc[largest].itertuples():
            ax.annotate(
                as_label(row.cell),
                (row.current, row.change),
                (8, 4),
                textcoords="offset points",
                size=9,
            )
        overall = table[table["level"] == ALL]["change"]
        ax.axhline(0, color=BLACK, lw=1)
        if len(overall):
            ax.axhline(float(overall.iloc[0]), color=BLACK, lw=1, ls="--", label="change of all")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        if (table["current"] > 0).all():
            ax.set_xscale("log")
        ax.set_xlabel(f"{name}, current total")
        ax.set_ylabel("change since last period")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        table = self.table
        overall = table[table["level"] == ALL]
        found = self.flagged()
        rows = pd.concat([overall, found[found["level"] != ALL]]).head(_MOST_SHOWN)
        wide = pd.DataFrame({"level": rows["level"]})
        wide["cell"] = [as_label(cell) for cell in rows["cell"]]
        if len(self.variables) > 1:
            wide["variable"] = rows["variable"]
        for name in ("previous", "current"):
            wide[name] = [as_amount(value) for value in rows[name]]
        wide["difference"] = [as_amount(value, "+") for value in rows["difference"]]
        wide["change"] = [_percent(value) for value in rows["change"]]
        for name in ("births", "deaths", "moved", "missing"):
            if rows[name].any():
                wide[name] = [f"{n:,}" for n in rows[name]]
        wide["status"] = rows["status"]
        unjudged = int((table["status"] == "not judged").sum())
        more = len(overall) + len(found[found["level"] != ALL]) - len(rows)
        return (
            f"{len(table):,} totals against last period: {len(found):,} flagged, "
            f"{unjudged:,} not judged",
            wide,
            f"{more:,} more flagged: flagged() has them." if more > 0 else "",
            f"Flagged: {self.rule}. Next: drill_down, to the records that move a total.",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def compare_totals(
    current: pd.DataFrame,
    previous: pd.DataFrame,
    values: str | Sequence[str],
    *,
    by: Iterable[str | Sequence[str]] = (),
    weights: str | None = None,
    tolerance: float | None = None,
    u: float = 0.5,
    a: float = 0.05,
    c: float = 4.0,
) -> TotalsComparison:
    """Compare totals with last period's, at every level, and flag those that changed strangely.

    Macro editing begins at the figure that is published: where a total moved as it should, no
    record needs to be looked at; where it did not, :meth:`TotalsComparison.drill_down` finds the
    records that moved it.

    Parameters
    ----------
    current, previous : DataFrame
        The records of both periods, a row each; the index identifies the unit, so that the same
        unit is found in both. A unit may be in one period only (a birth or a death), and its
        class may change (a move).
    values : str or sequence of str
        The columns whose totals are compared.
    by : iterable of str or of sequences of str, optional
        The classification levels, from coarse to fine: a column each, or several that are
        crossed, as in ``["section", "division", ["section", "region"]]``. The total of all
        records always comes first.
    weights : str, optional
        The column of the design weights, in both periods; by default each record counts once.
    tolerance : float, optional
        Flag totals whose relative change exceeds this, such as 0.1, in either direction; a total
        that was 0 and is no longer is flagged too. By default flag by Hidiroglou and Berthelot,
        among the cells of a level.
    u, a, c : float
        The parameters of that method; see :func:`hidiroglou_berthelot`. A level needs 10 cells
        with totals above 0 in both periods, or none is judged: the total of all never is.

    Returns
    -------
    TotalsComparison
        The totals, and the way down to the records.

    Raises
    ------
    ValueError
        If a period has no records, units come twice, a column is lacking or comes twice, values
        are infinite or all missing, a class is missing, weights are missing, negative or all 0, a
        level has no cell that is in both periods, or a parameter is out of range.
    TypeError
        If values or weights are not numbers.

    Notes
    -----
    A unit i contributes w y (now, if it is in the cell) minus w y (before, if it was in it) to
    the difference of a cell's totals, so that contributions add up to it: births count in full,
    deaths in full with a minus, and a unit that moved lowers one cell and raises another. A change
    of weight counts as the unit's own. Missing values add nothing, and are counted: impute them
    before totals are published.

    Source: the aggregation method of macro editing, as in Granquist 1990 and in the Memobust
    handbook (both cited from memory); Hidiroglou and Berthelot 1986 for the flags. It fails where
    errors cancel within a cell, and where the error was there last period too: what has not moved
    is not flagged. A change within the sampling error needs no explanation.

    Examples
    --------
    >>> import pandas as pd
    >>> from mlkit.editing import compare_totals
    >>> before = pd.DataFrame(
    ...     {"sector": ["food", "food", "toys", "toys"], "turnover": [100, 200, 50, 60]},
    ...     index=["a", "b", "c", "d"],
    ... )
    >>> now = pd.DataFrame(
    ...     {"sector": ["food", "food", "toys", "toys"], "turnover": [110, 205, 52000, 70]},
    ...     index=["a", "b", "c", "e"],
    ... )
    >>> totals = compare_totals(now, before, "turnover", by=["sector"], tolerance=0.2)
    >>> totals.flagged()[["level", "cell", "previous", "current", "change"]].round(2)
        level  cell  previous  current  change
    0     all   all     410.0  52385.0  126.77
    1  sector  toys     110.0  52070.0  472.36
    >>> totals.drill_down(level="sector", cell="toys").to_frame()[["status", "contribution"]]
       status  contribution
    c  stayed       51950.0
    e   birth          70.0
    d   death         -60.0
    """
    names = [values] if isinstance(values, str) else list(values)
    levels = [[level] if isinstance(level, str) else list(level) for level in by]
    _check_call(names, levels, tolerance, u, a, c)
    columns = [*names, *dict.fromkeys(name for level in levels for name in level)]
    for frame, name in ((current, "current"), (previous, "previous")):
        _check_frame(frame, name, [*columns, *([] if weights is None else [weights])])
    past = previous.index.get_indexer(current.index)
    now = _read_period(current, "current", names, weights, past >= 0)
    still_there = np.zeros(len(previous), dtype=bool)
    still_there[past[past >= 0]] = True
    before = _read_period(previous, "previous", names, weights, still_there)
    found = [_everything(len(current), len(previous))]
    found += [_read_level(current, previous, level) for level in levels]
    tables = [_level_table(level, names, now, before, past) for level in found]
    overall = tables[0].set_index("variable")
    for table in tables:
        _judge(table, tolerance, u, a, c)
        for share, total in (("previous_share", "previous"), ("share", "current")):
            whole = overall.loc[table["variable"], total].to_numpy()
            table[share] = np.divide(
                table[total], whole, out=np.full(len(table), np.nan), where=whole != 0
            )
    rule = (
        f"Hidiroglou-Berthelot among the cells of a level (U {u:g}, A {a:g}, C {c:g})"
        if tolerance is None
        else f"a change of more than {tolerance:.4g} in either direction"
    )
    return TotalsComparison(
        pd.concat(tables, ignore_index=True)[_COLUMNS],
        tuple(names),
        tuple(level.name for level in found),
        rule,
        now,
        before,
        past,
        tuple(found),
    )


_COLUMNS = [
    "level",
    "cell",
    "variable",
    "previous",
    "current",
    "difference",
    "change",
    "previous_share",
    "share",
    "records",
    "births",
    "deaths",
    "moved",
    "missing",
    "status",
]


def _check_call(
    names: list[str],
    levels: list[list[str]],
    tolerance: float | None,
    u: float,
    a: float,
    c: float,
) -> None:
    if not names:
        raise ValueError("values names no column. Give at least one.")
    if len(set(names)) < len(names):
        raise ValueError(f"values names a column twice: {', '.join(map(str, names))}.")
    titles = [_title(level) for level in levels]
    if not all(levels) or len(set(titles)) < len(titles) or ALL in titles:
        raise ValueError(
            f"by={levels}; give each level once, as a column or several, and none named 'all', "
            "which is the total."
        )
    if tolerance is not None:
        require_positive(tolerance=tolerance)
    require_positive(c=c)
    if not 0 <= u <= 1:
        raise ValueError(f"u={u}; allowed is an exponent from 0 to 1.")
    if not (np.isfinite(a) and a >= 0):
        raise ValueError(f"a={a}; allowed is a part of the median effect, 0 or more.")


def _check_frame(frame: pd.DataFrame, name: str, columns: list[str]) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{name} is a {type(frame).__name__}; give a data frame of records.")
    check_index(frame.index, name)
    for column in columns:
        times = int((frame.columns == column).sum())
        if times != 1:
            fault = "no column" if not times else "more than one column"
            raise ValueError(
                f"{name} has {fault} {column!r}. Its columns are "
                f"{', '.join(map(str, frame.columns[:20]))}."
            )


def _read_period(
    frame: pd.DataFrame, name: str, names: list[str], weights: str | None, shared: Mask
) -> _Period:
    values = np.column_stack([read_numbers(frame[column]) for column in names])
    if weights is None:
        return _Period(frame.index, values, np.ones(len(frame)), shared)
    found = read_numbers(frame[weights])
    for fault, what in ((np.isnan(found), "missing"), (found < 0, "negative")):
        if fault.any():
            raise ValueError(
                f"{name} has {int(fault.sum()):,} {what} values in {weights!r}; a weight is the "
                "number of units for which a record stands. Correct them, or leave the records "
                "out."
            )
    if not found.any():
        raise ValueError(f"All weights of {name} are 0, so that no record counts.")
    return _Period(frame.index, values, found, shared)


def _everything(now: int, before: int) -> _Level:
    return _Level(ALL, pd.Index([ALL]), np.zeros(now, np.intp), np.zeros(before, np.intp))


def _read_level(current: pd.DataFrame, previous: pd.DataFrame, columns: list[str]) -> _Level:
    both = pd.concat([current[columns], previous[columns]], ignore_index=True)
    title = _title(columns)
    places, cells = cross(both, f"The level {title}")
    now, before = places[: len(current)], places[len(current) :]
    if not np.isin(now, before).any():
        raise ValueError(
            f"No cell of {title} is in both periods: current has {cells[now[0]]!r}, previous "
            f"{cells[before[0]]!r}. Give both periods the same classification, and the same type."
        )
    return _Level(title, cells, now, before)


def _title(columns: Sequence[Hashable]) -> str:
    return " x ".join(map(str, columns))


def _level_table(
    level: _Level, names: list[str], now: _Period, before: _Period, past: Places
) -> pd.DataFrame:
    cells = len(level.cells)
    totals = [
        np.column_stack([np.bincount(at, amounts, cells) for amounts in period.amounts.T])
        for period, at in ((before, level.before), (now, level.now))
    ]
    missing = sum(
        np.column_stack([np.bincount(at, gaps, cells) for gaps in np.isnan(period.numbers).T])
        for period, at in ((before, level.before), (now, level.now))
    )
    moved = now.shared & (level.now != level.before[past])
    entered = np.bincount(level.now[moved], minlength=cells)
    left = np.bincount(level.before[past[moved]], minlength=cells)
    births = np.bincount(level.now[~now.shared], minlength=cells)
    deaths = np.bincount(level.before[~before.shared], minlength=cells)
    records = np.bincount(level.now, minlength=cells) + deaths + left
    p = len(names)
    previous, current = (each.ravel() for each in totals)
    table = pd.DataFrame(
        {
            "level": level.name,
            "cell": np.repeat(_objects(level.cells), p),
            "variable": np.tile(np.array(names, dtype=object), cells),
            "previous": previous,
            "current": current,
            "difference": current - previous,
            "records": np.repeat(records, p),
            "births": np.repeat(births, p),
            "deaths": np.repeat(deaths, p),
            "moved": np.repeat(entered + left, p),
            "missing": np.asarray(missing).ravel().astype(np.int64),
        }
    )
    table["change"] = np.divide(
        table["difference"],
        np.abs(previous),
        out=np.full(len(table), np.nan),
        where=previous != 0,
    )
    return table.astype({"variable": "str", "level": "str"})


def _judge(table: pd.DataFrame, tolerance: float | None, u: float, a: float, c: float) -> None:
    """Flag totals, variable by variable among the cells of a level."""
    previous, current = table["previous"].to_numpy(), table["current"].to_numpy()
    if tolerance is not None:
        change = table["change"].to_numpy()
        known = np.ones(len(table), dtype=bool)
        far: Mask = np.where(np.isnan(change), current != 0, np.abs(change) > tolerance)
    else:
        numbers, labels = pd.factorize(table["variable"])
        groups = Groups(numbers.astype(np.intp), pd.Index(labels))
        fit = (previous > 0) & (current > 0)
        effect, _ = effects(previous, current, fit, groups, u)
        quartiles = quartiles_by(effect, groups, a)
        known = fit & (quartiles.records >= _FEW_CELLS)[groups.places]
        far = known & quartiles.outside(effect, groups.places, c)
    status = np.where(far, "flagged", np.where(known, "inside", "not judged"))
    table["status"] = pd.Series(status, index=table.index, dtype="str")


def _objects(labels: pd.Index[Any]) -> Any:
    """Give labels as an array of objects, in which a tuple stays one entry."""
    array = np.empty(len(labels), dtype=object)
    array[:] = list(labels)
    return array


def _take(values: Floats, rows: Places) -> Floats:
    """Take rows, NaN for -1."""
    return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan)


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:+,.1%}"
