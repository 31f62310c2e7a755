"""Values that the rules and the other values of a record leave no choice about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit.editing._check import Cell, Columns, Status, read_columns
from mlkit.editing._grammar import LinearAtom
from mlkit.editing._imputation import (
    Cells,
    Imputation,
    as_status,
    make_imputation,
    put_values,
    read_cells,
    read_frame,
    read_hard_rules,
)
from mlkit.editing._nearest import solve_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlkit.editing._rules import EditRules, Variable

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

STATUSES = ("nothing asked", "settled", "partly settled", "open", "contradiction")
_NOTHING, _SETTLED, _PARTLY, _OPEN, _CONTRADICTION = range(5)
_ROUNDING = 1e-14  # of the numbers that are added
_WHOLE = 1e-9  # a number this near a whole one is whole
_MOST_ROUNDS = 20  # of narrowing bounds; each passes on what the last one found


def impute_deductive(
    frame: pd.DataFrame, rules: EditRules, impute: Cells | None = None
) -> Imputation:
    """Impute the values that follow from the rules and the other values of the record.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns)
        The data.
    rules : EditRules
        The rules. Soft ones are not looked at.
    impute : DataFrame of bool, or array of bool of the shape of the data, optional
        The cells to impute, such as the fields of a localisation; what they hold is not looked
        at. By default all non-responses of the variables of the rules.

    Returns
    -------
    Imputation
        ``.status`` is "settled" where all cells that were asked for follow; "partly settled";
        "open" where none does; "contradiction" where a value that follows from some rules
        breaks another one, and the record is left as it was; "nothing asked" for all others.
        Cells that are asked for and do not follow keep what they hold.

    Raises
    ------
    TypeError, ValueError
        If rules contradict each other or there is no hard one; columns are unknown or named
        twice; identifiers of records come twice; `impute` is about other records, or does not
        hold truth values; or as in :meth:`EditRules.check`.

    Notes
    -----
    *Equalities* are solved for the unknown numbers by elimination, once for each pattern of
    unknown cells; a number follows if it is the only one left in a row. *Inequalities* narrow
    the bounds of each unknown number until nothing changes; a number follows if its bounds
    meet, as do those of parts that are not negative and add up to 0. A *category* follows if
    all its other values break a rule, provided that the rules list its values
    (``status in {"a", "b"}``). A *conditional* rule counts where its condition is known to hold.
    Each passes on to the others what it finds.

    Rules are taken as written, without tolerances; rounded values that agree only within them
    are a contradiction here, which :func:`adjust_to_rules` can settle. What follows only from
    several inequalities together, or from trying out conditions, is not found: such cells stay
    open, for :func:`impute_from_donors` or a model.

    The same is known as deterministic imputation in Banff.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from mlkit.editing import EditRules
    >>> rules = EditRules.from_text('''
    ... a + b + c == total
    ... a >= 0
    ... b >= 0
    ... c >= 0
    ... ''')
    >>> frame = pd.DataFrame({"a": [10, np.nan, np.nan], "b": [15, np.nan, np.nan],
    ...                       "c": [np.nan, 7.0, 7.0], "total": [50.0, 7.0, 9.0]})
    >>> done = impute_deductive(frame, rules)
    >>> done.frame
          a     b     c  total
    0  10.0  15.0  25.0   50.0
    1   0.0   0.0   7.0    7.0
    2   NaN   NaN   7.0    9.0
    >>> done.status.tolist()
    ['settled', 'settled', 'open']
    """
    frame = read_frame(frame)
    hard = read_hard_rules(rules)
    check = hard.check(frame)  # refuses data that do not fit
    names = [variable.name for variable in hard.variables]
    places = frame.columns.get_indexer(pd.Index(names))
    cells = check.cells == Cell.NON_RESPONSE
    if impute is not None:
        cells = read_cells(impute, frame, "impute")[:, places]
    asked = np.zeros(frame.shape, dtype=bool)
    asked[:, places] = cells

    some = np.flatnonzero(cells.any(axis=1))
    part, found, torn = frame.iloc[some], np.zeros(cells[some].shape, dtype=bool), some[:0]
    if len(some):
        part, found, wrong = _deduce(*_emptied(hard, part, cells[some]), cells[some])
        torn = some[wrong]

    status = np.full(len(frame), _NOTHING)
    count, wanted = found.sum(axis=1), cells[some].sum(axis=1)
    status[some] = np.where(count == wanted, _SETTLED, np.where(count > 0, _PARTLY, _OPEN))
    status[torn] = _CONTRADICTION
    values: dict[str, tuple[Mask, NDArray[Any]]] = {}
    for place, name in enumerate(names):
        where = np.zeros(len(frame), dtype=bool)
        where[some] = found[:, place]
        where[torn] = False
        new = np.empty(len(frame), dtype=object)
        new[some] = part[name].to_numpy(dtype=object)
        values[name] = (where, new)
    return make_imputation(frame, asked, values, as_status(STATUSES, status, frame.index))


def _emptied(rules: EditRules, frame: pd.DataFrame, cells: Mask) -> tuple[EditRules, pd.DataFrame]:
    """Take out what the cells to impute hold; a blank that means 0 becomes 0 before."""
    columns = {}
    for variable, where in zip(rules.variables, cells.T, strict=True):
        column = frame[variable.name]
        columns[variable.name] = (column.fillna(0) if variable.zero_if_blank else column).mask(
            where
        )
    exact = tuple(replace(variable, zero_if_blank=False) for variable in rules.variables)
    return replace(rules, variables=exact), frame.assign(**columns)


def _deduce(rules: EditRules, frame: pd.DataFrame, cells: Mask) -> tuple[pd.DataFrame, Mask, Mask]:
    """Fill in what follows, until nothing does; also say what was found, and what is torn."""
    found = np.zeros(cells.shape, dtype=bool)
    torn = np.zeros(len(frame), dtype=bool)
    system = _System(rules)
    more = True
    while more:
        columns = read_columns(rules, frame)
        new, values = system.solve(columns, cells & ~found)
        filled = {}
        for place, variable in enumerate(rules.variables):
            if variable.numeric:
                where, what = new[:, place], values[:, place].astype(object)
            else:
                where, what = _only_category(rules, frame, variable, cells[:, place])
                where &= ~found[:, place]
            new[:, place] = where
            if where.any():
                filled[variable.name] = put_values(frame[variable.name], where, what[where])
        frame = frame.assign(**filled)
        found |= new
        more = bool(filled)
    for place, variable in enumerate(rules.variables):
        if found[:, place].any():
            broken = rules.involving(variable.name).check(frame).failing
            torn |= broken & found[:, place]
    return frame, found, torn


def _only_category(
    rules: EditRules, frame: pd.DataFrame, variable: Variable, cells: Mask
) -> tuple[Mask, NDArray[Any]]:
    """Find where all values of a category but one break a rule."""
    where = np.zeros(len(frame), dtype=bool)
    what = np.full(len(frame), None, dtype=object)
    open_cells = np.flatnonzero(cells & frame[variable.name].isna().to_numpy())
    choices: tuple[Any, ...] = (True, False) if variable.kind == "boolean" else variable.categories
    if not len(open_cells) or not (variable.closed or variable.kind == "boolean"):
        return where, what
    part, concerned = frame.iloc[open_cells], rules.involving(variable.name)
    possible = np.empty((len(open_cells), len(choices)), dtype=bool)
    for place, value in enumerate(choices):
        tried = pd.Series([value] * len(part), part.index)
        possible[:, place] = ~concerned.check(part.assign(**{variable.name: tried})).failing
    only = possible.sum(axis=1) == 1
    where[open_cells] = only
    what[open_cells] = np.array(choices, dtype=object)[possible.argmax(axis=1)]
    return where, what


@dataclass(frozen=True, eq=False)
class _Row:
    """A linear atom, and the other atoms of its clause, which must all be false for it to bind."""

    atom: LinearAtom
    others: tuple[Any, ...]


class _System:
    """The linear atoms of the rules, and which of them bind each record."""

    def __init__(self, rules: EditRules) -> None:
        self.variables = rules.variables
        clauses = [clause for rule in rules for clause in rule.clauses]
        self.rows = [
            _Row(atom, tuple(other for other in clause if other is not atom))
            for clause in clauses
            for atom in clause
            if isinstance(atom, LinearAtom)
        ]
        place = {variable.name: number for number, variable in enumerate(self.variables)}
        self.A = np.zeros((len(self.rows), len(place)))
        for a, row in zip(self.A, self.rows, strict=True):
            for name, coefficient in row.atom.coefficients:
                a[place[name]] = coefficient
        self.b = np.array([row.atom.constant for row in self.rows])
        self.equal = np.array([row.atom.operator == "==" for row in self.rows], dtype=bool)
        self.low = np.array([variable.low for variable in self.variables])
        self.high = np.array([variable.high for variable in self.variables])
        self.whole = np.array([v.kind == "integer" for v in self.variables], dtype=bool)

    def solve(self, columns: Columns, cells: Mask) -> tuple[Mask, Floats]:
        """Find the numbers that follow, and their values."""
        x = np.full((columns.size, len(self.variables)), np.nan)
        kinds = np.zeros(x.shape, dtype=np.int8)
        for place, variable in enumerate(self.variables):
            if variable.numeric:
                x[:, place] = columns.read[variable.name].data
                kinds[:, place] = columns.cells(variable.name)
        unknown = np.isnan(x) & (kinds == Cell.NON_RESPONSE)
        # Rows about a value that does not apply bind nothing.
        on = ~((kinds == Cell.NOT_APPLICABLE) @ (self.A != 0).T)
        for place, row in enumerate(self.rows):
            for other in row.others:
                on[:, place] &= columns.judge(((other,),)) == Status.BROKEN
        found, values = self._eliminate(x, unknown, on)
        x = np.where(found, values, x)
        bounded, limits = self._narrow(x, unknown & ~found, on)
        values = np.where(bounded, limits, values)
        found |= bounded
        # A fraction breaks the rule from which it follows when it is made whole.
        return found & cells, np.where(self.whole, np.round(values), values)

    def _eliminate(self, x: Floats, unknown: Mask, on: Mask) -> tuple[Mask, Floats]:
        """Solve the equalities, once for each pattern of unknown cells and rows that bind."""
        found, values = np.zeros(x.shape, dtype=bool), np.zeros(x.shape)
        rows = np.flatnonzero(self.equal)
        if not len(rows):
            return found, values
        known = np.where(unknown | np.isnan(x), 0.0, x)
        key = np.packbits(np.concatenate([unknown, on[:, rows]], axis=1), axis=1)
        _, first, pattern = np.unique(key, axis=0, return_index=True, return_inverse=True)
        pattern = pattern.reshape(-1)
        used = on[first][:, rows]
        A = self.A[rows][None] * used[:, :, None]  # noqa: N806 - the field's name
        solver, basis, solved = solve_for(
            A, unknown[first].astype(np.float64), np.zeros(used.shape)
        )
        alone = (basis >= 0) & ((solved != 0).sum(axis=2) == 1)
        right = (self.b[rows] - known @ self.A[rows].T) * used[pattern]
        answers = np.einsum("nkr,nr->nk", solver[pattern], right)
        size = (np.abs(self.b[rows]) + np.abs(known) @ np.abs(self.A[rows]).T) * used[pattern]
        noise = _ROUNDING * np.einsum("nkr,nr->nk", np.abs(solver[pattern]), size)
        record, slot = np.nonzero(alone[pattern])
        place = basis[pattern[record], slot]
        answer, away = answers[record, slot], noise[record, slot]
        for bound in (np.zeros(len(self.low)), self.low, self.high):
            answer = np.where(np.abs(answer - bound[place]) <= away, bound[place], answer)
        found[record, place] = True
        values[record, place] = answer
        return found, values

    def _narrow(self, x: Floats, unknown: Mask, on: Mask) -> tuple[Mask, Floats]:
        """Narrow the bounds of unknown numbers, row by row, until nothing changes."""
        low, high = np.where(unknown, -np.inf, x), np.where(unknown, np.inf, x)
        noise = np.zeros(x.shape)
        for _ in range(_MOST_ROUNDS):
            before = low.copy(), high.copy()
            for row in range(len(self.rows)):
                active = np.flatnonzero(on[:, row] & (unknown & (self.A[row] != 0)).any(axis=1))
                if not len(active):
                    continue
                for sign in (1.0, -1.0) if self.equal[row] else (1.0,):
                    _narrow_by(
                        sign * self.A[row], sign * self.b[row], active, unknown, low, high, noise
                    )
            low[:, self.whole] = np.ceil(low[:, self.whole] - _WHOLE)
            high[:, self.whole] = np.floor(high[:, self.whole] + _WHOLE)
            if np.array_equal(before[0], low, True) and np.array_equal(before[1], high, True):
                break
        gap = np.subtract(high, low, out=np.full(x.shape, np.inf), where=np.isfinite(low))
        meets = unknown & (gap <= noise)
        # Of two bounds that differ by rounding, the one nearer to 0 is often 0 itself. Bounds that
        # contradict each other break a rule.
        return meets, np.where(np.abs(low) <= np.abs(high), low, high) + 0.0


def _narrow_by(
    a: Floats,
    bound: float,
    active: NDArray[np.intp],
    unknown: Mask,
    low: Floats,
    high: Floats,
    noise: Floats,
) -> None:
    """Narrow by a row a @ x <= bound: the others at their least leave the most for one."""
    places = np.flatnonzero(a)
    least = np.where(a[places] > 0, low[np.ix_(active, places)], high[np.ix_(active, places)])
    least = least * a[places]
    endless = np.isinf(least)
    total = np.where(endless, 0.0, least).sum(axis=1)
    size = np.abs(np.where(endless, 0.0, least)).sum(axis=1) + abs(bound)
    for slot, place in enumerate(places):
        others = endless.sum(axis=1) - endless[:, slot]
        usable = unknown[active, place] & (others == 0)
        rows = active[usable]
        rest = total[usable] - np.where(endless[usable, slot], 0.0, least[usable, slot])
        limit = (bound - rest) / a[place]
        noise[rows, place] = np.maximum(
            noise[rows, place], _ROUNDING * size[usable] / abs(a[place])
        )
        if a[place] > 0:
            high[rows, place] = np.minimum(high[rows, place], limit)
        else:
            low[rows, place] = np.maximum(low[rows, place], limit)
