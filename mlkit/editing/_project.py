"""The nearest point that satisfies linear rules, for many records at once.

The dual active-set method of Goldfarb and Idnani (Mathematical Programming 27, 1983; cited from
memory), one step of all records at a time. It begins at the point that is to be moved, adds the
rule that is missed by most, and drops those that no longer hold the point back, so that a record
takes about as many steps as rules bind at its answer. An answer is exact up to rounding, and
infeasibility is proved, not guessed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_DEPENDENT = 1e-7  # a normal of length 1 that is this near the span of others lies in it
_FORGIVEN = 100  # times the noise of a row: what follows from rows that hold up to rounding
_PUSHES = 1e-10  # multipliers change if their rate of change exceeds this
_EPSILON = float(np.finfo(np.float64).eps)


class Outcome(enum.IntEnum):
    """How the search for the nearest point of a record ended."""

    OPEN = 0  # not within the steps allowed
    SOLVED = 1
    INFEASIBLE = 2


@dataclass(frozen=True, eq=False)
class Rows:
    """Rules ``G @ x <= h``, or ``==`` where `equal`; each record has its own `h` and rows.

    `G` has shape (rows, p), `equal` (rows,), `h` and `on` shape (n, rows); a row binds a record
    where it is on.
    """

    G: Floats
    equal: Mask
    h: Floats
    on: Mask


def nearest(rows: Rows, start: Floats, scale: Floats) -> tuple[Floats, NDArray[np.int8]]:
    """Find the points nearest to `start` that satisfy the rows.

    Parameters
    ----------
    rows : Rows
        What must hold.
    start : ndarray of shape (n, p)
        The points.
    scale : ndarray of shape (n, p)
        Distance is the sum of ``((x - start) / scale) ** 2``; where scale is 0, x stays.

    Returns
    -------
    x : ndarray of shape (n, p)
        The nearest points; meaningless where not solved.
    outcome : ndarray of int8, of shape (n,)
        The :class:`Outcome` of each record.
    """
    if not rows.G.size:
        return start.copy(), np.full(len(start), Outcome.SOLVED, dtype=np.int8)
    search = _Search(rows, start, scale)
    search.run()
    x = start + scale * search.y
    solved = np.flatnonzero(search.outcome == Outcome.SOLVED)
    x[solved] = _polish(rows, x[solved], scale[solved], search.tight(solved), solved)
    return x, search.outcome


class _Search:
    """The points in the space where the distance is Euclidean, and what binds them.

    `y` is the way from the start, of shape (n, p). `bound` lists the rows that bind each record,
    of shape (n, slots), -1 where a slot is empty, with `sign` (-1 for an equality that is held
    from below) and multipliers `u`. `row` is the row that is being added, -1 if none is.
    """

    def __init__(self, rows: Rows, start: Floats, scale: Floats) -> None:
        n, p = start.shape
        normals = rows.G[None] * scale[:, None, :]
        length = np.sqrt(np.einsum("nrp,nrp->nr", normals, normals))
        room = rows.h - start @ rows.G.T
        noise = _noise(rows, start)
        constant = length == 0
        missed = np.where(rows.equal, np.abs(room), -room) > noise
        self.outcome = np.zeros(n, dtype=np.int8)
        self.outcome[(rows.on & constant & missed).any(axis=1)] = Outcome.INFEASIBLE
        self.on = rows.on & ~constant
        length[constant] = 1.0
        self.normals = normals / length[:, :, None]
        self.room = room / length
        noise = np.where(self.on, noise / length, 0.0)
        # A row may lie in the noise of others, whose numbers are larger.
        self.noise = noise + 1e-3 * noise.max(axis=1, initial=0.0, keepdims=True)
        self.equal = rows.equal
        self.holds = np.zeros(self.on.shape, dtype=bool)  # as nearly as rounding allows
        slots = min(p, len(rows.G)) + 1
        self.y = np.zeros((n, p))
        self.bound = np.full((n, slots), -1)
        self.sign = np.ones((n, slots))
        self.u = np.zeros((n, slots))
        self.row = np.full(n, -1)
        self.row_sign = np.ones(n)
        self.row_u = np.zeros(n)

    def run(self) -> None:
        """Take steps until every record is settled."""
        for _ in range(100 + 10 * sum(self.normals.shape[1:])):
            self._choose(np.flatnonzero((self.outcome == Outcome.OPEN) & (self.row < 0)))
            live = np.flatnonzero(self.outcome == Outcome.OPEN)
            if not len(live):
                return
            self._step(live)

    def tight(self, chosen: NDArray[np.intp]) -> Mask:
        """Say which rows hold with equality at the answers."""
        gap = np.abs(self._excess(chosen)) <= _FORGIVEN * self.noise[chosen]
        binding: Mask = self.on[chosen] & (gap | self.equal)
        return binding

    def _excess(self, chosen: NDArray[np.intp]) -> Floats:
        moved = np.matmul(self.normals[chosen], self.y[chosen][:, :, None])[:, :, 0]
        excess: Floats = moved - self.room[chosen]
        return excess

    def _choose(self, idle: NDArray[np.intp]) -> None:
        """Choose the row that is missed by most, equalities first; without any, it is solved."""
        excess = self._excess(idle)
        missed = np.where(self.equal, np.abs(excess), excess)
        holds = ~self.on[idle] | self.holds[idle] | (missed <= self.noise[idle])
        missed[holds] = -np.inf
        record, slot = np.nonzero(self.bound[idle] >= 0)
        missed[record, self.bound[idle][record, slot]] = -np.inf
        pressing = (np.isfinite(missed) & self.equal).any(axis=1, keepdims=True)
        missed[pressing & ~self.equal] = -np.inf
        row = missed.argmax(axis=1)
        every = np.arange(len(idle))
        found = np.isfinite(missed[every, row])
        self.outcome[idle[~found]] = Outcome.SOLVED
        self.row[idle] = np.where(found, row, -1)
        below = self.equal[row] & (excess[every, row] < 0)
        self.row_sign[idle] = np.where(below, -1.0, 1.0)
        self.row_u[idle] = 0.0

    def _step(self, live: NDArray[np.intp]) -> None:
        """Move towards the chosen row, until it holds or a row that binds lets go."""
        slots = max(1, int((self.bound[live] >= 0).sum(axis=1).max()))
        bound, sign = self.bound[live, :slots], self.sign[live, :slots]
        empty = bound < 0
        binding = self.normals[live[:, None], bound] * (sign * ~empty)[:, :, None]
        normal = self.normals[live, self.row[live]] * self.row_sign[live, None]
        rate, way = _split(binding, empty, normal)
        length = np.einsum("np,np->n", way, way)

        excess = np.einsum("np,np->n", normal, self.y[live])
        excess -= self.row_sign[live] * self.room[live, self.row[live]]
        full = np.full(len(live), np.inf)
        np.divide(excess, length, out=full, where=length > _DEPENDENT**2)
        limits = np.full(bound.shape, np.inf)
        may_drop = ~empty & ~self.equal[bound] & (rate > _PUSHES)
        np.divide(self.u[live, :slots], rate, out=limits, where=may_drop)
        slot = limits.argmin(axis=1)
        partial = limits[np.arange(len(live)), slot]
        step = np.minimum(full, partial)

        stuck = ~np.isfinite(step)
        step[stuck] = 0.0
        self._give_up(live[stuck], excess[stuck])
        self.y[live] -= np.where(np.isfinite(full), step, 0.0)[:, None] * way
        self.u[live, :slots] -= step[:, None] * np.where(empty, 0.0, rate)
        self.row_u[live] += step
        self._add(live[~stuck & (full <= partial)])
        drops = ~stuck & (partial < full)
        self._drop(live[drops], slot[drops])

    def _give_up(self, records: NDArray[np.intp], excess: Floats) -> None:
        """Nothing can give way: the rows contradict each other, or agree up to rounding."""
        row = self.row[records]
        rounding = excess <= _FORGIVEN * self.noise[records, row]
        self.outcome[records[~rounding]] = Outcome.INFEASIBLE
        self.holds[records[rounding], row[rounding]] = True
        self.row[records[rounding]] = -1

    def _add(self, records: NDArray[np.intp]) -> None:
        slot = (self.bound[records] >= 0).sum(axis=1)  # slots fill from the left
        self.bound[records, slot] = self.row[records]
        self.sign[records, slot] = self.row_sign[records]
        self.u[records, slot] = self.row_u[records]
        self.row[records] = -1

    def _drop(self, records: NDArray[np.intp], slot: NDArray[np.intp]) -> None:
        """Empty a slot, with the last one filled in its place."""
        last = (self.bound[records] >= 0).sum(axis=1) - 1
        for values, blank in ((self.bound, -1), (self.sign, 1), (self.u, 0)):
            values[records, slot] = values[records, last]
            values[records, last] = blank


def _split(binding: Floats, empty: Mask, normal: Floats) -> tuple[Floats, Floats]:
    """Write a normal as a combination of those that bind, and a part orthogonal to them.

    Twice, as rounding leaves the first remainder not quite orthogonal.
    """
    gram = binding @ binding.transpose(0, 2, 1)
    record, slot = np.nonzero(empty)
    gram[record, slot, slot] = 1.0
    rate = np.zeros(empty.shape)
    rest = normal
    for _ in range(2):
        right = np.einsum("nkp,np->nk", binding, rest)
        more = np.linalg.solve(gram, right[:, :, None])[:, :, 0]
        rate = rate + more
        rest = rest - np.einsum("nkp,nk->np", binding, more)
    return rate, rest


def _noise(rows: Rows, x: Floats) -> Floats:
    """Say how far rounding may throw each row off, with room to spare, of shape (n, rows)."""
    noise: Floats = 1e-12 * (np.abs(x) @ np.abs(rows.G).T + np.abs(rows.h))
    return noise


# --- to the last digit -----------------------------------------------------------------------


def _polish(rows: Rows, x: Floats, scale: Floats, tight: Mask, chosen: NDArray[np.intp]) -> Floats:
    """Let the tight rows hold to the last digit, as EditRules.check allows for rounding only.

    Bounds of one number are met exactly. Then some numbers, as many as there are other tight
    rows, are computed from those rows and all other numbers.
    """
    h = rows.h[chosen]
    x, scale = x.copy(), scale.copy()
    for row in np.flatnonzero((rows.G != 0).sum(axis=1) == 1):
        column = int(np.flatnonzero(rows.G[row])[0])
        at = tight[:, row] & (scale[:, column] > 0)
        x[at, column] = h[at, row] / rows.G[row, column] + 0.0
        scale[at, column] = 0.0
    most = int(tight.sum(axis=1).max(initial=0))
    if not most:
        return x
    order = np.argsort(~tight, axis=1, kind="stable")[:, :most]
    used = np.take_along_axis(tight, order, axis=1)
    G = rows.G[order] * used[:, :, None]  # noqa: N806 - the field's name
    right = np.take_along_axis(h, order, axis=1) * used
    solver, basis, _ = solve_for(G, scale, np.einsum("nrp,np->nr", np.abs(G), np.abs(x)))
    record, slot = np.nonzero(basis >= 0)
    place = basis[record, slot]
    # From 0, so that what should be 0 is; then twice what is missing, which is rounding.
    x[record, place] = 0.0
    for _ in range(3):
        missing = right - np.einsum("nrp,np->nr", G, x)
        x[record, place] += np.einsum("nkr,nr->nk", solver, missing)[record, slot]
    return x


def solve_for(G: Floats, scale: Floats, size: Floats) -> tuple[Floats, NDArray[np.intp], Floats]:  # noqa: N803
    """Choose a number for each row and solve for it, by the elimination of Gauss and Jordan.

    Rows of small numbers come first: where rows follow from each other, they are the precise
    ones. Each is solved for the number that moves most easily.

    Returns the matrices that turn right-hand sides into these numbers, of shape (n, rows, rows);
    which number each row is solved for, -1 for a row that follows from others; and the solved
    rows, in numbers that may move.
    """
    n, rows, _ = G.shape
    every = np.arange(n)
    left = G * (scale > 0)[:, None, :]
    solver = np.tile(np.eye(rows), (n, 1, 1))
    basis = np.full((n, rows), -1)
    length = np.sqrt(((left * scale[:, None, :]) ** 2).sum(axis=2))
    length[length == 0] = np.inf  # nothing in it can move
    for row in np.argsort(size / length, axis=1, kind="stable").T:
        ease = np.abs(left[every, row]) * scale / length[every, row][:, None]
        place = ease.argmax(axis=1)
        some = np.flatnonzero(ease[every, place] > _DEPENDENT)
        chosen, place = row[some], place[some]
        basis[some, chosen] = place
        pivot = left[some, chosen, place][:, None]
        left[some, chosen] /= pivot
        solver[some, chosen] /= pivot
        factor = left[some, :, place]
        factor[np.arange(len(some)), chosen] = 0.0
        for matrix in (left, solver):
            change = factor[:, :, None] * matrix[some, chosen][:, None, :]
            after = matrix[some] - change
            after[np.abs(after) <= 4 * _EPSILON * np.abs(change)] = 0.0
            matrix[some] = after
    return solver, basis, left
