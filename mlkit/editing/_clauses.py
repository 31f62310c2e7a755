"""Edit rules as clauses over fields: what must hold of a record after its fields are changed.

The third state of missing values is part of it: a field with a condition under which it applies
may be left empty where that condition does not hold, and then no rule about it can be broken. So
"this field is empty" becomes a truth value of its own, and all that is left are clauses.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit.editing._check import Cell, Columns, Status
from mlkit.editing._grammar import Atom, Clause, LinearAtom, negate
from mlkit.editing._projection import Choice, Projector, Row, as_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlkit.editing._rules import EditRules, Variable

OTHER = "(any other)"  # stands for every category that no rule names
MOST_CLAUSES = 256  # of one condition under which a field applies


@dataclass(frozen=True)
class Empty:
    """Atom: a field is empty, or is not."""

    variable: str
    holds: bool = True


@dataclass(frozen=True)
class Literal:
    """An atom as computations use it: rows of numbers, or values that a category may have."""

    atom: Atom | Empty
    fields: int  # as bits
    rows: tuple[Row, ...] = ()
    column: int = -1  # of the categories
    allowed: int = 0  # their values, as bits

    @property
    def linear(self) -> bool:
        return self.column < 0


@dataclass(frozen=True)
class Condition:
    """A clause of literals, given by their places; `soft` is the bit of a rule with a penalty."""

    literals: tuple[int, ...]
    fields: int
    soft: int


@dataclass(frozen=True, eq=False)
class Category:
    """A column of values from a list: a category, a truth value, or whether a field is empty."""

    field: int
    known: tuple[Any, ...]

    @property
    def every(self) -> int:
        return (1 << len(self.known)) - 1


@dataclass(eq=False)
class Space:
    """The fields of a record, and the clauses about them.

    The bits of fields are those of ``rules.variables``; the bits of soft rules follow.
    """

    rules: EditRules
    literals: list[Literal] = field(default_factory=list)
    clauses: list[Condition] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # the field of each column of numbers
    categories: list[Category] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places: dict[Literal, int] = {}
        self._field = {v.name: place for place, v in enumerate(self.rules.variables)}
        self._number: dict[str, int] = {}
        self._category: dict[str, int] = {}
        self._empty: dict[str, int] = {}
        for place, variable in enumerate(self.rules.variables):
            self._add_columns(place, variable)
        self.soft_rules = [rule for rule in self.rules if not rule.hard]
        for rule in self.rules:
            soft = 0 if rule.hard else 1 << (len(self._field) + self.soft_rules.index(rule))
            for clause in rule.clauses:
                self._add(clause, soft)
        for variable in self.rules.variables:
            if variable.name in self._empty:
                for alternatives in _not_applicable(variable, set(self._empty)):
                    self._add([Empty(variable.name, False), *alternatives], 0)

    def _add_columns(self, place: int, variable: Variable) -> None:
        if variable.numeric:
            self._number[variable.name] = len(self.numbers)
            self.numbers.append(place)
        else:
            self._category[variable.name] = len(self.categories)
            values: tuple[Any, ...] = (*variable.categories, OTHER)
            values = (False, True) if variable.kind == "boolean" else values
            self.categories.append(Category(place, values))
        if variable.condition and not variable.zero_if_blank:
            self._empty[variable.name] = len(self.categories)
            self.categories.append(Category(place, (False, True)))

    def _add(self, atoms: Sequence[Atom | Empty], soft: int) -> None:
        named = {n for atom in atoms if not isinstance(atom, Empty) for n in atom.variables}
        # A rule about an empty field cannot be broken.
        whole = [*atoms, *(Empty(name) for name in sorted(named & set(self._empty)))]
        places = tuple(dict.fromkeys(self._literal(atom) for atom in whole))
        fields = 0
        for place in places:
            fields |= self.literals[place].fields
        self.clauses.append(Condition(places, fields, soft))

    def _literal(self, atom: Atom | Empty) -> int:
        made = self._as_literal(atom)
        if made not in self._places:
            self._places[made] = len(self.literals)
            self.literals.append(made)
        return self._places[made]

    def _as_literal(self, atom: Atom | Empty) -> Literal:
        if isinstance(atom, Empty):
            bits = 1 << self._field[atom.variable]
            return Literal(atom, bits, (), self._empty[atom.variable], 2 if atom.holds else 1)
        bits = sum(1 << self._field[name] for name in atom.variables)
        if isinstance(atom, LinearAtom):
            return Literal(atom, bits, as_rows(atom, self._number))
        column = self._category[atom.variable]
        values = self.categories[column].known
        allowed = sum(
            1 << place
            for place, value in enumerate(values)
            if (value in atom.members) == atom.inside
        )
        return Literal(atom, bits, (), column, allowed)

    # -- what the search asks for

    @cached_property
    def everything(self) -> int:
        """All fields, as bits."""
        return (1 << len(self._field)) - 1

    @cached_property
    def several(self) -> tuple[int, ...]:
        """The clauses that are more than one linear comparison."""
        return tuple(c for c in range(len(self.clauses)) if not self._plain(self.clauses[c]))

    def _plain(self, clause: Condition) -> bool:
        return len(clause.literals) == 1 and self.literals[clause.literals[0]].linear

    def projector(self) -> Projector:
        """Prepare the projections of the linear rules."""
        plain = [
            (row, 1 << place)
            for place, clause in enumerate(self.clauses)
            if self._plain(clause)
            for row in self.literals[clause.literals[0]].rows
        ]
        return Projector(plain, self._choices(), len(self.numbers), self.priced)

    def _choices(self) -> dict[Choice, list[tuple[Row, int]]]:
        """Give the rows that an atom adds, if a clause is to hold by it."""
        return {
            (place, number): [(row, 1 << place) for row in self.literals[number].rows]
            for place in self.several
            for number in self.clauses[place].literals
            if self.literals[number].linear
        }

    @cached_property
    def priced(self) -> int:
        """The clauses of soft rules, as bits."""
        return self.given_up(-1)

    def given_up(self, chosen: int) -> int:
        """Translate bits of soft rules to bits of their clauses."""
        return sum(1 << place for place, c in enumerate(self.clauses) if c.soft & chosen)

    def number_columns(self, fields: int) -> int:
        """Translate bits of fields to bits of columns of numbers."""
        return sum(1 << column for column, place in enumerate(self.numbers) if fields >> place & 1)

    @cached_property
    def integers(self) -> int:
        """The fields that hold whole numbers, as bits."""
        kinds = [variable.kind for variable in self.rules.variables]
        return sum(1 << place for place, kind in enumerate(kinds) if kind == "integer")

    # -- reading and writing records

    def read(self, columns: Columns) -> Records:
        """Read records as arrays."""
        names = [variable.name for variable in self.rules.variables]
        cells = np.column_stack([columns.cells(name) for name in names])
        numbers = np.zeros((columns.size, len(self.numbers)))
        for name, column in self._number.items():
            values = columns.read[name].data
            numbers[:, column] = np.where(np.isnan(values), 0.0, values)
        codes = np.zeros((columns.size, len(self.categories)), dtype=np.int16)
        for name, column in self._category.items():
            known = self.categories[column].known
            read = columns.read[name]
            places = [known.index(v) if v in known else len(known) - 1 for v in read.different]
            codes[:, column] = np.array([*places, 0])[read.data]
        for name, column in self._empty.items():
            codes[:, column] = cells[:, self._field[name]] == Cell.NOT_APPLICABLE
        truth = np.empty((columns.size, len(self.literals)), dtype=bool)
        for place, literal in enumerate(self.literals):
            if isinstance(literal.atom, Empty):
                truth[:, place] = codes[:, literal.column] == literal.atom.holds
            else:
                truth[:, place] = columns.judge([(literal.atom,)]) == Status.SATISFIED
        return Records(numbers, codes, truth, cells == Cell.NON_RESPONSE)

    def write(self, numbers: NDArray[np.float64], codes: NDArray[np.int16]) -> pd.DataFrame:
        """Write arrays as records that rules can check."""
        written: dict[str, Any] = {}
        for name in self._field:
            if name in self._number:
                values: NDArray[Any] = numbers[:, self._number[name]].copy()
                nothing: Any = np.nan
            else:
                column = self._category[name]
                known = np.empty(len(self.categories[column].known), dtype=object)
                known[:] = self.categories[column].known
                values, nothing = known[codes[:, column]], None
            if name in self._empty:
                values[codes[:, self._empty[name]] == 1] = nothing
            written[name] = values
        return pd.DataFrame(written)


@dataclass(frozen=True, eq=False)
class Records:
    """Records as arrays; missing numbers stand as 0, and no rule reads them."""

    numbers: NDArray[np.float64]
    codes: NDArray[np.int16]
    truth: NDArray[np.bool_]  # of each literal
    missing: NDArray[np.bool_]  # non-responses, by field


def _not_applicable(variable: Variable, may_be_empty: set[str]) -> Iterator[list[Atom | Empty]]:
    """Give the clauses that say: the condition under which a field applies does not hold.

    It does not hold where one of its clauses is broken, or where none can be judged; see
    :meth:`EditRules.check`. That is a disjunction of conjunctions, which is multiplied out.
    """
    broken = [_is_broken(clause, may_be_empty) for clause in variable.condition]
    open_ = [_is_open(clause, may_be_empty) for clause in variable.condition]
    terms = list(broken)
    if all(term is not None for term in open_):
        terms.append([part for term in open_ for part in term or ()])
    size = 1
    for term in terms:
        size *= len(term)
    if size > MOST_CLAUSES:
        raise ValueError(
            f"The condition under which {variable.name} applies makes {size:,} clauses; at most "
            f"{MOST_CLAUSES} are allowed. Simplify it, or compute it as a column of its own."
        )
    for choice in itertools.product(*terms):
        yield list(dict.fromkeys(itertools.chain.from_iterable(choice)))


def _is_false(clause: Clause, may_be_empty: set[str]) -> list[list[Atom | Empty]]:
    """Say that no atom of a clause is true; one about an empty field never is."""
    return [
        [*negate(atom), *(Empty(name) for name in atom.variables if name in may_be_empty)]
        for atom in clause
    ]


def _is_broken(clause: Clause, may_be_empty: set[str]) -> list[list[Atom | Empty]]:
    there: list[list[Atom | Empty]] = [
        [Empty(name, False)] for name in _names(clause) if name in may_be_empty
    ]
    return [*_is_false(clause, may_be_empty), *there]


def _is_open(clause: Clause, may_be_empty: set[str]) -> list[list[Atom | Empty]] | None:
    empty: list[Atom | Empty] = [Empty(name) for name in _names(clause) if name in may_be_empty]
    return [*_is_false(clause, may_be_empty), empty] if empty else None


def _names(clause: Clause) -> Iterable[str]:
    return dict.fromkeys(name for atom in clause for name in atom.variables)
