"""The smallest change of imputed values after which every hard rule holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit.editing._check import Cell, Columns, RuleCheck, read_columns
from mlkit.editing._grammar import Clause, LinearAtom, MemberAtom
from mlkit.editing._imputation import (
    Cells,
    Imputation,
    as_status,
    make_imputation,
    read_cells,
    read_frame,
    read_hard_rules,
    refuse_unknown,
)
from mlkit.editing._nearest import Outcome, Rows, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlkit.editing._rules import EditRules

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Places = NDArray[np.intp]

STATUSES = ("held", "adjusted", "infeasible", "missing", "given up")
_HELD, _ADJUSTED, _INFEASIBLE, _MISSING, _GIVEN_UP = range(5)

_SMALLEST = 1e-3  # a value counts as no smaller than this part of the record's largest
_WHOLE = 1e-8  # a number this near a whole one is whole
_MARGIN = 1e-6  # by which strict comparisons hold, and
_RELATIVE_MARGIN = 1e-9  # of the numbers that are compared, where that is more
_MOST_NODES = 1_000  # of the search through conditions and whole numbers, by record
_CELLS_AT_ONCE = 4_000_000  # records times rows times columns: 32 MB an array
_EPSILON = float(np.finfo(np.float64).eps)


def adjust_to_rules(
    frame: pd.DataFrame | NDArray[np.float64],
    rules: EditRules,
    imputed: Cells,
    *,
    weights: Mapping[str, float] | pd.DataFrame | None = None,
) -> Imputation:
    """Move imputed values as little as possible, so that every hard rule holds.

    Use it after any imputer: what an imputer gives for one cell knows nothing of the balances
    that the record must keep.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns), or array
        The imputed data. The array that a scikit-learn imputer returns will do, if `imputed` is
        a data frame with its columns.
    rules : EditRules
        The rules. Soft ones are not looked at.
    imputed : DataFrame of bool, or array of bool of the shape of the data
        The cells that may be moved; columns may be left out. All other cells stay as they are.
    weights : mapping of str to float, or DataFrame, optional
        What moves are weighted with, by column or by cell, above 0; 1 for columns that are not
        named. The weighted sum of squared moves is made smallest. By default the weight is
        1 / max(abs(x), s), with s a thousandth of the largest imputed value of the record (1 if
        all are 0), so that large values move more than small ones: the parts of one balance
        then move as :func:`prorate` moves them.

    Returns
    -------
    Imputation
        ``.status`` is "held" where all hard rules hold as it is; "adjusted"; "infeasible" where
        no values of the imputed cells satisfy the rules; "missing" where a cell to move has no
        value; "given up" where the search took too long. Records of the last three are as they
        were. ``.changed`` are the cells that moved.

    Raises
    ------
    TypeError, ValueError
        If rules contradict each other or there is no hard one; columns are unknown or named
        twice; identifiers of records come twice; `imputed` is about other records, or does not
        hold truth values; a weight is not above 0; or as in :meth:`EditRules.check`.

    Notes
    -----
    For each failing record the convex quadratic programme::

        minimise  sum_j w_j (x_j - y_j)^2  over the imputed cells j,  under the hard rules

    is solved exactly, by the dual active-set method of Goldfarb and Idnani (1983), all records
    at a time. Least squares, as least absolute moves pile values on the bounds. See Pannekoek
    and Zhang, Optimal adjustments for inconsistency in imputed data, Survey Methodology 41, 2015
    (both cited from memory).

    Conditional rules and whole numbers are searched by branch and bound, best first, so that the
    answer is the smallest change over all ways to satisfy them. Categories and truth values
    among the imputed cells are changed only if no numbers do, as few as possible; of several
    allowed values, to the one that is most frequent among the observed. Records whose whole
    numbers (``variable staff: integer``) were imputed with fractions are adjusted too.

    Balances hold exactly where they can; within their tolerance only if rounded observed values
    leave no other way. A strict comparison is kept with a small margin: a millionth, or a
    billionth of the numbers that are compared if that is more. Every answer is verified with
    :meth:`EditRules.check`.

    A rule with a missing value that is not to be moved cannot be broken, so it binds nothing.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.impute import SimpleImputer
    >>> from mlkit.editing import EditRules
    >>> rules = EditRules.from_text('''
    ... balance: turnover + other == total
    ... positive: other >= 0
    ... ''')
    >>> raw = pd.DataFrame({"turnover": [90, 180, np.nan], "other": [10, 20, np.nan],
    ...                     "total": [100, 200, 300.]})
    >>> filled = SimpleImputer().fit_transform(raw)
    >>> done = adjust_to_rules(filled, rules, raw.isna())
    >>> done.frame
       turnover  other  total
    0      90.0   10.0  100.0
    1     180.0   20.0  200.0
    2     270.0   30.0  300.0
    >>> done.status.tolist()
    ['held', 'held', 'adjusted']
    """
    frame = read_frame(_as_frame(frame, imputed))
    asked = read_cells(imputed, frame, "imputed")
    hard = read_hard_rules(rules)
    check = hard.check(frame)  # refuses data that do not fit
    state = _State.read(hard, frame, asked, check, weights)

    status = np.full(len(frame), _HELD)
    status[state.without_value] = _MISSING
    todo = np.flatnonzero((check.failing | state.fractional) & ~state.without_value)
    answer = _Answer(state.x.copy(), state.codes.copy(), status)
    for tolerant in (False, True):
        programme = _Programme(hard, state, tolerant)
        at_once = max(1, _CELLS_AT_ONCE // max(1, programme.G.size))
        for first in range(0, len(todo), at_once):
            _search(programme, state, todo[first : first + at_once], answer)
        todo = todo[answer.status[todo] == _INFEASIBLE]
        if not len(todo) or not programme.has_tolerances:
            break

    result = _write(frame, asked, state, answer)
    wrong = np.flatnonzero(answer.status == _ADJUSTED)
    if len(wrong):
        wrong = wrong[hard.check(result.frame.iloc[wrong]).failing]
    if len(wrong):  # rounding, beyond what the rules allow for
        answer.status[wrong] = _GIVEN_UP
        answer.x[wrong], answer.codes[wrong] = state.x[wrong], state.codes[wrong]
        result = _write(frame, asked, state, answer)
    return result


def _as_frame(frame: object, imputed: object) -> object:
    """Give an array the names that the cells have."""
    if not isinstance(frame, np.ndarray):
        return frame
    if not isinstance(imputed, pd.DataFrame):
        raise TypeError(
            "frame and imputed are both without column names. Give one of them as a DataFrame, "
            "such as imputed=observed.isna()."
        )
    if frame.shape != imputed.shape:
        raise ValueError(
            f"frame has the shape {frame.shape}, imputed {imputed.shape}. An imputer may have "
            "left out columns without any value (keep_empty_features=True keeps them)."
        )
    return pd.DataFrame(frame, index=imputed.index, columns=imputed.columns)


def _write(frame: pd.DataFrame, asked: Mask, state: _State, answer: _Answer) -> Imputation:
    values: dict[str, tuple[Mask, NDArray[Any]]] = {}
    for place, name in enumerate(state.numbers):
        new = answer.x[:, place]
        values[name] = (state.free[:, place] & (new != state.x[:, place]), new)
    for place, (name, texts) in enumerate(state.categories.items()):
        codes = answer.codes[:, place]
        moved = codes != state.codes[:, place]
        values[name] = (moved, np.array([*texts, None], dtype=object)[codes])
    result = make_imputation(frame, asked, values, as_status(STATUSES, answer.status, frame.index))
    # What was asked for and not moved is left only where the record is.
    unsettled = answer.status >= _INFEASIBLE
    return replace(result, left=result.left & unsettled[:, None])


# --- the data as the search sees them --------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _State:
    """Values, which of them may move, and how dearly.

    Numbers are `x`, of shape (n, numbers), with 0 where missing; categories are `codes`, places
    in the values listed in `categories`, -1 where missing.
    """

    numbers: tuple[str, ...]
    x: Floats
    missing: Mask
    free: Mask
    scale: Floats
    whole: Mask  # of shape (numbers,): must be whole
    categories: dict[str, tuple[Any, ...]]
    codes: Places
    free_codes: Mask
    frequency: tuple[Floats, ...]  # of the values of each category
    without_value: Mask  # records with a cell that is to be moved and has no value

    @classmethod
    def read(
        cls,
        rules: EditRules,
        frame: pd.DataFrame,
        asked: Mask,
        check: RuleCheck,
        weights: Mapping[str, float] | pd.DataFrame | None,
    ) -> _State:
        columns = read_columns(rules, frame)
        places = frame.columns.get_indexer(pd.Index([v.name for v in rules.variables]))
        asked = asked[:, places]
        empty = (check.cells == Cell.NON_RESPONSE) | (check.cells == Cell.NOT_APPLICABLE)
        number = np.array([variable.numeric for variable in rules.variables])
        names = tuple(v.name for v in rules.variables if v.numeric)
        x = np.zeros((len(frame), len(names)))
        for place, name in enumerate(names):
            x[:, place] = np.nan_to_num(columns.read[name].data)
        free = (asked & ~empty)[:, number]
        categories = {v.name: _values(columns, v) for v in rules.variables if not v.numeric}
        codes = [columns.read[name].data for name in categories]
        free_codes = (asked & ~empty)[:, ~number]
        frequency = tuple(
            np.bincount(code[~moves & (code >= 0)], minlength=len(values)).astype(np.float64)
            for code, moves, values in zip(codes, free_codes.T, categories.values(), strict=True)
        )
        return cls(
            numbers=names,
            x=x,
            missing=empty[:, number],
            free=free,
            scale=np.where(free, _scale(frame, names, x, free, weights), 0.0),
            whole=np.array([v.kind == "integer" for v in rules.variables if v.numeric], bool),
            categories=categories,
            codes=np.stack(codes, axis=1) if codes else np.zeros((len(frame), 0), dtype=np.intp),
            free_codes=free_codes,
            frequency=frequency,
            without_value=(asked & (check.cells == Cell.NON_RESPONSE)).any(axis=1),
        )

    @property
    def fractional(self) -> Mask:
        """Records with a number to be moved that should be whole and is not."""
        found: Mask = (self.free & self.whole & (self.x != np.round(self.x))).any(axis=1)
        return found


def _values(columns: Columns, variable: Any) -> tuple[Any, ...]:
    """Give the values that a category could have: those of the data, and those of the rules."""
    seen = columns.read[variable.name].different
    return (*seen, *(value for value in variable.categories if value not in seen))


def _scale(
    frame: pd.DataFrame,
    names: tuple[str, ...],
    x: Floats,
    free: Mask,
    weights: Mapping[str, float] | pd.DataFrame | None,
) -> Floats:
    """Give what moves are divided by: one over the root of the weight."""
    if weights is None:
        size = np.where(free, np.abs(x), 0.0)
        least = _SMALLEST * size.max(axis=1, initial=0.0, keepdims=True)
        scale: Floats = np.sqrt(np.maximum(size, np.where(least > 0, least, 1.0)))
        return scale
    if not isinstance(weights, (Mapping, pd.DataFrame)):
        raise TypeError(
            f"weights is a {type(weights).__name__}; give a mapping of columns to weights, or a "
            "DataFrame with a weight for each cell."
        )
    refuse_unknown(map(str, weights), frame, "weights")
    if isinstance(weights, pd.DataFrame) and not weights.index.equals(frame.index):
        raise ValueError("weights are about other records than the data, or in another order.")
    given = np.ones(x.shape)
    for place, name in enumerate(names):
        if name in weights:
            given[:, place] = weights[name]
    wrong = ~(np.isfinite(given) & (given > 0))
    if wrong.any():
        record, place = (int(found[0]) for found in np.nonzero(wrong))
        raise ValueError(
            f"The weight of {names[place]!r} is {given[record, place]:g}; allowed are finite "
            "numbers above 0. To keep a cell as it is, leave it out of `imputed`."
        )
    return 1 / np.sqrt(given)


@dataclass(eq=False)
class _Answer:
    """What was found for each record so far."""

    x: Floats
    codes: Places
    status: Places


# --- the rules as the search sees them -------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Linear:
    """A linear atom: the rows of the system that make it hold."""

    rows: tuple[int, ...]
    a: Floats
    constant: float
    tolerance: float
    strict: bool
    equal: bool


@dataclass(frozen=True, eq=False)
class _Member:
    """An atom about a category: the values for which it holds."""

    place: int
    allows: Mask


class _Programme:
    """Clauses of hard rules, as rows of a linear system and sets of allowed values.

    `G` and `equal` are the rows: those of linear atoms, then two for each whole number, which
    bound it from above and below. Within the tolerance an equality is two inequalities.
    """

    def __init__(self, rules: EditRules, state: _State, tolerant: bool) -> None:
        self.has_tolerances = False
        self._place = {name: place for place, name in enumerate(state.numbers)}
        self._codes = {name: place for place, name in enumerate(state.categories)}
        self._state, self._tolerant = state, tolerant
        self._rows: list[tuple[Floats, float, bool, bool]] = []  # a, h, equal, strict
        self.always: list[int] = []
        self.choices: list[list[_Linear | _Member]] = []
        self.allowed = [np.ones(len(values), dtype=bool) for values in state.categories.values()]
        unknown, unknown_choice = [], []  # by record: a missing value leaves it open
        for clause in (clause for rule in rules for clause in rule.clauses):
            atoms = [self._read(atom) for atom in clause]
            missing = self._missing(clause)
            only = atoms[0]
            if len(atoms) > 1:
                self.choices.append(atoms)
                unknown_choice.append(missing)
            elif isinstance(only, _Linear):
                self.always += only.rows
                unknown += [missing] * len(only.rows)
            else:
                self.allowed[only.place] = self.allowed[only.place] & only.allows
        self._unknown = np.stack(unknown) if unknown else np.zeros((0, len(state.x)), bool)
        self.unknown_choice = unknown_choice
        self.whole = np.flatnonzero(state.whole)
        self.first_bound = len(self._rows)
        for place in self.whole:
            for sign in (1.0, -1.0):
                self._rows.append((sign * np.eye(len(state.numbers))[place], 0.0, False, False))
        width = len(state.numbers)
        self.G = np.array([row[0] for row in self._rows]).reshape(len(self._rows), width)
        self.h = np.array([row[1] for row in self._rows])
        self.equal = np.array([row[2] for row in self._rows], dtype=bool)
        self.strict = np.array([row[3] for row in self._rows], dtype=bool)

    def _read(self, atom: LinearAtom | MemberAtom) -> _Linear | _Member:
        if isinstance(atom, MemberAtom):
            values = self._state.categories[atom.variable]
            holds = [(value in atom.members) == atom.inside for value in values]
            return _Member(self._codes[atom.variable], np.array(holds, dtype=bool))
        a = np.zeros(len(self._place))
        for name, coefficient in atom.coefficients:
            a[self._place[name]] = coefficient
        self.has_tolerances |= atom.tolerance > 0
        room = atom.tolerance if self._tolerant else 0.0
        equal, strict, first = atom.operator == "==", atom.operator == "<", len(self._rows)
        bound = atom.constant + room
        if strict and self._state.whole[a != 0].all() and not (a % 1).any():
            bound = math.ceil(bound) - 1  # the next whole number below
        self._rows.append((a, bound, equal and not room, strict and bound == atom.constant))
        if equal and room:
            self._rows.append((-a, room - atom.constant, False, False))
        rows = tuple(range(first, len(self._rows)))
        return _Linear(rows, a, atom.constant, atom.tolerance, strict, equal)

    def _missing(self, clause: Clause) -> Mask:
        """Say for which records a clause has a missing value, so that it cannot be broken."""
        missing = np.zeros(len(self._state.x), dtype=bool)
        for name in {name for atom in clause for name in atom.variables}:
            if name in self._place:
                missing |= self._state.missing[:, self._place[name]]
            else:
                missing |= self._state.codes[:, self._codes[name]] < 0
        return missing

    def roots(self, records: Places) -> _Nodes:
        """Begin the search: nothing is decided but what every record must satisfy."""
        on = np.zeros((len(records), len(self.G)), dtype=bool)
        on[:, self.always] = ~self._unknown[:, records].T
        h = np.tile(self.h, (len(records), 1))
        if self.strict.any():
            size = np.abs(self._state.x[records]) @ np.abs(self.G[self.strict]).T
            size += np.abs(self.h[self.strict])
            h[:, self.strict] -= np.maximum(_MARGIN, _RELATIVE_MARGIN * size)
        allowed = tuple(np.tile(values, (len(records), 1)) for values in self.allowed)
        return _Nodes(records, on, h, allowed)

    def solve(self, nodes: _Nodes) -> tuple[_Nodes, Places]:
        """Find the smallest change at each node; drop those without one.

        Returns the nodes, and the records for which the search has to be given up.
        """
        state = self._state
        codes = state.codes[nodes.record]
        possible = np.ones(len(nodes), dtype=bool)
        for place, allowed in enumerate(nodes.allowed):
            before = codes[:, place]
            stays = (before < 0) | allowed[np.arange(len(nodes)), before]
            possible &= stays | (state.free_codes[nodes.record, place] & allowed.any(axis=1))
            liked = np.where(allowed, state.frequency[place], -1.0).argmax(axis=1)
            codes[:, place] = np.where(stays, before, liked)
        nodes, codes = nodes.take(possible), codes[possible]
        changes = (codes != state.codes[nodes.record]).sum(axis=1)
        start, scale = state.x[nodes.record], state.scale[nodes.record]
        x, outcome = nearest(Rows(self.G, self.equal, nodes.h, nodes.on), start, scale)
        moves = np.divide(x - start, scale, out=np.zeros_like(x), where=scale > 0)
        nodes = replace(nodes, x=x, codes=codes, changes=changes, cost=(moves**2).sum(axis=1))
        return nodes.take(outcome == Outcome.SOLVED), nodes.record[outcome == Outcome.OPEN]

    def broken(self, nodes: _Nodes) -> Places:
        """Give the first clause that each node breaks, -1 if there is none."""
        first = np.full(len(nodes), -1)
        for number in reversed(range(len(self.choices))):
            holds = self.unknown_choice[number][nodes.record]
            for atom in self.choices[number]:
                holds = holds | self._holds(atom, nodes)
            first[~holds] = number
        return first

    def _holds(self, atom: _Linear | _Member, nodes: _Nodes) -> Mask:
        if isinstance(atom, _Member):
            held: Mask = atom.allows[nodes.codes[:, atom.place]]
            return held
        excess = nodes.x @ atom.a - atom.constant
        scale = np.abs(nodes.x) @ np.abs(atom.a) + abs(atom.constant)
        noise = 2 * (np.count_nonzero(atom.a) + 2) * _EPSILON * scale  # as RuleCheck allows
        if atom.equal:
            excess = np.abs(excess)
        found = excess < -noise if atom.strict else excess <= atom.tolerance + noise
        return np.logical_or(found, nodes.on[:, list(atom.rows)].all(axis=1))

    def fractional(self, nodes: _Nodes) -> Places:
        """Give the free whole number that is farthest from whole at each node, -1 if none is."""
        if not len(self.whole):
            return np.full(len(nodes), -1)
        values = nodes.x[:, self.whole]
        away = np.abs(values - np.round(values))
        away[~self._state.free[nodes.record][:, self.whole]] = 0.0
        farthest = away.argmax(axis=1)
        near = _WHOLE + 1e-12 * np.abs(values[np.arange(len(nodes)), farthest])
        found = away[np.arange(len(nodes)), farthest] > near
        return np.where(found, farthest, -1)

    def branch_clause(self, nodes: _Nodes, number: int) -> list[_Nodes]:
        """Let each atom of a clause hold in turn."""
        children = []
        for atom in self.choices[number]:
            if isinstance(atom, _Member):
                some = nodes.take(self._state.free_codes[nodes.record, atom.place])
                allowed = list(some.allowed)
                allowed[atom.place] = allowed[atom.place] & atom.allows
                children.append(replace(some, allowed=tuple(allowed)))
            else:
                movable = self._state.free[nodes.record] @ (atom.a != 0)
                some = nodes.take(movable)
                on = some.on.copy()
                on[:, list(atom.rows)] = True
                children.append(replace(some, on=on))
        return children

    def branch_whole(self, nodes: _Nodes, number: Places) -> list[_Nodes]:
        """Bound a number by the whole numbers below and above."""
        children = []
        values = nodes.x[np.arange(len(nodes)), self.whole[number]]
        for side, bound in ((0, np.floor(values)), (1, -np.ceil(values))):
            on, h = nodes.on.copy(), nodes.h.copy()
            row = self.first_bound + 2 * number + side
            on[np.arange(len(nodes)), row] = True
            h[np.arange(len(nodes)), row] = bound
            children.append(replace(nodes, on=on, h=h))
        return children

    def finish(self, nodes: _Nodes) -> Floats:
        """Make whole numbers whole, and let the other numbers of their balances follow."""
        if not len(self.whole) or not len(nodes):
            return nodes.x
        x, scale = nodes.x.copy(), self._state.scale[nodes.record]
        free = self._state.free[nodes.record][:, self.whole]
        x[:, self.whole] = np.where(free, np.round(x[:, self.whole]), x[:, self.whole])
        scale[:, self.whole] = 0.0
        moved, outcome = nearest(Rows(self.G, self.equal, nodes.h, nodes.on), x, scale)
        return np.where((outcome == Outcome.SOLVED)[:, None], moved, x)


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Nodes of the search: what is decided, and the smallest change under that.

    Each is about one record: the rows that are on with their right-hand sides, and the values
    that are still allowed for each category.
    """

    record: Places
    on: Mask
    h: Floats
    allowed: tuple[Mask, ...]
    x: Floats | Any = None
    codes: Places | Any = None
    changes: Places | Any = None
    cost: Floats | Any = None

    def __len__(self) -> int:
        return len(self.record)

    def take(self, which: Mask | Places) -> _Nodes:
        return _Nodes(
            self.record[which],
            self.on[which],
            self.h[which],
            tuple(values[which] for values in self.allowed),
            *(
                None if values is None else values[which]
                for values in (self.x, self.codes, self.changes, self.cost)
            ),
        )

    def best(self) -> Places:
        """Give the best node of each record."""
        order = np.lexsort((self.cost, self.changes, self.record))
        record = self.record[order]
        return order[np.flatnonzero(np.append(True, record[1:] != record[:-1]))]


def _join(parts: list[_Nodes]) -> _Nodes:
    def stack(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    return _Nodes(
        stack("record"),
        stack("on"),
        stack("h"),
        tuple(map(np.concatenate, zip(*(part.allowed for part in parts), strict=True))),
        *map(stack, ("x", "codes", "changes", "cost")),
    )


def _search(programme: _Programme, state: _State, records: Places, answer: _Answer) -> None:
    """Search the smallest change of each record, best nodes first, a node of each at a time.

    A node costs no more than those under it. So the first best node that breaks nothing is the
    answer.
    """
    answer.status[records] = _INFEASIBLE
    waiting, lost = programme.solve(programme.roots(records))
    answer.status[lost] = _GIVEN_UP
    for _ in range(_MOST_NODES):
        waiting = waiting.take(answer.status[waiting.record] == _INFEASIBLE)
        if not len(waiting):
            return
        best = waiting.best()
        nodes = waiting.take(best)
        waiting = waiting.take(np.setdiff1d(np.arange(len(waiting)), best))
        clause, number = programme.broken(nodes), programme.fractional(nodes)
        done = nodes.take((clause < 0) & (number < 0))
        answer.x[done.record], answer.codes[done.record] = programme.finish(done), done.codes
        answer.status[done.record] = _ADJUSTED
        children = []
        for one in np.unique(clause[clause >= 0]):
            children += programme.branch_clause(nodes.take(clause == one), int(one))
        halves = (clause < 0) & (number >= 0)
        if halves.any():
            children += programme.branch_whole(nodes.take(halves), number[halves])
        if children:
            solved, lost = programme.solve(_join(children))
            answer.status[lost] = _GIVEN_UP
            waiting = _join([waiting, solved])
    answer.status[np.unique(waiting.record)] = _GIVEN_UP
