"""The search for the cheapest set of fields: for all records side by side.

Each record has a family of *conflicts*: sets of fields of which at least one must change. A
candidate is a cheapest set that meets all of them, so that no cheaper set can be a solution. It is
tested for all records that have the same candidate, by a projection of the rules. If it will do,
it is the answer; if not, the projected rules that the record breaks are new conflicts, and the
next candidate is no cheaper. Soft rules are members of the sets like fields: "give up this rule".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlkit.editing._clauses import Records, Space
from mlkit.editing._covers import (
    TIED,
    TooManyCovers,
    bits,
    cheapest_covers,
    components,
    first_of_cheapest,
    smallest_covers,
    smallest_only,
)
from mlkit.editing._milp import GaveUp, Solver
from mlkit.editing._projection import Choice, Key, System, TooManyRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Mask: TypeAlias = NDArray[np.bool_]
    Places: TypeAlias = NDArray[np.intp]

Family: TypeAlias = tuple[int, ...]

MOST_KEPT = 10_000_000  # numbers in projections: 80 MB
MOST_WAYS = 64  # to satisfy clauses, that are projected one by one

OPEN, FOUND, INFEASIBLE, TOO_COSTLY, UNSOLVED = range(5)


@dataclass(eq=False)
class Outcome:
    """What was found of each record."""

    state: NDArray[np.int8]
    chosen: list[int]  # the fields to change and soft rules to give up, as bits
    cost: Floats  # missing values count nothing
    reason: list[str]
    searched: Mask  # whether HiGHS took part
    numbers: Floats  # values that satisfy the rules
    codes: NDArray[np.int16]


@dataclass(frozen=True)
class _Way:
    """One way to satisfy the open clauses: linear atoms that hold, and values left."""

    atoms: frozenset[Choice]
    domains: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class _Cut:
    """What a candidate set leaves open: its clauses, and what fixes them."""

    clauses: tuple[int, ...]
    fixed: tuple[tuple[int, ...], ...]  # literals that the set does not touch
    free: tuple[tuple[int, ...], ...]
    reasons: tuple[int, ...]  # fields of the fixed literals, and the soft rule


@dataclass(eq=False)
class Search:
    """Finds the cheapest sets.

    `costs` has shape (members,) or (n, members), the members being fields and then soft rules;
    infinite where a field never changes. `ties` of shape (n, members) orders sets of equal cost.
    """

    space: Space
    records: Records
    costs: Floats
    ties: Floats
    most_sets: int
    most_cost: float
    check: Callable[[Floats, Any, list[int]], Mask]

    def __post_init__(self) -> None:
        n = len(self.records.numbers)
        self.projector = self.space.projector()
        self.solver = Solver(self.space, self.records)
        self.outcome = Outcome(
            np.full(n, OPEN, dtype=np.int8),
            [0] * n,
            np.full(n, np.nan),
            [""] * n,
            np.zeros(n, dtype=bool),
            self.records.numbers.copy(),
            self.records.codes.copy(),
        )
        self._groups: list[tuple[int, Family]] = []  # missing fields, conflicts
        self._group_place: dict[tuple[int, Family], int] = {}
        self._group = np.zeros(n, dtype=np.intp)
        self._cuts: dict[int, _Cut] = {}
        self._ways: dict[tuple[int, tuple[int, ...]], list[_Way] | None] = {}
        self._tests: dict[tuple[Key, int], tuple[System, tuple[int, ...], Mask]] = {}
        self._covers: dict[Any, Any] = {}

    # -- from round to round

    def run(self) -> Outcome:
        """Find a set for every record, or say why there is none."""
        self._start()
        for _ in range(self.most_sets):
            open_ = np.flatnonzero(self.outcome.state == OPEN)
            if not len(open_):
                break
            candidates = self._choose(open_)
            trying = open_[self.outcome.state[open_] == OPEN]
            accepted: list[tuple[Places, int]] = []
            for members, chosen in _split(trying, candidates[self.outcome.state[open_] == OPEN]):
                if self.projector.kept > MOST_KEPT:
                    self._forget()
                accepted += self._try(members, self._candidates[chosen])
            self._settle(accepted)
        self._give_up(
            np.flatnonzero(self.outcome.state == OPEN),
            f"no answer among {self.most_sets:,} candidate sets",
        )
        return self.outcome

    def _forget(self) -> None:
        """Make room: what is needed again is computed again."""
        self.projector.forget()
        self._tests.clear()
        self._ways.clear()
        self._cuts.clear()
        self._covers.clear()

    def _start(self) -> None:
        """Conflicts at the start: clauses that are false whatever missing values are."""
        space, truth = self.space, self.records.truth
        weights = [1 << place for place in range(self.records.missing.shape[1])]
        missing, of_missing = _patterns(self.records.missing)
        masks = [sum(w for w, there in zip(weights, row, strict=True) if there) for row in missing]
        false = np.empty((len(truth), len(space.clauses)), dtype=bool)
        touched = np.array([[bool(c.fields & mask) for c in space.clauses] for mask in masks])
        for place, clause in enumerate(space.clauses):
            false[:, place] = ~truth[:, clause.literals].any(axis=1)
        false &= ~touched[of_missing]
        broken, of_broken = _patterns(false)
        families = [
            smallest_only(
                clause.fields | clause.soft
                for clause, there in zip(space.clauses, row, strict=True)
                if there
            )
            for row in broken
        ]
        both, which = np.unique(of_missing * len(broken) + of_broken, return_inverse=True)
        pairs = [divmod(code, len(broken)) for code in both.tolist()]
        places = [self._add_group(masks[here], families[there]) for here, there in pairs]
        self._group = np.array(places, dtype=np.intp)[which]

    def _add_group(self, missing: int, family: Family) -> int:
        key = (missing, family)
        if key not in self._group_place:
            self._group_place[key] = len(self._groups)
            self._groups.append(key)
        return self._group_place[key]

    def _give_up(self, members: Iterable[int], reason: str, state: int = UNSOLVED) -> None:
        for member in members:
            self.outcome.state[member] = state
            self.outcome.reason[member] = reason

    # -- candidates

    def _choose(self, open_: Places) -> Places:
        """Give each open record its candidate, as a place in `_candidates`."""
        self._candidates: list[int] = []
        place_of: dict[int, int] = {}
        found = np.zeros(len(open_), dtype=np.intp)
        inside = np.arange(len(open_))
        for places, group in _split(inside, self._group[open_]):
            members = open_[places]
            missing, family = self._groups[group]
            parts = [self._cheapest(part, members) for part in self._components(family)]
            cost = sum((part[0] for part in parts), np.zeros(len(members)))
            self._refuse(members, cost, family)
            for at in _alike([choice for _, choice, _ in parts], len(members)):
                mask = missing
                for _, choice, options in parts:
                    mask |= options[choice[at[0]]] if options else 0
                found[places[at]] = place_of.setdefault(mask, len(place_of))
                if len(place_of) > len(self._candidates):
                    self._candidates.append(mask)
            self.outcome.cost[members] = cost
        return found

    def _refuse(self, members: Places, cost: Floats, family: Family) -> None:
        """Close records without a candidate."""
        self._give_up(members[np.isnan(cost)], "too many candidate sets")
        for lost in members[np.isinf(cost)].tolist():
            self._give_up([lost], self._no_way_out(family, lost), INFEASIBLE)
        dear = members[np.isfinite(cost) & (cost > self.most_cost * (1 + TIED))]
        self._give_up(dear, f"no set costs {self.most_cost:g} or less", TOO_COSTLY)

    def _no_way_out(self, family: Family, member: int) -> str:
        allowed = _finite(self._costs_of(np.array([member]))[0])
        blocked = next(conflict for conflict in family if not conflict & allowed)
        names = [self.space.rules.variables[place].name for place in bits(blocked)]
        if not names:
            return "no values of the other fields satisfy the rules"
        if len(names) == 1:
            return f"{names[0]} must change, but may not"
        return f"one of {', '.join(names)} must change, but none may"

    def _components(self, family: Family) -> list[Family]:
        key = ("components", family)
        if key not in self._covers:
            self._covers[key] = components(family)
        found: list[Family] = self._covers[key]
        return found

    def _costs_of(self, members: Places) -> Floats:
        if self.costs.ndim == 2:
            return self.costs[members]
        return np.broadcast_to(self.costs, (len(members), len(self.costs)))

    def _cheapest(self, part: Family, members: Places) -> tuple[Floats, Places, list[int]]:
        """Choose the cheapest cover of some conflicts for each record, of ties the first."""
        options = self._listed(part)
        if options is None:
            return self._one_by_one(part, members)
        cost, choice = np.full(len(members), np.inf), np.zeros(len(members), np.intp)
        if not options:
            return cost, choice, []
        if self.costs.ndim == 1:
            cost[:] = sum(self.costs[place] for place in bits(options[0]))
            if len(options) > 1:
                choice = (self.ties[members] @ self._indicator(options).T).argmin(axis=1)
            return cost, choice, options
        inside = self._indicator(options)
        never = np.isinf(self.costs[members])
        sums = np.where(never, 0.0, self.costs[members]) @ inside.T
        sums[(never.astype(float) @ inside.T) > 0] = np.inf
        cost = sums.min(axis=1)
        order = self.ties[members] @ inside.T
        order[sums > cost[:, None] * (1 + TIED)] = np.inf
        return cost, order.argmin(axis=1), options

    def _one_by_one(self, part: Family, members: Places) -> tuple[Floats, Places, list[int]]:
        """Choose where there are too many covers to list: for each record by itself."""
        places: dict[int, int] = {}
        cost, choice = np.full(len(members), np.inf), np.zeros(len(members), np.intp)
        for at, (member, costs) in enumerate(zip(members, self._costs_of(members), strict=True)):
            order = self.ties[member].tolist()
            try:
                best = first_of_cheapest(part, costs.tolist(), order, _finite(costs))
            except TooManyCovers:
                cost[at] = np.nan
                continue
            if best is not None:
                cost[at] = sum(costs[place] for place in bits(best))
                choice[at] = places.setdefault(best, len(places))
        return cost, choice, list(places)

    def _listed(self, part: Family) -> list[int] | None:
        """List covers: the cheapest ones, or all where costs differ; None if there are many."""
        if part not in self._covers:
            try:
                self._covers[part] = (
                    cheapest_covers(part, self.costs.tolist(), _finite(self.costs))
                    if self.costs.ndim == 1
                    else smallest_covers(part)
                )
            except TooManyCovers:
                self._covers[part] = None
        found: list[int] | None = self._covers[part]
        return found

    def _indicator(self, sets: list[int]) -> Floats:
        inside = np.zeros((len(sets), self.ties.shape[1]))
        for row, one in zip(inside, sets, strict=True):
            row[list(bits(one))] = 1.0
        return inside

    # -- testing a set

    def _try(self, members: Places, chosen: int) -> list[tuple[Places, int]]:
        """Test a set for all records that have it as their candidate."""
        cut = self._cut(chosen)
        accepted = []
        for at, pattern in self._open(cut, members):
            here = members[at]
            ways = self._find_ways(chosen, cut, pattern)
            if ways is None:
                self._search_all(here, chosen)
            elif not ways:
                conflict = self._conflict_of_values(chosen, cut, pattern)
                self._learn(here, np.zeros(len(here), np.intp), [(conflict,)])
            else:
                accepted.append((self._try_ways(here, chosen, cut, pattern, ways), chosen))
        return accepted

    def _cut(self, chosen: int) -> _Cut:
        if chosen not in self._cuts:
            space = self.space
            clauses, fixed, free, reasons = [], [], [], []
            for place in space.several:
                clause = space.clauses[place]
                if clause.fields & chosen and not clause.soft & chosen:
                    touched = [bool(space.literals[n].fields & chosen) for n in clause.literals]
                    pairs = list(zip(clause.literals, touched, strict=True))
                    why = clause.soft
                    for number, there in pairs:
                        why |= 0 if there else space.literals[number].fields
                    clauses.append(place)
                    fixed.append(tuple(n for n, there in pairs if not there))
                    free.append(tuple(n for n, there in pairs if there))
                    reasons.append(why)
            self._cuts[chosen] = _Cut(tuple(clauses), tuple(fixed), tuple(free), tuple(reasons))
        return self._cuts[chosen]

    def _open(self, cut: _Cut, members: Places) -> Iterator[tuple[Places, tuple[int, ...]]]:
        """Part records by the clauses that fixed values do not satisfy: places in the cut."""
        if not cut.clauses:
            yield np.arange(len(members)), ()
            return
        truth = self.records.truth
        open_ = np.ones((len(members), len(cut.clauses)), dtype=bool)
        for place, fixed in enumerate(cut.fixed):
            for literal in fixed:
                open_[:, place] &= ~truth[members, literal]
        rows, which = _patterns(open_)
        for at, code in _split(np.arange(len(members)), which):
            yield at, tuple(np.flatnonzero(rows[code]).tolist())

    def _find_ways(self, chosen: int, cut: _Cut, pattern: tuple[int, ...]) -> list[_Way] | None:
        """Give the ways to satisfy the open clauses; None if there are too many."""
        key = (chosen, pattern)
        if key not in self._ways:
            domains = {
                c: one.every
                for c, one in enumerate(self.space.categories)
                if chosen >> one.field & 1
            }
            clauses = [(cut.clauses[place], cut.free[place]) for place in pattern]
            self._ways[key] = _ways(self.space, clauses, domains)
        return self._ways[key]

    def _conflict_of_values(self, chosen: int, cut: _Cut, pattern: tuple[int, ...]) -> int:
        """Give a conflict where the values that are left contradict, without clauses it can do."""
        needed = list(pattern)
        for place in pattern:
            without = tuple(other for other in needed if other != place)
            if self._find_ways(chosen, cut, without) == []:
                needed = list(without)
        conflict = 0
        for place in needed:
            conflict |= cut.reasons[place]
        return conflict & ~chosen

    def _try_ways(
        self, members: Places, chosen: int, cut: _Cut, pattern: tuple[int, ...], ways: list[_Way]
    ) -> Places:
        """Test each way by its projection; give the records for which one will do."""
        columns, without = self.space.number_columns(chosen), self.space.given_up(chosen)
        first = self.space.number_columns(self._groups[self._group[members[0]]][0])
        numbers = self.records.numbers
        left, unknown = members, False
        failed: list[tuple[Mask, tuple[int, ...], Mask]] = []
        for way in ways:
            key = Key(columns, way.atoms, without)
            try:
                test, masks, alone = self._test(key, chosen, cut, pattern, first)
            except TooManyRows:
                unknown = True
                continue
            broken = test.violated(numbers[left])
            bad = broken.any(axis=1)
            good = left[~bad]
            if len(good):
                self.outcome.numbers[good] = self.projector.solve(key, numbers[good])
                self._write_codes(good, way)
            left = left[bad]
            failed = [(b[bad], m, a) for b, m, a in failed]
            failed.append((broken[bad], masks, alone))
            if not len(left):
                return members
        if unknown:
            self._search_all(left, chosen)
        else:
            self._learn_from(left, chosen, cut, pattern, failed)
        return np.setdiff1d(members, left, assume_unique=True)

    def _write_codes(self, members: Places, way: _Way) -> None:
        """Let categories keep their value where they may; else take the first that is left."""
        for column, domain in way.domains:
            now = self.outcome.codes[members, column]
            kept = (domain >> now.astype(np.int64)) & 1
            self.outcome.codes[members, column] = np.where(kept, now, next(bits(domain)))

    def _test(
        self, key: Key, chosen: int, cut: _Cut, pattern: tuple[int, ...], first: int
    ) -> tuple[System, tuple[int, ...], Mask]:
        """Give the rows to test, the conflict that each makes, and whether it does so alone."""
        known = (key, chosen)
        if known not in self._tests:
            system = self.projector.system(key, first).tests
            reasons = dict(zip(cut.clauses, cut.reasons, strict=True))
            forks = {cut.clauses[place] for place in pattern if len(cut.free[place]) > 1}
            masks, alone = [], []
            for row, why in zip(system.rows, system.reasons, strict=True):
                mask = 0
                for column in np.flatnonzero(row[:-1]).tolist():
                    mask |= 1 << self.space.numbers[column]
                clauses = set(bits(why))
                for clause in clauses:
                    mask |= reasons.get(clause, self.space.clauses[clause].soft)
                masks.append(mask & ~chosen)
                alone.append(clauses.isdisjoint(forks))
            self._tests[known] = (system, tuple(masks), np.array(alone, dtype=bool))
        return self._tests[known]

    def _learn_from(
        self,
        members: Places,
        chosen: int,
        cut: _Cut,
        pattern: tuple[int, ...],
        failed: list[tuple[Mask, tuple[int, ...], Mask]],
    ) -> None:
        """Turn broken rows into conflicts.

        A row that follows from clauses with one way to hold is a conflict by itself. Otherwise a
        broken row of each way counts, and what closes the other ways of the clauses.
        """
        alone = [
            (broken[:, rows], tuple(np.array(masks, object)[rows]))
            for broken, masks, rows in failed
        ]
        some = np.column_stack([broken for broken, _ in alone])
        every = [mask for _, masks in alone for mask in masks]
        single = some.any(axis=1)
        if single.any():
            rows, which = _patterns(some[single])
            conflicts = [smallest_only(every[i] for i in np.flatnonzero(row)) for row in rows]
            self._learn(members[single], which, conflicts)
        if single.all():
            return
        rest = ~single
        base = 0
        for place in pattern:
            base |= cut.reasons[place]
        firsts: list[Places] = []
        options: list[list[int]] = []
        for broken, masks, _ in failed:
            order = sorted(range(len(masks)), key=lambda row: masks[row].bit_count())
            firsts.append(broken[rest][:, order].argmax(axis=1))
            options.append([masks[row] for row in order])
        different, which = np.unique(np.column_stack(firsts), axis=0, return_inverse=True)
        conflicts = []
        for places in different.tolist():
            mask = base
            for place, listed in zip(places, options, strict=True):
                mask |= listed[place]
            conflicts.append((mask & ~chosen,))
        self._learn(members[rest], which, conflicts)

    def _learn(self, members: Places, which: Places, conflicts: list[Family]) -> None:
        """Add conflicts to those of each record."""
        groups = self._group[members]
        codes = groups * len(conflicts) + which
        for at, code in _split(np.arange(len(members)), codes):
            missing, family = self._groups[code // len(conflicts)]
            new = smallest_only([*family, *conflicts[code % len(conflicts)]])
            self._group[members[at]] = self._add_group(missing, new)

    # -- what projections cannot tell

    def _settle(self, accepted: list[tuple[Places, int]]) -> None:
        """Check the values that were found, in original units; search on where they fail."""
        accepted = [(members, chosen) for members, chosen in accepted if len(members)]
        if not accepted:
            return
        everyone = np.concatenate([members for members, _ in accepted])
        sets = [chosen for members, chosen in accepted for _ in range(len(members))]
        fine = self._holds(everyone, sets)
        for member, chosen, good in zip(everyone.tolist(), sets, fine.tolist(), strict=True):
            if good:
                self.outcome.state[member] = FOUND
                self.outcome.chosen[member] = chosen
            else:
                self._search_one(member, chosen, projected=True)

    def _holds(self, members: Places, sets: list[int]) -> Mask:
        numbers, codes = self.outcome.numbers[members], self.outcome.codes[members]
        good = self.check(numbers, codes, sets)
        for column, place in enumerate(self.space.numbers):
            if self.space.integers >> place & 1:
                changed = np.array([chosen >> place & 1 for chosen in sets], dtype=bool)
                good &= ~changed | (numbers[:, column] == np.round(numbers[:, column]))
        return good

    def _search_all(self, members: Places, chosen: int) -> None:
        for member in members.tolist():
            self._search_one(member, chosen)

    def _search_one(self, member: int, chosen: int, *, projected: bool = False) -> None:
        """Ask HiGHS whether a set will do for a record; projections may have said that it will."""
        self.outcome.searched[member] = True
        try:
            found = self.solver.find(member, chosen)
        except GaveUp as fault:
            self._give_up([member], str(fault))
            return
        if found is None and projected and not chosen & self.space.integers:
            self._give_up([member], "projections and HiGHS disagree: the rules hold by a hair")
            return
        if found is None:
            conflict = self.solver.conflict(member, chosen)
            self._learn(np.array([member]), np.zeros(1, np.intp), [(conflict,)])
            return
        numbers, self.outcome.codes[member] = found
        free = list(bits(self.space.number_columns(chosen)))
        for digits in (None, 13, 10):  # 0.1 - 0.1 is not always 0 after a linear programme
            self.outcome.numbers[member] = numbers
            if digits is not None:
                self.outcome.numbers[member, free] = _rounded(numbers, digits)[free]
            if self._holds(np.array([member]), [chosen])[0]:
                self.outcome.state[member] = FOUND
                self.outcome.chosen[member] = chosen
                return
        self._give_up([member], "values that HiGHS found do not satisfy the rules exactly")


def _rounded(numbers: Floats, digits: int) -> Floats:
    """Round to some digits of the largest number."""
    largest = float(np.abs(numbers).max(initial=0.0))
    places = digits - 1 - int(np.floor(np.log10(largest))) if largest else 0
    rounded: Floats = np.round(numbers, places)
    return rounded


def _finite(costs: Floats) -> int:
    """Give the members that may be chosen, as bits."""
    return sum(1 << place for place in np.flatnonzero(np.isfinite(costs)).tolist())


def _ways(
    space: Space, clauses: list[tuple[int, tuple[int, ...]]], domains: dict[int, int]
) -> list[_Way] | None:
    """Give the ways to satisfy clauses by linear atoms and by values; None if there are many."""
    found: list[_Way] = []
    waiting: list[tuple[frozenset[Choice], dict[int, int]]] = [(frozenset(), domains)]
    steps = 0
    while waiting:
        steps += 1
        if steps > 20 * MOST_WAYS or len(found) > MOST_WAYS:
            return None
        atoms, domains = waiting.pop()
        chosen = {literal for _, literal in atoms}
        best: list[tuple[frozenset[Choice], dict[int, int]]] | None = None
        for clause, literals in clauses:
            ways = []
            for number in literals:
                literal = space.literals[number]
                if literal.linear:
                    if number in chosen:
                        break
                    ways.append((atoms | {(clause, number)}, domains))
                else:
                    left = domains[literal.column] & literal.allowed
                    if left == domains[literal.column]:
                        break
                    if left:
                        ways.append((atoms, {**domains, literal.column: left}))
            else:
                if best is None or len(ways) < len(best):
                    best = ways
        if best is None:
            found.append(_Way(atoms, tuple(domains.items())))
        else:
            waiting += reversed(best)
    found.sort(key=lambda way: len(way.atoms))
    kept: list[_Way] = []
    for way in found:  # one that asks for less will do wherever this one will
        if not any(_literals(other) <= _literals(way) for other in kept):
            kept.append(way)
    return kept


def _literals(way: _Way) -> set[int]:
    return {literal for _, literal in way.atoms}


def _patterns(cells: Mask) -> tuple[Mask, Places]:
    """Give the different rows of truths, and which of them each row is."""
    codes = np.zeros(len(cells), dtype=np.int64)
    first = np.zeros(1, dtype=np.intp)
    for start in range(0, max(cells.shape[1], 1), 31):
        part = cells[:, start : start + 31]
        codes = (codes << 31) | (part @ (1 << np.arange(part.shape[1], dtype=np.int64)))
        _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    return cells[first], codes


def _alike(columns: list[Places], n: int) -> Iterator[Places]:
    """Part n records by what all columns say of them."""
    codes = np.zeros(n, dtype=np.intp)
    for column in columns:
        if column.any():
            _, codes = np.unique(codes * (int(column.max()) + 1) + column, return_inverse=True)
    for at, _ in _split(np.arange(n), codes):
        yield at


def _split(values: Places, codes: Places) -> Iterator[tuple[Places, int]]:
    """Part values by their code."""
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    starts = np.flatnonzero(np.r_[True, sorted_codes[1:] != sorted_codes[:-1]])
    if not len(codes):
        return
    for start, end in zip(starts, [*starts[1:], len(codes)], strict=True):
        yield values[order[start:end]], int(sorted_codes[start])
