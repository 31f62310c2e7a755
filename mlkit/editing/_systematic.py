"""Systematic errors: amounts in the wrong unit, wrong signs, values in each other's place."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.editing._check import read_columns
from mlkit.editing._grammar import LinearAtom
from mlkit.editing._imputation import (
    put_values,
    read_frame,
    read_hard_rules,
    read_names,
    read_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from mlkit.editing._rules import EditRules

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_FOUND = ("record", "error", "columns", "change", "evidence", "rules")
_SUSPECT = ("record", "candidates", "reason", "rules")


@dataclass(frozen=True, repr=False, eq=False)
class SystematicErrors:
    """What :func:`correct_systematic_errors` found.

    Attributes
    ----------
    frame : DataFrame of shape (n, columns)
        The corrected data.
    corrections : DataFrame
        One row per correction: `record`, its identifier; `error`, "unit", "sign" or "swap", or
        several joined by "+"; `columns`; `change`, in words; `evidence`, "balance", "reference"
        or "bound"; `rules`, the broken rules that it mends.
    suspected : DataFrame
        One row per finding that was left as it is: `record`; `candidates`, corrections that
        would do; `reason`, "ambiguous" where several mend the same rules; where a reference
        points to a unit error, "breaks rules" if rules hold now and would not then, and
        "reference in doubt" if rules about the reference would still be broken; `rules`, these
        rules.
    changed : DataFrame of bool, of shape (n, columns)
        The cells that were corrected.
    """

    frame: pd.DataFrame
    corrections: pd.DataFrame
    suspected: pd.DataFrame
    changed: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Count what was found.

        Returns
        -------
        DataFrame
            One row per kind of error and evidence: `error`, `evidence` and the number of
            `findings`; "suspected" are those that were left, with the reason as evidence.
        """
        left = self.suspected[["reason"]].rename(columns={"reason": "evidence"})
        rows = [self.corrections[["error", "evidence"]], left.assign(error="suspected")]
        kinds = pd.concat([part for part in rows if len(part)] or rows[:1])
        counts = kinds.groupby(["error", "evidence"]).size().rename("findings")
        return counts.reset_index()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how many corrections there are, by kind of error and evidence.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        from mlkit.style import BLUE, GREY

        ax = axes(ax)
        counts = self.to_frame()[::-1]
        colours = [GREY if error == "suspected" else BLUE for error in counts["error"]]
        ax.barh(counts["error"] + ", " + counts["evidence"], counts["findings"], color=colours)
        ax.set_xlabel("findings")
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str]:
        table = self.to_frame()
        table["findings"] = [f"{count:,}" for count in table["findings"]]
        title = (
            f"{len(self.frame):,} records: {len(self.corrections):,} corrections, "
            f"{len(self.suspected):,} suspicions left"
        )
        return title, table, "" if len(table) else "No systematic error was found."

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def correct_systematic_errors(
    frame: pd.DataFrame,
    rules: EditRules,
    *,
    reference: Mapping[str, str] | None = None,
    monetary: Sequence[str] = (),
    swaps: Sequence[tuple[str, str]] = (),
    factor: float = 1000.0,
    most_changes: int = 2,
) -> SystematicErrors:
    """Find and mend unit errors, wrong signs and swapped values, where there is no doubt.

    The first step of editing: such errors are large, and a minimum of changes, which looks for
    random ones, would mend the wrong field or none.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns)
        The data.
    rules : EditRules
        The rules. Soft ones are not looked at.
    reference : mapping of str to str, optional
        For a column, another one to which it is roughly proportional, such as the same amount of
        the period before, or the number of staff.
    monetary : list of str, optional
        The columns that a respondent fills in with one unit, so that they may all be wrong
        together.
    swaps : list of (str, str), optional
        Pairs of columns whose values respondents put in each other's place.
    factor : float, default=1000
        The ratio of the wrong unit to the right one, above 1.
    most_changes : int, default=2
        How many signs, swaps and units may be wrong at once in a record.

    Returns
    -------
    SystematicErrors
        The corrected data, a list of corrections, and a list of suspicions that were left.

    Raises
    ------
    TypeError, ValueError
        If rules contradict each other or there is no hard one; columns are unknown, named twice
        or hold text or infinite numbers; identifiers of records come twice; the factor is not
        above 1; or as in :meth:`EditRules.check`.

    Notes
    -----
    *By balances.* For each record that breaks a balance, all corrections are tried: the sign of
    a number; the values of one of the `swaps`; a number divided or multiplied by the factor; up
    to `most_changes` of them. One is accepted if all balances of the record hold afterwards, and
    no hard rule that names a changed column is broken. The fewest changes count; if several sets
    of as few will do, the record is left and reported. Signs and swaps after Scholtus,
    Algorithms for correcting sign errors and rounding errors in business survey data, Journal of
    Official Statistics 27(3), 2011 (cited from memory). Where nothing mends all balances, as
    there is an error of another kind besides, a correction is accepted that mends some of them,
    if all hard rules that name a changed column hold then.

    *By bounds.* The sign of a number that breaks a rule of its own, such as ``x >= 0``, is
    changed if all hard rules that name it hold afterwards.

    *By reference.* A unit error is one where the ratio of a column to its reference, divided by
    the median of that ratio over all records, lies between the factor to the power of 1/2 and
    of 3/2 (32 and 31,623 for 1000), or is one over such a number.
    If all `monetary` columns of a record that have a reference, two at least or the only one
    named, are wrong alike, then all monetary columns are corrected; else each by itself.
    Corrections that break a rule that holds now, or after which a rule that names the reference
    is still broken, are left and reported.

    Corrected values are rounded to the declared unit of their variable. A balance that holds
    in the wrong unit holds in the right one: an error of a whole record is seen by reference
    alone. If more than half the records are wrong, the median is, too. A true change by the
    factor cannot be told from an error.

    Examples
    --------
    >>> import pandas as pd
    >>> from mlkit.editing import EditRules
    >>> rules = EditRules.from_text('''
    ... result: profit == turnover - costs
    ... positive: costs >= 0
    ... ''')
    >>> firms = pd.DataFrame({"turnover": [100, 100, 250000, 80], "costs": [60, 60, 200, 60],
    ...                       "profit": [40, -40, 50, 25]})
    >>> found = correct_systematic_errors(firms, rules)
    >>> found.corrections[["record", "change"]]
       record                    change
    0       1            sign of profit
    1       2  turnover divided by 1000
    >>> found.frame
       turnover  costs  profit
    0       100     60      40
    1       100     60      40
    2       250    200      50
    3        80     60      25
    """
    frame = read_frame(frame)
    hard = read_hard_rules(rules)
    _check_options(factor, most_changes)
    names = [v.name for v in hard.variables if v.numeric]
    pairs = _read_pairs(swaps, names)
    reference = dict(reference or {})
    monetary = read_names(monetary, "monetary") if len(monetary) else []
    # These refuse data that do not fit.
    hard.check(frame)
    read_numbers(frame, monetary, "monetary")
    read_numbers(frame, dict.fromkeys([*reference, *reference.values()]), "reference")

    search = _Search(frame, hard, names)
    _by_balances(search, _elementary(names, pairs, factor), most_changes)
    _by_bounds(search)
    if reference:
        _by_reference(search, reference, monetary, factor)
    return search.result()


def _check_options(factor: float, most_changes: int) -> None:
    if not (math.isfinite(factor) and factor > 1):
        raise ValueError(f"factor={factor!r}; it is to be above 1, such as 1000.")
    if not isinstance(most_changes, int):
        raise TypeError(f"most_changes={most_changes!r}; give a whole number.")
    if most_changes < 1:
        raise ValueError(f"most_changes={most_changes}; at least one change is to be tried.")


def _read_pairs(swaps: Sequence[Any], names: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for pair in swaps:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or len(set(pair)) != 2:
            raise ValueError(f"swaps has {pair!r}; give pairs of different columns.")
        for name in pair:
            if name not in names:
                raise ValueError(
                    f"swaps names {name!r}, which is no number of the hard rules. These are "
                    f"{', '.join(names)}."
                )
        pairs.append((pair[0], pair[1]))
    return pairs


# --- corrections -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Change:
    """An elementary correction: of one column, or of two that are swapped."""

    error: str
    columns: tuple[str, ...]
    text: str
    factor: float = 1.0  # by which the column is multiplied

    def apply(self, values: dict[str, Floats]) -> dict[str, Floats]:
        """Give the corrected columns."""
        if self.error == "swap":
            first, second = self.columns
            return {first: values[second], second: values[first]}
        return {name: values[name] * self.factor + 0.0 for name in self.columns}


def _elementary(names: list[str], pairs: list[tuple[str, str]], factor: float) -> list[_Change]:
    changes = [_Change("sign", (name,), f"sign of {name}", -1.0) for name in names]
    changes += [_Change("swap", pair, f"swap of {pair[0]} and {pair[1]}") for pair in pairs]
    changes += [_unit((name,), factor, above) for name in names for above in (True, False)]
    return changes


def _unit(columns: tuple[str, ...], factor: float, above: bool) -> _Change:
    done = "divided" if above else "multiplied"
    text = f"{', '.join(columns)} {done} by {factor:g}"
    return _Change("unit", columns, text, 1 / factor if above else factor)


class _Search:
    """The data while they are corrected, and what was found."""

    def __init__(self, frame: pd.DataFrame, rules: EditRules, names: list[str]) -> None:
        self.rules = rules
        self.given = self.frame = frame
        self.names = names
        self.units = {variable.name: variable.unit for variable in rules.variables}
        self.rule_names = np.array(rules.names, dtype=object)
        columns = read_columns(rules, frame)
        self.x = {name: columns.read[name].data.astype(np.float64) for name in names}
        self.before = dict(self.x)
        self.broken = rules.check(frame).broken
        self.corrections: list[tuple[int, tuple[Any, ...]]] = []
        self.suspected: list[tuple[int, tuple[Any, ...]]] = []

    def tried(self, changes: Iterable[_Change], records: NDArray[np.intp]) -> dict[str, Floats]:
        """Give the columns of some records after corrections."""
        values: dict[str, Floats] = {}
        for change in changes:
            before = {name: self._column(name)[records] for name in change.columns}
            values |= change.apply(before | {k: values[k] for k in before.keys() & values.keys()})
        for name, new in values.items():
            unit = self.units.get(name, 0.0)
            if unit:
                values[name] = np.round(new / unit) * unit
        return values

    def _column(self, name: str) -> Floats:
        if name not in self.x:  # monetary, or a reference, and in no rule
            self.x[name] = read_numbers(self.given, [name], "reference")[:, 0]
            self.before[name] = self.x[name]
        return self.x[name]

    def judge(self, values: dict[str, Floats], records: NDArray[np.intp]) -> Mask:
        """Say which rules some records would break, of shape (records, rules).

        Only rules that name a corrected column can be others than before.
        """
        broken = self.broken[records].copy()
        concerned = [
            place
            for place, rule in enumerate(self.rules)
            if not values.keys().isdisjoint(rule.variables)
        ]
        if concerned and len(records):
            some = self.rules.involving(*values)
            part = self.frame.iloc[records].assign(**values)
            broken[:, concerned] = some.check(part).broken
        return broken

    def concerned(self, columns: Iterable[str]) -> Mask:
        """Say which rules name one of the columns."""
        named = set(columns)
        return np.array([not named.isdisjoint(rule.variables) for rule in self.rules], dtype=bool)

    def correct(self, changes: Sequence[_Change], records: NDArray[np.intp], evidence: str) -> None:
        """Put corrections into the data, and write them down."""
        values = self.tried(changes, records)
        broken = self.judge(values, records)
        mended = self.broken[records] & ~broken
        self.broken[records] = broken
        columns = {}
        where = np.zeros(len(self.frame), dtype=bool)
        where[records] = True
        for name, new in values.items():
            self.x[name] = self._column(name).copy()
            self.x[name][records] = new
            columns[name] = put_values(self.frame[name], where, self.x[name][where])
        self.frame = self.frame.assign(**columns)
        for record, rules in zip(records, mended, strict=True):
            self.corrections.append(
                (
                    int(record),
                    (
                        self.frame.index[record],
                        " + ".join(dict.fromkeys(change.error for change in changes)),
                        ", ".join(dict.fromkeys(n for c in changes for n in c.columns)),
                        " and ".join(change.text for change in changes),
                        evidence,
                        ", ".join(self.rule_names[rules]),
                    ),
                )
            )

    def suspect(self, record: int, candidates: Iterable[str], reason: str, rules: Mask) -> None:
        """Write down what was left."""
        listed = ", ".join(self.rule_names[rules])
        row = (self.frame.index[record], " | ".join(candidates), reason, listed)
        self.suspected.append((record, row))

    def result(self) -> SystematicErrors:
        """Give what was found, in the order of the records."""
        changed = pd.DataFrame(False, self.given.index, self.given.columns)
        for name, after in self.x.items():
            before = self.before[name]
            changed[name] = (after != before) & ~np.isnan(before)
        return SystematicErrors(
            frame=self.frame.copy(),
            corrections=_table(self.corrections, _FOUND),
            suspected=_table(self.suspected, _SUSPECT),
            changed=changed,
        )


def _table(rows: list[tuple[int, tuple[Any, ...]]], columns: tuple[str, ...]) -> pd.DataFrame:
    ordered = sorted(rows, key=lambda row: row[0])
    return pd.DataFrame([row for _, row in ordered], columns=list(columns))


# --- by balances -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Balances:
    """The balances as a system, with the place of the rule of each."""

    A: Floats
    b: Floats
    tolerance: Floats
    rule: NDArray[np.intp]

    @classmethod
    def of(cls, rules: EditRules, names: list[str]) -> _Balances:
        found = [
            (place, clause[0])
            for place, rule in enumerate(rules)
            for clause in rule.clauses
            if len(clause) == 1
            and isinstance(clause[0], LinearAtom)
            and clause[0].operator == "=="
            and len(clause[0].coefficients) > 1
        ]
        column = {name: place for place, name in enumerate(names)}
        A = np.zeros((len(found), len(names)))  # noqa: N806 - the field's name
        atoms: list[LinearAtom] = []
        for row, (_, atom) in zip(A, found, strict=True):
            assert isinstance(atom, LinearAtom)  # noqa: S101 - chosen above
            atoms.append(atom)
            for name, coefficient in atom.coefficients:
                row[column[name]] = coefficient
        return cls(
            A,
            np.array([atom.constant for atom in atoms]),
            np.array([atom.tolerance for atom in atoms]),
            np.array([place for place, _ in found], dtype=np.intp),
        )

    def hold(self, x: Floats) -> Mask:
        """Say which balances hold, or have a missing value; a quick look before the rules."""
        excess = np.abs(x @ self.A.T - self.b)
        scale = np.abs(x) @ np.abs(self.A).T + np.abs(self.b)
        held: Mask = ~(excess > self.tolerance + 1e-12 * scale)
        return held


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A set of changes, the records for which it will do, and what it mends there."""

    changes: tuple[_Change, ...]
    records: NDArray[np.intp]
    mended: Mask  # of shape (records, rules)

    @property
    def text(self) -> str:
        return " and ".join(change.text for change in self.changes)


def _by_balances(search: _Search, elementary: list[_Change], most: int) -> None:
    """Try sets of changes, small ones first: to mend all balances, then to mend some."""
    balances = _Balances.of(search.rules, search.names)
    settled = np.zeros(search.broken.shape, dtype=bool)  # rules left as ambiguous
    for complete in (True, False):
        for size in range(1, most + 1):
            found = []
            open_rules = search.broken & ~settled
            x = np.column_stack([search.x[name] for name in search.names])
            for changes in itertools.combinations(elementary, size):
                candidate = _try(search, balances, changes, x, open_rules, complete)
                if candidate is not None:
                    found.append(candidate)
            _decide(search, found, settled)


def _try(
    search: _Search,
    balances: _Balances,
    changes: tuple[_Change, ...],
    x: Floats,
    open_rules: Mask,
    complete: bool,
) -> _Candidate | None:
    """Find the records for which a set of changes will do.

    Balances are looked at first, as matrices; what passes goes through all rules.
    """
    columns = [name for change in changes for name in change.columns]
    places = np.array([search.names.index(name) for name in columns])
    touched = (balances.A[:, places] != 0).any(axis=1)
    at = balances.rule[touched]
    if len(set(columns)) < len(columns) or not (complete or _joined(changes, search, balances)):
        return None
    concerned = open_rules[:, at].any(axis=1)
    if complete:
        concerned &= ~open_rules[:, balances.rule[~touched]].any(axis=1)
    records = np.flatnonzero(concerned)
    values = search.tried(changes, records)
    new = x[records]
    for name, place in zip(columns, places, strict=True):
        new[:, place] = values[name]
    works = balances.hold(new)[:, touched].all(axis=1)
    records = records[works]
    if not len(records):
        return None
    broken = search.judge({name: column[works] for name, column in values.items()}, records)
    mended = open_rules[records] & ~broken
    fine = ~(broken & search.concerned(columns)).any(axis=1) & mended[:, at].any(axis=1)
    return _Candidate(changes, records[fine], mended[fine])


def _joined(changes: tuple[_Change, ...], search: _Search, balances: _Balances) -> bool:
    """Say whether each change shares a balance with others; if not, it is tried without them."""
    rows = [
        (balances.A[:, [search.names.index(name) for name in change.columns]] != 0).any(axis=1)
        for change in changes
    ]
    shared = np.sum(rows, axis=0) > 1
    return len(rows) == 1 or all((row & shared).any() for row in rows)


def _decide(search: _Search, found: list[_Candidate], settled: Mask) -> None:
    """Correct where only one candidate mends a rule; write down the others."""
    votes = np.zeros(search.broken.shape, dtype=np.int32)
    for one in found:
        votes[one.records] += one.mended
    doubtful: dict[int, list[str]] = {}
    for one in found:
        alone = ~(one.mended & (votes[one.records] > 1)).any(axis=1)
        for record in one.records[~alone]:
            doubtful.setdefault(int(record), []).append(one.text)
        records = one.records[alone]
        # Other corrections of the same record may have come before.
        broken = search.judge(search.tried(one.changes, records), records)
        columns = [name for change in one.changes for name in change.columns]
        fine = ~(broken & search.concerned(columns)).any(axis=1)
        fine &= (search.broken[records] & ~broken).any(axis=1)
        search.correct(one.changes, records[fine], "balance")
    for record, candidates in doubtful.items():
        settled[record] |= votes[record] > 0
        rules = (votes[record] > 1) & search.broken[record]
        search.suspect(record, candidates, "ambiguous", rules)


# --- by bounds and by reference --------------------------------------------------------------


def _by_bounds(search: _Search) -> None:
    """Change the sign of numbers that break a rule about themselves alone."""
    for name in search.names:
        own = np.array([rule.variables == (name,) for rule in search.rules], dtype=bool)
        records = np.flatnonzero((search.broken & own).any(axis=1))
        if not len(records):
            continue
        change = _Change("sign", (name,), f"sign of {name}", -1.0)
        broken = search.judge(search.tried([change], records), records)
        fine = ~(broken & search.concerned([name])).any(axis=1)
        search.correct([change], records[fine], "bound")


def _by_reference(
    search: _Search, reference: dict[str, str], monetary: list[str], factor: float
) -> None:
    """Look for ratios to a reference that are off by the factor."""
    power = {name: _powers(search, name, other, factor) for name, other in reference.items()}
    together = [name for name in monetary if name in reference]
    alike = np.zeros(len(search.frame))
    if together:
        seen = np.column_stack([power[name] for name in together])
        known = ~np.isnan(seen)
        enough = known.sum(axis=1) >= min(2, len(together))
        highest = np.where(known, seen, -np.inf).max(axis=1)
        lowest = np.where(known, seen, np.inf).min(axis=1)
        alike = np.where(enough & (highest == lowest), highest, 0.0)
        for sign in (1.0, -1.0):
            change = _unit(tuple(monetary), factor, sign > 0)
            others = [reference[name] for name in together]
            _correct_without_harm(search, change, np.flatnonzero(alike == sign), others)
    for name, found in power.items():
        for sign in (1.0, -1.0):
            rest = (found == sign) & ~((alike == sign) & (name in monetary))
            change = _unit((name,), factor, sign > 0)
            _correct_without_harm(search, change, np.flatnonzero(rest), [reference[name]])


def _powers(search: _Search, name: str, other: str, factor: float) -> Floats:
    """Give the power of the factor by which each ratio is off: 0, 1 or -1; NaN if not known."""
    above, below = np.abs(search._column(name)), np.abs(search._column(other))
    usable = (above > 0) & (below > 0)
    ratio = np.full(len(above), np.nan)
    np.divide(above, below, out=ratio, where=usable)
    if not usable.any():
        raise ValueError(
            f"No record has both {name!r} and {other!r}, its reference, with values other than 0."
        )
    away = np.log(ratio / np.nanmedian(ratio)) / math.log(factor)
    power: Floats = np.round(away)
    return np.where(np.abs(power) > 1, 0.0, power)


def _correct_without_harm(
    search: _Search, change: _Change, records: NDArray[np.intp], references: list[str]
) -> None:
    """Correct, but where that breaks a rule, or the reference itself is in doubt."""
    if not len(records):
        return
    broken = search.judge(search.tried([change], records), records)
    harmed = broken & ~search.broken[records]
    doubted = broken & search.concerned(references)
    for record, harm, doubt in zip(records, harmed, doubted, strict=True):
        if harm.any():
            search.suspect(int(record), [change.text], "breaks rules", harm)
        elif doubt.any():
            search.suspect(int(record), [change.text], "reference in doubt", doubt)
    search.correct([change], records[~harmed.any(axis=1) & ~doubted.any(axis=1)], "reference")
