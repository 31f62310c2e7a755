"""Whether fields of one record can be given values: by branching, and by HiGHS at each branch.

For what projections cannot tell: integers, and systems that grow too large. No large constant
("big M") relaxes anything: a clause of several atoms is branched over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mlkit.editing._clauses import Records, Space
from mlkit.editing._covers import bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Values = tuple[NDArray[np.float64], NDArray[np.int16]]

MOST_BRANCHES = 2_000  # of one record and set of fields
MOST_NODES = 5_000  # of one programme: integers without bounds may keep HiGHS busy for ever
FEASIBLE = 1e-10  # the least that HiGHS allows
NEAR = 1e-7  # rows that miss their bounds by less are taken to hold with equality
STRICT = 1e-7  # a strict comparison holds if its slack exceeds this part of its coefficients
_EPSILON = float(np.finfo(np.float64).eps)


class GaveUp(RuntimeError):  # noqa: N818 - says what happened
    """The search was given up: nothing is known, and nothing is guessed."""


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of a literal, over changes of the free numbers; the largest coefficient is 1."""

    left: Floats
    low: Floats
    high: Floats
    strict: NDArray[np.bool_]

    def hold(self, changes: Floats) -> bool:
        sums = self.left @ changes
        below = np.where(self.strict, sums < self.high - STRICT, sums <= self.high)
        return bool((below & (sums >= self.low)).all())


@dataclass(eq=False)
class Solver:
    """Searches for values; identical situations are searched once."""

    space: Space
    records: Records
    _known: dict[Any, Values | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rows = [
            (
                np.array([row.numbers for row in literal.rows], dtype=np.float64),
                np.array([row.equal for row in literal.rows], dtype=bool),
                np.array([row.strict for row in literal.rows], dtype=bool),
            )
            if literal.linear
            else None
            for literal in self.space.literals
        ]
        self._integer = np.array([self.space.integers >> f & 1 for f in self.space.numbers], bool)

    def find(self, record: int, chosen: int) -> Values | None:
        """Find values of the chosen fields that satisfy all clauses but those given up.

        Gives the record's numbers and codes with these values; None if there are none.
        """
        free = [c for c, f in enumerate(self.space.numbers) if chosen >> f & 1]
        kept = [c for c, f in enumerate(self.space.numbers) if not chosen >> f & 1]
        open_ = self._open(record, chosen)
        codes = self.records.codes[record]
        cats = [c for c, one in enumerate(self.space.categories) if not chosen >> one.field & 1]
        key = (
            chosen,
            open_,
            self.records.numbers[record, kept].tobytes(),
            codes[cats].tobytes(),
        )
        if key not in self._known:
            self._known[key] = self._search(record, chosen, free, open_)
        found = self._known[key]
        if found is None:
            return None
        numbers = self.records.numbers[record].copy()
        numbers[free] = found[0]
        codes = codes.copy()
        changed = [c for c, one in enumerate(self.space.categories) if chosen >> one.field & 1]
        codes[changed] = found[1]
        return numbers, codes

    def conflict(self, record: int, chosen: int) -> int:
        """Give fields outside a set of which one must change too, if the set does not do."""
        found = 0
        for clause, _ in self._open(record, chosen):
            found |= self.space.clauses[clause].fields | self.space.clauses[clause].soft
        return found & ~chosen

    def _open(self, record: int, chosen: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Give the clauses that values must satisfy, each with the literals that are not fixed."""
        found = []
        for place, clause in enumerate(self.space.clauses):
            if not clause.fields & chosen or clause.soft & chosen:
                continue
            free = tuple(n for n in clause.literals if self.space.literals[n].fields & chosen)
            fixed = [n for n in clause.literals if n not in free]
            if not self.records.truth[record, fixed].any():
                found.append((place, free))
        return tuple(found)

    def _search(
        self,
        record: int,
        chosen: int,
        free: list[int],
        open_: tuple[tuple[int, tuple[int, ...]], ...],
    ) -> Values | None:
        values = self.records.numbers[record].copy()
        values[self._integer] = np.round(values[self._integer])
        fixed = [c for c in range(len(values)) if c not in free]
        values[fixed] = self.records.numbers[record, fixed]
        rows = {
            number: self._reduce(number, values, free)
            for _, literals in open_
            for number in literals
            if self.space.literals[number].linear
        }
        domains = {
            c: one.every for c, one in enumerate(self.space.categories) if chosen >> one.field & 1
        }
        whole = self._integer[free]
        waiting: list[tuple[frozenset[int], dict[int, int]]] = [(frozenset(), domains)]
        branches = 0
        while waiting:
            branches += 1
            if branches > MOST_BRANCHES:
                raise GaveUp(f"no answer within {MOST_BRANCHES:,} branches")
            atoms, domains = waiting.pop()
            changes = _solve([rows[n] for n in sorted(atoms)], whole)
            if changes is None:
                continue
            ways = self._next(open_, atoms, domains, rows, changes)
            if ways is None:
                codes = [next(bits(domain)) for domain in domains.values()]
                return values[free] + changes, np.array(codes, dtype=np.int16)
            waiting += reversed(ways)
        return None

    def _next(
        self,
        open_: tuple[tuple[int, tuple[int, ...]], ...],
        atoms: frozenset[int],
        domains: dict[int, int],
        rows: dict[int, _Rows],
        changes: Floats,
    ) -> list[tuple[frozenset[int], dict[int, int]]] | None:
        """Branch over a clause that the trial values break, the one with the fewest ways out."""
        best: list[tuple[frozenset[int], dict[int, int]]] | None = None
        for _, literals in open_:
            ways = []
            for number in literals:
                literal = self.space.literals[number]
                if literal.linear:
                    if number in atoms or rows[number].hold(changes):
                        break
                    ways.append((atoms | {number}, domains))
                else:
                    left = domains[literal.column] & literal.allowed
                    if left == domains[literal.column]:
                        break
                    if left:
                        ways.append((atoms, {**domains, literal.column: left}))
            else:
                if best is None or len(ways) < len(best):
                    best = ways
        return best

    def _reduce(self, number: int, values: Floats, free: list[int]) -> _Rows:
        """Write rows over changes of the free numbers; the rounding of the others is allowed."""
        made = self._rows[number]
        assert made is not None  # noqa: S101 - only linear literals have rows
        rows, equal, strict = made
        left, right = rows[:, :-1], rows[:, -1]
        size = np.abs(left[:, free]).max(axis=1)
        rest = right - left @ values
        terms = np.count_nonzero(left, axis=1)
        noise = 2 * (terms + 2) * _EPSILON * (np.abs(left) @ np.abs(values) + np.abs(right))
        high = np.where(strict, rest - noise, rest + noise)
        low = np.where(equal, rest - noise, -np.inf)
        return _Rows(left[:, free] / size[:, None], low / size, high / size, strict)


def _solve(rows: Sequence[_Rows], whole: NDArray[np.bool_]) -> Floats | None:
    """Find changes for which all rows hold; None if there are none."""
    columns = len(whole)
    if not rows:
        return np.zeros(columns)
    left = np.concatenate([one.left for one in rows])
    low = np.concatenate([one.low for one in rows])
    high = np.concatenate([one.high for one in rows])
    strict = np.concatenate([one.strict for one in rows])
    if not whole.any():
        return _continuous(left, low, high, strict)
    return _integers(left, low, high, strict, whole)


def _continuous(left: Floats, low: Floats, high: Floats, strict: Any) -> Floats | None:
    from scipy.optimize import linprog

    bounded = np.isfinite(low)
    # The last variable is the slack of strict comparisons, the larger the better.
    matrix = np.column_stack([left, strict.astype(float)])
    found = linprog(
        np.append(np.zeros(left.shape[1]), -1.0),
        A_ub=np.concatenate([matrix, -matrix[bounded]]),
        b_ub=np.concatenate([high, -low[bounded]]),
        bounds=[*[(None, None)] * left.shape[1], (0, 1)],
        method="highs",
        options={"primal_feasibility_tolerance": FEASIBLE},
    )
    if found.status == 2:
        return None
    if found.status != 0:
        raise GaveUp(f"HiGHS gave up: {found.message}")
    if strict.any() and found.x[-1] <= STRICT:
        return None
    return _refined(found.x[:-1], left, low, high)


def _refined(changes: Floats, left: Floats, low: Floats, high: Floats) -> Floats:
    """Let rows that hold by a hair hold exactly, as far as floating-point numbers can."""
    sums = left @ changes
    nearest = np.where(high - sums < sums - low, high, low)
    tight = np.abs(nearest - sums) < NEAR
    if tight.any():
        changes = changes + np.linalg.lstsq(left[tight], (nearest - sums)[tight])[0]
    return changes


def _integers(left: Floats, low: Floats, high: Floats, strict: Any, whole: Any) -> Floats | None:
    from scipy.optimize import Bounds, LinearConstraint, milp

    columns = left.shape[1]
    found = milp(
        np.append(np.zeros(columns), -1.0),
        integrality=np.append(whole.astype(int), 0),
        bounds=Bounds(np.append(np.full(columns, -np.inf), 0), np.append([np.inf] * columns, 1)),
        constraints=LinearConstraint(np.column_stack([left, strict.astype(float)]), low, high),
        options={"node_limit": MOST_NODES, "mip_rel_gap": 0.0},
    )
    if found.status == 2:
        return None
    if found.x is None or found.status not in (0, 1):
        raise GaveUp(f"HiGHS gave up: {found.message}")
    if strict.any() and found.x[-1] <= STRICT:
        if found.status == 0:
            return None
        raise GaveUp(f"HiGHS gave up: {found.message}")
    changes: Floats = found.x[:-1]
    changes[whole] = np.round(changes[whole])
    if whole.all():
        return changes
    # Whole numbers are right to some 1e-6 only: fix them, and solve for the others again.
    rest = left[:, whole] @ changes[whole]
    others = _continuous(left[:, ~whole], low - rest, high - rest, strict)
    if others is None:
        raise GaveUp("whole numbers that HiGHS found do not satisfy the rules")
    changes[~whole] = others
    return changes
