"""Linear rules without some of their variables: exact projections, in whole numbers.

Whether some fields of a record can be given values that satisfy linear rules is a question about
the other fields alone: eliminate the free variables, equalities by a pivot and inequalities by
Fourier-Motzkin, and see whether the values that stay satisfy what is left. One elimination serves
all records. Coefficients are kept as whole numbers, so that terms cancel exactly; rounding enters
where a projection meets the data, as in :mod:`mlkit.editing._check`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlkit.editing._grammar import LinearAtom

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Whole: TypeAlias = NDArray[Any]  # int64, or Python's integers where these could overflow
    Floats: TypeAlias = NDArray[np.float64]
    Mask: TypeAlias = NDArray[np.bool_]

Choice: TypeAlias = tuple[int, int]  # a clause, and the literal by which it is to hold

MOST_ROWS = 1_500  # growth is doubly exponential in the worst case
_SMALL = 2**30  # products of two smaller numbers add up within int64
_EPSILON = float(np.finfo(np.float64).eps)


class TooManyRows(RuntimeError):  # noqa: N818 - says what happened
    """An elimination was given up: nothing is known, and nothing is guessed."""


@dataclass(frozen=True, eq=False)
class System:
    """Linear rows: ``rows[:, :-1] @ x`` is at most, below, or equal to ``rows[:, -1]``.

    Tolerances are part of the right-hand sides, so that they combine with the multipliers; an
    equality with a tolerance is two inequalities.
    """

    rows: Whole  # of shape (m, p + 1)
    equal: Mask
    strict: Mask
    derived: Mask  # whether it was combined from others
    reasons: tuple[int, ...]  # the clauses it follows from, as bits

    def __len__(self) -> int:
        return len(self.rows)

    def eliminate(self, column: int, soft: int) -> System:
        """Take out a variable; the bits `soft` are the clauses that may be broken at a price."""
        there = self.rows[:, column] != 0
        if not there.any():
            return self
        pivots = np.flatnonzero(there & self.equal)
        new = (
            self._substitute(column, self._best_pivot(pivots, soft), there)
            if len(pivots)
            else self._combine(column)
        )
        return _join(self._take(np.flatnonzero(~there)), new).tidy(soft)

    def _best_pivot(self, pivots: NDArray[np.intp], soft: int) -> int:
        """Prefer hard equalities, which make stronger conflicts, and then short ones."""
        rows: list[int] = pivots.tolist()
        return min(
            rows,
            key=lambda row: (bool(self.reasons[row] & soft), np.count_nonzero(self.rows[row])),
        )

    def _substitute(self, column: int, pivot: int, there: Mask) -> System:
        others = np.flatnonzero(there)
        others = others[others != pivot]
        rows = _roomy(self.rows)
        factor = rows[pivot, column]
        sign = 1 if factor > 0 else -1
        # Inequalities are multiplied by a positive number.
        combined = rows[others] * abs(factor) - (sign * rows[others, column])[:, None] * rows[pivot]
        return System(
            combined,
            self.equal[others],
            self.strict[others],
            np.ones(len(others), dtype=bool),
            tuple(self.reasons[row] | self.reasons[pivot] for row in others),
        )

    def _combine(self, column: int) -> System:
        rows = _roomy(self.rows)
        above = np.flatnonzero(rows[:, column] > 0)
        below = np.flatnonzero(rows[:, column] < 0)
        if len(above) * len(below) > MOST_ROWS:
            raise TooManyRows
        a, b = np.repeat(above, len(below)), np.tile(below, len(above))
        combined = rows[a] * (-rows[b, column])[:, None] + rows[b] * rows[a, column][:, None]
        return System(
            combined,
            np.zeros(len(a), dtype=bool),
            self.strict[a] | self.strict[b],
            np.ones(len(a), dtype=bool),
            tuple(self.reasons[i] | self.reasons[j] for i, j in zip(a, b, strict=True)),
        )

    def _take(self, places: Sequence[int] | NDArray[np.intp]) -> System:
        return System(
            self.rows[places],
            self.equal[places],
            self.strict[places],
            self.derived[places],
            tuple(self.reasons[place] for place in places),
        )

    def tidy(self, soft: int) -> System:
        """Leave out rows that say nothing, say the same, or follow from bounds."""
        kept = self._smallest()._without_weaker(soft)._without_bounded(soft)
        if len(kept) > MOST_ROWS:
            raise TooManyRows
        return kept

    def _smallest(self) -> System:
        """Divide each row by what its numbers have in common."""
        if not len(self):
            return self
        common = np.gcd.reduce(np.abs(self.rows), axis=1)
        common[common == 0] = 1
        rows = self.rows // common[:, None]
        if rows.dtype == object and np.abs(rows).max() < _SMALL:
            rows = rows.astype(np.int64)
        return System(rows, self.equal, self.strict, self.derived, self.reasons)

    def _without_weaker(self, soft: int) -> System:
        """Of rows with the same left side keep the strictest; leave out 0 <= 1.

        A row that needs no soft rule is not replaced by one that does.
        """
        left = self.rows[:, :-1]
        common = np.gcd.reduce(np.abs(left), axis=1) if len(self) else np.zeros(0, np.int64)
        empty = common == 0
        right = self.rows[:, -1]
        holds = np.where(self.equal, right == 0, np.where(self.strict, right > 0, right >= 0))
        divisor = np.where(empty, 1, common)
        directions = left // divisor[:, None]
        bounds = (right / divisor).astype(np.float64)
        best: dict[Any, int] = {}
        for row in np.flatnonzero(~(empty & holds.astype(bool))).tolist():
            direction = directions[row]
            name = tuple(direction) if direction.dtype == object else direction.tobytes()
            key: tuple[Any, ...] = (name, self.reasons[row] & soft)
            if self.equal[row]:
                key = (*key, "==", bounds[row])
            other = best.setdefault(key, row)
            if other != row and (bounds[row], not self.strict[row], bool(self.derived[row])) < (
                bounds[other],
                not self.strict[other],
                bool(self.derived[other]),
            ):
                best[key] = row
        return self._take(sorted(best.values()))

    def _without_bounded(self, soft: int) -> System:
        """Leave out rows that follow from the bounds that other rows set for single variables."""
        if not len(self):
            return self
        left, right = self.floats
        terms = np.count_nonzero(left, axis=1)
        low, high = np.full(left.shape[1], -np.inf), np.full(left.shape[1], np.inf)
        for row in np.flatnonzero(terms == 1).tolist():
            if self.reasons[row] & soft:
                continue
            column = int(np.flatnonzero(left[row])[0])
            bound = right[row] / left[row, column]
            if self.equal[row] or left[row, column] > 0:
                high[column] = min(high[column], bound)
            if self.equal[row] or left[row, column] < 0:
                low[column] = max(low[column], bound)
        with np.errstate(invalid="ignore"):
            most = np.where(left > 0, left * high, np.where(left < 0, left * low, 0.0)).sum(axis=1)
        implied = np.where(self.strict, most < right, most <= right)
        implied &= (terms > 1) & ~self.equal
        return self._take(np.flatnonzero(~implied)) if implied.any() else self

    @cached_property
    def floats(self) -> tuple[Floats, Floats]:
        """Coefficients and right-hand sides, the largest coefficient of a row being 1."""
        left, right = self.rows[:, :-1], self.rows[:, -1]
        size = np.abs(left).max(axis=1, initial=0) if len(self) else right
        size = np.where(size == 0, 1, size)
        return (left / size[:, None]).astype(np.float64), (right / size).astype(np.float64)

    @cached_property
    def _sizes(self) -> tuple[Floats, Floats]:
        left, right = self.floats
        terms = np.count_nonzero(left, axis=1)
        # The same bound of rounding errors as where records are checked.
        return np.abs(left), 2 * (terms + 2) * _EPSILON * np.ones_like(right)

    @cached_property
    def tests(self) -> System:
        """The combined rows: those written are known to hold, where they are not touched."""
        return self if self.derived.all() else self._take(np.flatnonzero(self.derived))

    def violated(self, numbers: Floats) -> Mask:
        """Say which rows records of shape (n, p) break: shape (n, m)."""
        left, right = self.floats
        size, unit = self._sizes
        excess = numbers @ left.T
        excess -= right
        np.abs(excess, out=excess, where=self.equal[None, :])
        noise = np.abs(numbers) @ size.T
        noise += np.abs(right)
        noise *= unit
        found: Mask = np.where(self.strict, excess >= -noise, excess > noise)
        return found

    def interval(self, column: int, numbers: Floats) -> tuple[Floats, Floats, Mask, Mask]:
        """Give the bounds of a variable where the others are known, and whether they are open."""
        left, right = self.floats
        low, high = np.full(len(numbers), -np.inf), np.full(len(numbers), np.inf)
        open_low, open_high = np.zeros(len(numbers), bool), np.zeros(len(numbers), bool)
        there = np.flatnonzero(left[:, column])
        exact_ones = there[self.equal[there]]
        if len(exact_ones):  # one decides: the one that passes on the least rounding
            there = exact_ones[[int(np.abs(left[exact_ones, column]).argmax())]]
        others = left[there].copy()
        others[:, column] = 0.0
        bounds = (right[there] - numbers @ others.T) / left[there, column]
        for row, bound in zip(there.tolist(), bounds.T, strict=True):
            if self.equal[row] or left[row, column] > 0:
                open_high = np.where(
                    bound < high, self.strict[row], open_high | (self.strict[row] & (bound == high))
                )
                high = np.minimum(high, bound)
            if self.equal[row] or left[row, column] < 0:
                open_low = np.where(
                    bound > low, self.strict[row], open_low | (self.strict[row] & (bound == low))
                )
                low = np.maximum(low, bound)
        return low, high, open_low, open_high


def _roomy(rows: Whole) -> Whole:
    """Turn to Python's integers where products could overflow."""
    if rows.dtype != object and np.abs(rows).max(initial=0) >= _SMALL:
        return rows.astype(object)
    return rows


def _join(first: System, second: System) -> System:
    return System(
        np.concatenate([first.rows, second.rows]),
        np.concatenate([first.equal, second.equal]),
        np.concatenate([first.strict, second.strict]),
        np.concatenate([first.derived, second.derived]),
        first.reasons + second.reasons,
    )


# --- from atoms to rows ----------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A row in whole numbers: coefficients by column, then the right-hand side."""

    numbers: tuple[int, ...]
    equal: bool
    strict: bool


def as_rows(atom: LinearAtom, place: dict[str, int]) -> tuple[Row, ...]:
    """Write an atom as the rows that must hold together, its tolerance included."""
    terms = [(place[name], exact(coefficient)) for name, coefficient in atom.coefficients]
    constant, tolerance = exact(atom.constant), exact(atom.tolerance)
    if atom.operator != "==" or not tolerance:
        right = constant + tolerance
        return (_row(terms, right, len(place), atom.operator == "==", atom.operator == "<"),)
    opposite = [(column, -coefficient) for column, coefficient in terms]
    return (
        _row(terms, constant + tolerance, len(place), False, False),
        _row(opposite, tolerance - constant, len(place), False, False),
    )


def _row(
    terms: list[tuple[int, Fraction]], right: Fraction, columns: int, equal: bool, strict: bool
) -> Row:
    common = math.lcm(right.denominator, *(coefficient.denominator for _, coefficient in terms))
    numbers = [0] * columns + [int(right * common)]
    for column, coefficient in terms:
        numbers[column] = int(coefficient * common)
    divisor = math.gcd(*numbers)
    return Row(tuple(number // divisor for number in numbers), equal, strict)


def exact(number: float) -> Fraction:
    """Give the fraction that was written: 0.6 is 3/5, and 1 / 3 is a third."""
    near = Fraction(number).limit_denominator(1_000_000)
    return near if float(near) == number else Fraction(repr(float(number)))


def as_system(rows: Sequence[tuple[Row, int]], columns: int, soft: int) -> System:
    """Stack rows, each with the bits of its reasons."""
    numbers = np.empty((len(rows), columns + 1), dtype=object)
    for place, (row, _) in enumerate(rows):
        numbers[place] = row.numbers
    system = System(
        numbers,
        np.array([row.equal for row, _ in rows], dtype=bool),
        np.array([row.strict for row, _ in rows], dtype=bool),
        np.zeros(len(rows), dtype=bool),
        tuple(reason for _, reason in rows),
    )
    return system.tidy(soft)


# --- many projections ------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """Which projection: eliminated columns and clauses given up as bits, and atoms chosen."""

    columns: int
    atoms: frozenset[Choice] = frozenset()
    without: int = 0


@dataclass(eq=False)
class Projector:
    """Projections of one system of rules, each made once, from one with a variable more.

    `rows` are the rows of rules that are linear, `choices` those of atoms that can be added, each
    with the bits of their clauses.
    """

    rows: Sequence[tuple[Row, int]]
    choices: Mapping[Choice, Sequence[tuple[Row, int]]]
    columns: int
    soft: int
    kept: int = 0  # how many numbers the projections hold
    _made: dict[Key, System | None] = field(default_factory=dict)
    _last: dict[Key, int] = field(default_factory=dict)

    def forget(self) -> None:
        """Make room: projections are made again where they are needed."""
        self._made.clear()
        self._last.clear()
        self.kept = 0

    def system(self, key: Key, first: int = 0) -> System:
        """Give a projection; the columns `first` are eliminated before others."""
        if key not in self._made:
            try:
                made = self._make(key, first)
            except TooManyRows:
                self._made[key] = None
            else:
                self._made[key] = made
                self.kept += made.rows.size
        found = self._made[key]
        if found is None:
            raise TooManyRows
        return found

    def _make(self, key: Key, first: int) -> System:
        if not key.columns:
            rows = [(row, why) for row, why in self.rows if not why & key.without]
            for atom in sorted(key.atoms):
                rows += self.choices[atom]
            return as_system(rows, self.columns, self.soft)
        last = (key.columns & ~first or key.columns).bit_length() - 1
        self._last[key] = last
        return self.system(self._before(key), first).eliminate(last, self.soft)

    def _before(self, key: Key) -> Key:
        return Key(key.columns & ~(1 << self._last[key]), key.atoms, key.without)

    def solve(self, key: Key, numbers: Floats) -> Floats:
        """Give values to the eliminated columns of records that satisfy a projection.

        Back substitution: each variable lies in the interval that the system without it leaves,
        of which a whole number near the middle is taken if there is one. For integers there may
        be none.
        """
        found = numbers.copy()
        while key.columns:
            column, key = self._last[key], self._before(key)
            low, high, open_low, open_high = self.system(key).interval(column, found)
            found[:, column] = _inside(low, high, open_low, open_high, found[:, column])
        return found


def _inside(low: Floats, high: Floats, open_low: Mask, open_high: Mask, now: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        middle = low + (high - low) / 2
    middle = np.where(np.isfinite(low) & np.isfinite(high), middle, now)
    middle = np.where(np.isfinite(low) & np.isinf(high), np.maximum(low + 1, now), middle)
    middle = np.where(np.isinf(low) & np.isfinite(high), np.minimum(high - 1, now), middle)
    near = np.round(middle)
    fits = (near >= low) & (near <= high)
    fits &= ~(open_low & (near == low)) & ~(open_high & (near == high))
    return np.where(fits, near, middle)
