"""Which rules does each record break? Column by column, for a million records in a second."""

from __future__ import annotations

import decimal
import enum
import numbers
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.editing._grammar import (
    Clause,
    LinearAtom,
    MemberAtom,
    did_you_mean,
    write_name,
)
from mlkit.estimate import AnyDesign, Design, Estimate, proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from mlkit.editing._rules import EditRules, Variable

    Statuses = NDArray[np.int8]
    Mask = NDArray[np.bool_]

_NUMBERS = (numbers.Real, decimal.Decimal)
_EPSILON = float(np.finfo(np.float64).eps)


class Status(enum.IntEnum):
    """What a record is to a rule.

    In the order of precedence among the clauses of a rule: the highest one is the rule's.
    """

    NOT_APPLICABLE = 0
    SATISFIED = 1
    UNKNOWN = 2
    BROKEN = 3

    @property
    def label(self) -> str:
        """The status in words."""
        return self.name.lower().replace("_", " ")


class Cell(enum.IntEnum):
    """What a cell of the data holds, for rules."""

    GIVEN = 0
    ZERO = 1  # blank, which means 0
    NON_RESPONSE = 2
    NOT_APPLICABLE = 3


@dataclass(frozen=True, repr=False, eq=False)
class RuleCheck:
    """What :meth:`EditRules.check` found.

    Attributes
    ----------
    rules : EditRules
        The rules.
    status : ndarray of int8, of shape (n, rules)
        The :class:`Status` of each record at each rule: 0 not applicable, 1 satisfied,
        2 unknown, 3 broken. Read-only.
    cells : ndarray of int8, of shape (n, variables)
        What each cell of ``rules.variables`` holds: 0 a value, 1 a blank that means 0,
        2 a non-response, 3 nothing, as the variable does not apply. Read-only.
    index : Index
        The records, as in the data frame.
    design : Design, ReplicateDesign or None
        How the records were drawn.
    """

    rules: EditRules
    status: NDArray[np.int8]
    cells: NDArray[np.int8]
    index: pd.Index[Any]
    design: AnyDesign | None = None

    @property
    def broken(self) -> Mask:
        """Which rules each record breaks, of shape (n, rules)."""
        found: Mask = self.status == Status.BROKEN
        return found

    @cached_property
    def failing(self) -> Mask:
        """Which records break at least one hard rule, of shape (n,)."""
        return self._any_hard(Status.BROKEN)

    @cached_property
    def undecided(self) -> Mask:
        """Which records break no hard rule but have one that is unknown, of shape (n,)."""
        return self._any_hard(Status.UNKNOWN) & ~self.failing

    def _any_hard(self, status: Status) -> Mask:
        found = np.zeros(len(self.status), dtype=bool)
        for column, rule in zip(self.status.T, self.rules, strict=True):
            if rule.hard:
                found |= column == status
        return found

    @property
    def penalty(self) -> NDArray[np.float64]:
        """The penalties of the soft rules that each record breaks, added up, of shape (n,)."""
        total = np.zeros(len(self.status))
        for column, rule in zip(self.status.T, self.rules, strict=True):
            if not rule.hard:
                total += rule.penalty * (column == Status.BROKEN)
        return total

    def matrix(self) -> pd.DataFrame:
        """Write the status of every record at every rule.

        Returns
        -------
        DataFrame of shape (n, rules)
            "satisfied", "broken", "unknown" or "not applicable", as categories.
        """
        labels = pd.Index([status.label for status in Status])
        columns: dict[str, Any] = {
            rule.name: pd.Categorical.from_codes(column, labels)
            for rule, column in zip(self.rules, self.status.T, strict=True)
        }
        return pd.DataFrame(columns, index=self.index)

    def broken_rules(self) -> pd.DataFrame:
        """List what is broken: a short list where most records are right.

        Returns
        -------
        DataFrame
            One row per record and rule that it breaks: `record`, its label in the index, `rule`,
            `hard` and `text`, record by record.
        """
        rows, columns = np.nonzero(self.broken)
        names, texts = np.array(self.rules.names, object), [rule.text for rule in self.rules]
        return pd.DataFrame(
            {
                "record": self.index[rows],
                "rule": names[columns],
                "hard": np.array([rule.hard for rule in self.rules], bool)[columns],
                "text": np.array(texts, object)[columns],
            }
        ).astype({"rule": "str", "text": "str"})

    def estimate(self, rule: str | None = None, *, unit: str | None = None) -> Estimate:
        """Estimate the share that breaks a rule, of all records, known or not.

        Parameters
        ----------
        rule : str, optional
            Its name; any hard rule by default.
        unit : {"records", "population"}, optional
            "records", each counted once, or "population", weighted; by default the population if
            there are weights.

        Returns
        -------
        Estimate
            The share, with the interval of :func:`mlkit.estimate.proportion`.

        Raises
        ------
        KeyError
            If there is no rule of this name.
        ValueError
            If the unit is unknown.
        """
        designs = self._designs
        unit = unit or list(designs)[-1]
        if unit not in designs:
            raise ValueError(f"unit={unit!r}; allowed here are {', '.join(map(repr, designs))}.")
        if rule is None:
            return proportion(self.failing, design=designs[unit])
        place = self.rules.names.index(self.rules[rule].name)
        return proportion(self.status[:, place] == Status.BROKEN, design=designs[unit])

    @cached_property
    def _designs(self) -> dict[str, AnyDesign | None]:
        if self.design is None or np.ptp(self.design.weights) == 0:
            return {"records": self.design}
        return {"records": self.design.without_weights(), "population": self.design}

    @cached_property
    def _figures(self) -> pd.DataFrame:
        rows = []
        for place, rule in enumerate([None, *self.rules]):
            if rule is None:
                undecided, failing = int(self.undecided.sum()), int(self.failing.sum())
                counts = [0, len(self.status) - failing - undecided, undecided, failing]
                head: dict[str, Any] = {"rule": "any hard rule", "text": "", "hard": True}
            else:
                counts = np.bincount(self.status[:, place - 1], minlength=4).tolist()
                head = {"rule": rule.name, "text": rule.text, "hard": rule.hard}
            seen = {s.label.replace(" ", "_"): counts[s] for s in reversed(Status)}
            for unit in self._designs:
                found = self.estimate(None if rule is None else rule.name, unit=unit)
                rows.append(
                    head
                    | {"unit": unit}
                    | seen
                    | {
                        "share": found.value,
                        "standard_error": found.standard_error,
                        "low": found.low,
                        "high": found.high,
                        "df": found.df,
                        "method": found.method,
                        "note": found.note,
                    }
                )
        return pd.DataFrame(rows)

    def to_frame(self) -> pd.DataFrame:
        """Write the report as a table.

        Returns
        -------
        DataFrame
            One row per rule and unit, the first for "any hard rule": `rule`, `text`, `hard`,
            `unit` ("records", each counted once, and "population", weighted, if weights differ),
            the numbers of records `broken`, `unknown`, `satisfied` and `not_applicable`, and the
            share of the unit that breaks the rule with `standard_error`, `low`, `high`, `df`,
            `method` and `note`.
        """
        return self._figures.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how often each rule is broken or unknown, the most broken one on top.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn: shares of the population if there are weights, else of records.
        """
        from mlkit.style import GREY, VERMILION

        ax = axes(ax)
        unit = list(self._designs)[-1]
        weights = np.ones(len(self.status)) if self.design is None else self.design.weights
        figures = self._figures
        figures = figures[(figures["unit"] == unit) & (figures["rule"] != "any hard rule")]
        unknown = [weights[c == Status.UNKNOWN].sum() / weights.sum() for c in self.status.T]
        figures = figures.assign(unknown_share=unknown).sort_values("share", kind="stable")
        places = np.arange(len(figures))
        share = figures["share"].to_numpy()
        spread = [share - figures["low"].to_numpy(), figures["high"].to_numpy() - share]
        ax.barh(places, share, xerr=spread, color=VERMILION, capsize=2, label="broken")
        ax.plot(figures["unknown_share"], places, "|", color=GREY, markersize=12, label="unknown")
        ax.set_yticks(places, figures["rule"])
        ax.set_xlim(left=0)
        ax.set_xlabel(f"share of {'the population' if unit == 'population' else unit}")
        ax.legend()
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        figures = self._figures
        wide = figures[figures["unit"] == "records"][["rule", "text"]].copy()
        wide["kind"] = np.where(figures.loc[wide.index, "hard"], "hard", "soft")
        for status in reversed(Status):
            counts = figures.loc[wide.index, status.label.replace(" ", "_")]
            if counts.any() or status in (Status.BROKEN, Status.UNKNOWN):
                wide[status.label] = [f"{count:,}" for count in counts]
        for unit in self._designs:
            some = figures[figures["unit"] == unit]
            wide[f"share of {'the population' if unit == 'population' else unit}"] = [
                f"{value:.2%} ({low:.2%} to {high:.2%})"
                for value, low, high in zip(some["share"], some["low"], some["high"], strict=True)
            ]
        notes = [note for text in figures["note"] for note in text.split("; ") if note]
        return (
            f"{len(self.rules):,} rules, {len(self.status):,} records",
            wide,
            "Shares broken, with 95% intervals.",
            "; ".join(dict.fromkeys(notes)),
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def check_rules(
    rules: EditRules,
    frame: pd.DataFrame,
    *,
    sample_weight: ArrayLike | None = None,
    design: AnyDesign | None = None,
) -> RuleCheck:
    """Judge every record by every rule; see :meth:`EditRules.check`."""
    columns = read_columns(rules, frame)
    drawn = _as_design(sample_weight, design, len(frame))
    status = np.empty((len(frame), len(rules)), dtype=np.int8, order="F")  # filled by column
    for place, rule in enumerate(rules):
        status[:, place] = columns.judge(rule.clauses)
    cells = np.empty((len(frame), len(rules.variables)), dtype=np.int8, order="F")
    for place, variable in enumerate(rules.variables):
        cells[:, place] = columns.cells(variable.name)
    status.flags.writeable = cells.flags.writeable = False
    return RuleCheck(rules, status, cells, frame.index, drawn)


# --- reading the data ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Column:
    """A column as rules read it."""

    data: NDArray[Any]  # numbers; or places in `different`, -1 where missing
    different: tuple[Any, ...]  # of a category: its values; of a boolean: False, True
    largest: float  # of the numbers, without sign
    missing: Mask | None  # non-responses; None if there are none
    absent: Mask | None  # not applicable
    blank: Mask | None  # zeros that were blank


@dataclass(eq=False)
class Columns:
    """The columns that rules name, read and checked."""

    size: int
    read: dict[str, _Column] = field(default_factory=dict)

    def cells(self, name: str) -> Statuses:
        """Say what each cell of a column holds."""
        column = self.read[name]
        cells = np.zeros(self.size, dtype=np.int8)
        for mask, cell in (
            (column.blank, Cell.ZERO),
            (column.missing, Cell.NON_RESPONSE),
            (column.absent, Cell.NOT_APPLICABLE),
        ):
            if mask is not None:
                cells[mask] = cell
        return cells

    def judge(self, clauses: Iterable[Clause]) -> Statuses:
        """Give the status of each record at a rule."""
        found = [self._judge_clause(clause) for clause in clauses]
        worst = found[0]
        for other in found[1:]:
            np.maximum(worst, other, out=worst)
        return worst

    def _judge_clause(self, clause: Clause) -> Statuses:
        """One true atom is enough; without any, a missing value leaves it open."""
        true = self._true(clause[0])
        for atom in clause[1:]:
            true |= self._true(atom)
        # The last one that applies stands.
        status = np.full(self.size, Status.BROKEN, dtype=np.int8)
        for atom in clause:
            absent = self._any("absent", atom.variables)
            if absent is not None:
                np.putmask(status, absent & (status == Status.BROKEN), Status.NOT_APPLICABLE)
            missing = self._any("missing", atom.variables)
            if missing is not None:
                if absent is not None:
                    missing = missing & ~absent
                np.putmask(status, missing, Status.UNKNOWN)
        np.putmask(status, true, Status.SATISFIED)
        return status

    def _any(self, what: str, names: Iterable[str]) -> Mask | None:
        masks = [getattr(self.read[name], what) for name in names]
        masks = [mask for mask in masks if mask is not None]
        return np.logical_or.reduce(masks) if masks else None

    def _true(self, atom: LinearAtom | MemberAtom) -> Mask:
        """Say where an atom is true for sure."""
        return self._linear(atom) if isinstance(atom, LinearAtom) else self._member(atom)

    def _member(self, atom: MemberAtom) -> Mask:
        column = self.read[atom.variable]
        # The last place is that of -1, missing, which is never true for sure.
        hits = [(value in atom.members) == atom.inside for value in column.different]
        true: Mask = np.array([*hits, False])[column.data]
        return true

    def _linear(self, atom: LinearAtom) -> Mask:
        excess = self._sum(atom)
        excess -= atom.constant
        if atom.operator == "==":
            np.abs(excess, out=excess)
        excess -= atom.tolerance
        # A missing value makes the sum NaN, which compares as False.
        strict = atom.operator == "<"
        true: Mask = excess < 0 if strict else excess <= 0
        # Only what lies within the rounding of the largest numbers is looked at closely.
        largest = sum(abs(c) * self.read[name].largest for name, c in atom.coefficients)
        most = self._rounding(abs(atom.constant) + largest, len(atom.coefficients))
        near = np.flatnonzero(true & (excess >= -most) if strict else ~true & (excess <= most))
        if len(near):
            scale = np.full(len(near), abs(atom.constant))
            for name, coefficient in atom.coefficients:
                scale += np.abs(coefficient * self.read[name].data[near])
            noise = self._rounding(scale, len(atom.coefficients))
            true[near] = excess[near] < -noise if strict else excess[near] <= noise
        return true

    def _sum(self, atom: LinearAtom) -> NDArray[np.float64]:
        """Add up column by column: rules name few of the columns."""
        (first, coefficient), *others = atom.coefficients
        total: NDArray[np.float64] = self.read[first].data * coefficient
        for name, coefficient in others:
            values = self.read[name].data
            if coefficient == 1:
                total += values
            elif coefficient == -1:
                total -= values
            else:
                total += coefficient * values
        return total

    @staticmethod
    def _rounding(scale: Any, terms: int) -> Any:
        """Bound the rounding error of a sum of products, and of decimals written in binary.

        Higham, Accuracy and Stability of Numerical Algorithms, on inner products: terms times
        the unit roundoff times the sum of the absolute products; doubled, for the numbers and
        coefficients that were rounded before.
        """
        return 2 * (terms + 2) * _EPSILON * scale


def read_columns(rules: EditRules, frame: pd.DataFrame) -> Columns:
    """Read the columns that rules name; refuse what they cannot hold."""
    _check_frame(rules, frame)
    columns = Columns(len(frame))
    waiting = {variable.name: variable for variable in rules.variables}

    def read(variable: Variable) -> None:
        waiting.pop(variable.name)
        for clause in variable.condition:  # whether it applies is known from other columns
            for atom in clause:
                for name in atom.variables:
                    if name in waiting:
                        read(waiting[name])
        applies = columns.judge(variable.condition) if variable.condition else None
        columns.read[variable.name] = _read_column(frame[variable.name], variable, applies)

    for variable in rules.variables:
        if variable.name in waiting:
            read(variable)
    return columns


def _check_frame(rules: EditRules, frame: pd.DataFrame) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}; give a pandas DataFrame.")
    if not len(rules):
        raise ValueError("There are no rules to check.")
    names = [variable.name for variable in rules.variables]
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        listed = ", ".join(map(write_name, unknown))
        hint = did_you_mean(unknown[0], map(str, frame.columns))
        raise ValueError(
            f"The data have no column {listed}, which {_users(rules, unknown[0])} names.{hint} "
            f"The columns are {', '.join(map(str, frame.columns[:20]))}"
            f"{', ...' if len(frame.columns) > 20 else '.'}"
        )
    twice = [name for name in names if (frame.columns == name).sum() > 1]
    if twice:
        raise ValueError(
            f"The data have more than one column named {write_name(twice[0])}. Rename them, so "
            "that it is clear which one the rules are about."
        )
    if not len(frame):
        raise ValueError("The data have no records. Give at least one.")


def _users(rules: EditRules, name: str) -> str:
    using = rules.involving(name).names
    return f"the rule {write_name(using[0])}" if using else "a condition"


def _read_column(series: pd.Series[Any], variable: Variable, applies: Statuses | None) -> _Column:
    values: NDArray[Any]
    different: tuple[Any, ...] = ()
    largest = 0.0
    if variable.numeric:
        values, empty = _read_numbers(series, variable)
        largest = float(np.max(np.abs(values), initial=0.0, where=~empty))
    elif variable.kind == "boolean":
        values, empty = _read_booleans(series, variable)
        different = (False, True)
    else:
        values, empty, different = _read_categories(series, variable)
    if not empty.any():
        return _Column(values, different, largest, None, None, None)
    if variable.zero_if_blank:
        values[empty] = 0.0
        return _Column(values, different, largest, None, None, empty)
    if applies is None:
        return _Column(values, different, largest, empty, None, None)
    # A condition that is known not to hold, or that does not apply itself.
    absent = empty & ((applies == Status.BROKEN) | (applies == Status.NOT_APPLICABLE))
    missing = empty & ~absent
    return _Column(
        values,
        different,
        largest,
        missing if missing.any() else None,
        absent if absent.any() else None,
        None,
    )


def _read_numbers(series: pd.Series[Any], variable: Variable) -> tuple[NDArray[np.float64], Mask]:
    if pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype):
        if pd.api.types.is_complex_dtype(series.dtype):
            raise TypeError(f"The column {write_name(variable.name)} holds complex numbers.")
        values = series.to_numpy(dtype=np.float64, na_value=np.nan, copy=variable.zero_if_blank)
    else:
        values = _numbers_of_objects(series, variable)
    infinite = np.isinf(values)
    if infinite.any():
        first = int(np.flatnonzero(infinite)[0])
        raise ValueError(
            f"The column {write_name(variable.name)} has {int(infinite.sum()):,} infinite values, "
            f"the first in record {series.index[first]!r}. Correct them, or make them missing."
        )
    return values, np.isnan(values)


def _numbers_of_objects(series: pd.Series[Any], variable: Variable) -> NDArray[np.float64]:
    """Read numbers among missing values; text, truth values and dates are no numbers."""
    known = series.dropna().astype(object)
    strange = known.map(type).map(lambda kind: not issubclass(kind, _NUMBERS) or kind is bool)
    if strange.any():
        found = known[strange.to_numpy(dtype=bool)]
        raise TypeError(
            f"The column {write_name(variable.name)} is used as a number, but holds "
            f"{found.iloc[0]!r} in record {found.index[0]!r}, and {len(found):,} such values in "
            "all. Turn text into numbers first, with pandas.to_numeric, and decide what to do with "
            "the rest."
        )
    return pd.to_numeric(series.astype(object)).to_numpy(
        dtype=np.float64, na_value=np.nan, copy=True
    )


def _read_booleans(series: pd.Series[Any], variable: Variable) -> tuple[NDArray[np.intp], Mask]:
    values, different = pd.factorize(series)
    places = []
    for value in different:
        truth = isinstance(value, (bool, np.bool_)) or (
            isinstance(value, (int, float, np.number)) and value in (0, 1)
        )
        if not truth:
            raise TypeError(
                f"The column {write_name(variable.name)} is used as a truth value, but holds "
                f"{value!r}. Allowed are True and False, or 1 and 0; for text write a comparison, "
                f'such as {write_name(variable.name)} == "yes".'
            )
        places.append(int(value))
    return np.array([*places, -1], dtype=np.intp)[values], values == -1


def _read_categories(
    series: pd.Series[Any], variable: Variable
) -> tuple[NDArray[np.intp], Mask, tuple[str, ...]]:
    """Read text; empty text, as in a blank cell of a file, is missing."""
    values, different = pd.factorize(series)
    for value in different:
        if not isinstance(value, str):
            raise TypeError(
                f"The column {write_name(variable.name)} is compared with text, but holds "
                f"{value!r} ({type(value).__name__}). Turn it into text, or write the rule with a "
                "number, without quotes."
            )
    texts = tuple(different)
    if "" in texts:
        values = np.where(values == texts.index(""), -1, values)
    return values, values == -1, texts


def _as_design(
    sample_weight: ArrayLike | None, design: AnyDesign | None, records: int
) -> AnyDesign | None:
    if sample_weight is not None:
        if design is not None:
            raise ValueError(
                "Both sample_weight and design are given. Put the weights into the design."
            )
        design = Design(weights=sample_weight)
    if design is not None and len(design.weights) != records:
        raise ValueError(
            f"{records:,} records, but weights or design of {len(design.weights):,}. Give both "
            "for the same records, in the same order."
        )
    return design
