"""Whether rules contradict each other, and which of them follow from others.

Nothing here is relaxed by a large constant ("big M"): a fixed one makes wrong answers, and rules
do not say how large the numbers of a record may be. A clause of several atoms is branched over
instead, and each branch is a linear programme for HiGHS.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit._views import as_html
from mlkit.editing._grammar import Atom, Clause, LinearAtom, MemberAtom, negate, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlkit.editing._rules import EditRule, EditRules

Record: TypeAlias = dict[str, float | str | bool]

# A strict comparison holds if its slack exceeds this part of the largest coefficient.
STRICT = 1e-7
# HiGHS satisfies rows to this; a trial record is judged with ten times as much.
FEASIBLE = 1e-9
MOST_BRANCHES = 20_000
MOST_SECONDS = 60.0  # of one programme: integers without bounds may keep HiGHS busy for ever


class TooManyBranches(RuntimeError):  # noqa: N818 - says what happened
    """The search was given up: nothing is known, and nothing is guessed."""


@dataclass(frozen=True, repr=False)
class Consistency:
    """What :meth:`EditRules.check_consistency` found.

    Attributes
    ----------
    consistent : bool
        Whether a record can satisfy all hard rules.
    record : dict or None
        Such a record, by variable; None if there is none. A category that no rule names stands
        as "(any other)".
    conflict : tuple of EditRule
        Where there is none: rules that no record can satisfy together, such that without any
        one of them a record can. A single rule contradicts itself. There may be further conflicts
        among the other rules: mend one and check again.
    """

    consistent: bool
    record: Mapping[str, float | str | bool] | None
    conflict: tuple[EditRule, ...]

    @property
    def explanation(self) -> str:
        """What was found, in words."""
        if self.consistent:
            return "A record can satisfy all hard rules."
        if len(self.conflict) == 1:
            return "No record can satisfy this rule:"
        return (
            f"No record can satisfy these {len(self.conflict)} rules together; without any one "
            "of them a record can:"
        )

    def to_frame(self) -> pd.DataFrame:
        """Write the conflict as a table.

        Returns
        -------
        DataFrame
            One row per rule in conflict, with `rule` and `text`; none if there is no conflict.
        """
        rows = [(rule.name, rule.text) for rule in self.conflict]
        return pd.DataFrame(rows, columns=["rule", "text"])

    def __str__(self) -> str:
        return "\n".join([self.explanation, *(f"  {r.name}: {r.text}" for r in self.conflict)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if self.consistent:
            example = ", ".join(f"{k} = {_show(v)}" for k, v in (self.record or {}).items())
            return as_html(self.explanation, None, f"For example {example}.")
        return as_html(self.explanation, self.to_frame())


@dataclass(frozen=True, repr=False)
class Redundancy:
    """What :meth:`EditRules.check_redundancy` found.

    Attributes
    ----------
    implied : tuple of (EditRule, tuple of EditRule)
        Each redundant rule, with a smallest set of hard rules from which it follows.
    """

    implied: tuple[tuple[EditRule, tuple[EditRule, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the redundant rules: leave them out with :meth:`EditRules.without`."""
        return tuple(rule.name for rule, _ in self.implied)

    def to_frame(self) -> pd.DataFrame:
        """Write what was found as a table.

        Returns
        -------
        DataFrame
            One row per redundant rule: `rule`, `text` and `implied_by`, the names of the rules
            from which it follows; empty for a rule that always holds.
        """
        rows = [(r.name, r.text, ", ".join(one.name for one in by)) for r, by in self.implied]
        return pd.DataFrame(rows, columns=["rule", "text", "implied_by"])

    def __str__(self) -> str:
        if not self.implied:
            return "No rule follows from hard rules."
        return f"{len(self.implied)} rules follow from others:\n{self.to_frame().to_string()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self.implied:
            return as_html(str(self), None)
        return as_html(f"{len(self.implied)} rules follow from others", self.to_frame())


def check_consistency(rules: EditRules) -> Consistency:
    """Find a record that satisfies all hard rules, or a smallest conflict."""
    space = _Space(rules)
    hard = list(rules.hard)
    record = space.find(_clauses(hard))
    if record is not None:
        return Consistency(True, record, ())
    return Consistency(False, None, tuple(_smallest(space, hard, ())))


def check_redundancy(rules: EditRules) -> Redundancy:
    """Find the rules that hard rules imply, the last ones first."""
    space = _Space(rules)
    kept = list(rules.hard)
    if space.find(_clauses(kept)) is None:
        raise ValueError(
            "The hard rules contradict each other, so that everything follows from them. See "
            f"check_consistency:\n{check_consistency(rules)}"
        )
    found = []
    for rule in reversed(rules.rules):
        others = [other for other in kept if other is not rule]
        if all(space.find([*_clauses(others), *broken]) is None for broken in _denials(rule)):
            kept = others
            found.append(rule)
    # Only rules that are kept explain, so that all redundant ones can be left out at once.
    explained = [(rule, _reasons(space, rule, kept)) for rule in reversed(found)]
    return Redundancy(tuple(explained))


def _reasons(space: _Space, rule: EditRule, kept: list[EditRule]) -> tuple[EditRule, ...]:
    """Find a smallest set of rules from which a rule follows."""
    needed = list(kept)
    for other in kept:
        without = [one for one in needed if one is not other]
        if all(space.find([*_clauses(without), *broken]) is None for broken in _denials(rule)):
            needed = without
    return tuple(needed)


def _smallest(space: _Space, rules: Sequence[EditRule], always: Sequence[Clause]) -> list[EditRule]:
    """Shrink contradicting rules by deletion until none can be left out."""
    needed = list(rules)
    for rule in rules:
        without = [one for one in needed if one is not rule]
        if space.find([*_clauses(without), *always]) is None:
            needed = without
    return needed


def _clauses(rules: Iterable[EditRule]) -> list[Clause]:
    return [clause for rule in rules for clause in rule.clauses]


def _denials(rule: EditRule) -> list[list[Clause]]:
    """Give the ways to break a rule: all atoms of one of its clauses are false."""
    return [[negate(_as_written(atom)) for atom in clause] for clause in rule.clauses]


def _as_written(atom: Atom) -> Atom:
    return replace(atom, tolerance=0.0) if isinstance(atom, LinearAtom) else atom


def implied_bounds(rules: EditRules) -> pd.DataFrame:
    """Minimise and maximise each number under the hard linear rules."""
    space = _Space(rules)
    atoms = [
        clause[0]
        for clause in _clauses(rules.hard)
        if len(clause) == 1 and isinstance(clause[0], LinearAtom)
    ]
    if space.solve(atoms) is None:
        raise ValueError(
            "The hard linear rules contradict each other. See check_consistency:\n"
            f"{check_consistency(rules)}"
        )
    rows = {name: space.bounds(atoms, name) for name in space.columns}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["low", "high"], dtype=float)


@dataclass(frozen=True)
class _Branch:
    """What a branch has decided: linear atoms that hold, and values still allowed."""

    linear: tuple[LinearAtom, ...]
    allowed: dict[str, frozenset[str | bool | None]]  # None: any category that no rule names
    numbers: dict[str, float] | None = None  # for which the linear atoms hold, once they are found

    def with_atom(self, atom: Atom) -> _Branch | None:
        """Let an atom hold; None if no value is left."""
        if isinstance(atom, LinearAtom):
            return replace(self, linear=(*self.linear, atom), numbers=None)
        before = self.allowed[atom.variable]
        left = before & set(atom.members) if atom.inside else before - set(atom.members)
        return replace(self, allowed={**self.allowed, atom.variable: left}) if left else None

    def children(self, clause: Clause) -> list[_Branch]:
        """Let each atom of a clause hold in turn, where the categorical ones before it do not."""
        found = []
        rest: _Branch | None = self
        for atom in clause:
            child = rest.with_atom(atom) if rest is not None else None
            if child is not None:
                found.append(child)
            if isinstance(atom, MemberAtom) and rest is not None:
                rest = rest.with_atom(negate(atom)[0])
        return found

    def possible(self, atom: Atom) -> bool:
        """Say whether the values still allowed leave an atom a chance."""
        return isinstance(atom, LinearAtom) or self.with_atom(atom) is not None


@dataclass
class _Space:
    """The records that could be, and the search among them."""

    rules: EditRules
    columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = tuple(v.name for v in self.rules.variables if v.numeric)
        self._integrality = np.array(
            [v.kind == "integer" for v in self.rules.variables if v.numeric], dtype=int
        )
        self._place = {name: number for number, name in enumerate(self.columns)}
        self._values: dict[str, frozenset[str | bool | None]] = {
            v.name: frozenset((True, False) if v.kind == "boolean" else (*v.categories, None))
            for v in self.rules.variables
            if not v.numeric
        }

    def find(self, clauses: Sequence[Clause]) -> Record | None:
        """Find a record that satisfies all clauses; None if there is none."""
        start: _Branch | None = _Branch((), dict(self._values))
        open_clauses = []
        for clause in clauses:
            if len(clause) > 1:
                open_clauses.append(clause)
            elif start is not None:
                start = start.with_atom(clause[0])
        if start is None:
            return None
        waiting, branches = [start], 0
        while waiting:
            branches += 1
            if branches > MOST_BRANCHES:
                raise TooManyBranches(
                    f"Whether a record can satisfy the rules was not found within "
                    f"{MOST_BRANCHES:,} branches. Check fewer rules at once, for example "
                    "rules.involving(column)."
                )
            branch = waiting.pop()
            if branch.numbers is None:
                branch = replace(branch, numbers=self.solve(branch.linear))
            if branch.numbers is None:
                continue
            broken = self._most_pressing(open_clauses, branch, branch.numbers)
            if broken is None:
                return self._record(branch, branch.numbers)
            waiting += reversed(branch.children(broken))
        return None

    def _most_pressing(
        self, clauses: list[Clause], branch: _Branch, numbers: dict[str, float]
    ) -> Clause | None:
        """Find the clause with the fewest ways out, of those that the trial record breaks.

        An atom holds for a category only if it does for every value that is still allowed:
        so the values of variables need no trial of their own.
        """
        chosen: Clause | None = None
        for clause in clauses:
            if any(self._holds(atom, branch, numbers) for atom in clause):
                continue
            ways = tuple(atom for atom in clause if branch.possible(atom))
            if chosen is None or len(ways) < len(chosen):
                chosen = ways
        return chosen

    def _holds(self, atom: Atom, branch: _Branch, numbers: dict[str, float]) -> bool:
        if not isinstance(atom, LinearAtom):
            values = branch.allowed[atom.variable]
            return values <= set(atom.members) if atom.inside else values.isdisjoint(atom.members)
        if atom in branch.linear:
            return True
        size = max(abs(c) for _, c in atom.coefficients)
        excess = sum(c * numbers[n] for n, c in atom.coefficients) - atom.constant
        room = 10 * FEASIBLE * max(size, abs(atom.constant))
        if atom.operator == "==":
            return abs(excess) <= room
        return excess <= room if atom.operator == "<=" else excess < -STRICT * size

    def solve(self, atoms: Sequence[LinearAtom]) -> dict[str, float] | None:
        """Find numbers for which all linear atoms hold; None if there are none."""
        if not atoms:
            return dict.fromkeys(self.columns, 0.0)
        # The last variable is the slack of strict comparisons, the larger the better.
        objective = np.append(np.zeros(len(self.columns)), -1.0)
        found = self._programme(atoms, objective)
        if found.status == 2:
            return None
        if found.status != 0:
            raise TooManyBranches(f"HiGHS gave up: {found.message}")
        if any(a.operator == "<" for a in atoms) and found.x[-1] <= STRICT:
            return None
        return dict(zip(self.columns, (found.x[:-1] + 0.0).tolist(), strict=True))

    def bounds(self, atoms: Sequence[LinearAtom], name: str) -> tuple[float, float]:
        """Give the smallest and the largest value of a number."""
        closed = [replace(a, operator="<=") if a.operator == "<" else a for a in atoms]
        ends = []
        for sign in (1.0, -1.0):
            objective = np.zeros(len(self.columns) + 1)
            objective[self._place[name]] = sign
            found = self._programme(closed, objective)
            if found.status not in (0, 3, 4):  # solved, unbounded, or unbounded after presolve
                raise TooManyBranches(f"HiGHS gave up: {found.message}")
            ends.append(sign * (found.fun if found.status == 0 else -math.inf) + 0.0)
        return ends[0], ends[1]

    def _programme(self, atoms: Sequence[LinearAtom], objective: NDArray[np.float64]) -> Any:
        from scipy.optimize import linprog

        matrix = np.zeros((len(atoms), len(self.columns) + 1))
        right = np.array([atom.constant for atom in atoms])
        for row, atom in zip(matrix, atoms, strict=True):
            for name, coefficient in atom.coefficients:
                row[self._place[name]] = coefficient
        size = np.abs(matrix).max(axis=1)  # rows of one size, or tolerances mean nothing
        matrix /= size[:, None]
        right /= size
        equal = np.array([atom.operator == "==" for atom in atoms])
        matrix[:, -1] = [atom.operator == "<" for atom in atoms]
        free = (-np.inf, np.inf)
        return linprog(
            objective,
            A_ub=matrix[~equal],
            b_ub=right[~equal],
            A_eq=matrix[equal],
            b_eq=right[equal],
            bounds=[*[free] * len(self.columns), (0, 1)],
            integrality=np.append(self._integrality, 0) if self._integrality.any() else None,
            method="highs",
            options={"primal_feasibility_tolerance": FEASIBLE, "time_limit": MOST_SECONDS},
        )

    def _record(self, branch: _Branch, numbers: dict[str, float]) -> Record:
        record: Record = {}
        for variable in self.rules.variables:
            if variable.numeric:
                record[variable.name] = numbers[variable.name]
            else:
                # A value that rules name says more than any other one.
                values = sorted(branch.allowed[variable.name], key=lambda v: (v is None, str(v)))
                record[variable.name] = "(any other)" if values[0] is None else values[0]
        return record


def _show(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return write_text(value) if isinstance(value, str) else f"{value:g}"
