"""Edit rules: reading, writing, and the forms that computations use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mlkit.editing._grammar import (
    Atom,
    Clause,
    Kind,
    Line,
    LinearAtom,
    MemberAtom,
    Parsed,
    Place,
    Properties,
    RuleLine,
    Use,
    VariableLine,
    did_you_mean,
    is_blank,
    read_line,
    write_name,
    write_number,
    write_text,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from mlkit.editing._check import RuleCheck
    from mlkit.editing._consistency import Consistency, Redundancy
    from mlkit.estimate import AnyDesign

_USED_AS = {
    "number": "a number",
    "integer": "a number",
    "category": "text",
    "boolean": "a truth value",
}


@dataclass(frozen=True)
class EditRule:
    """One edit rule: what a valid record satisfies.

    Attributes
    ----------
    name : str
        Its name, unique among its rules.
    text : str
        The rule as it was written.
    clauses : tuple of tuple of LinearAtom or MemberAtom
        The rule in clause form: it holds where every clause holds, and a clause holds where one
        of its atoms does. ``if married then age >= 17`` is one clause of two atoms, ``not
        married`` and ``age >= 17``; ``0 <= x <= 9`` is two clauses of one atom each.
    penalty : float
        What breaking the rule costs: infinite for a hard rule.
    label : str
        What the rule means, in words.
    tolerance : float or None
        The tolerance written with the rule; None if it follows from the units. What applies is
        in the atoms.
    """

    name: str
    text: str
    clauses: tuple[Clause, ...]
    penalty: float = math.inf
    label: str = ""
    tolerance: float | None = None

    @property
    def hard(self) -> bool:
        """Whether every valid record satisfies it; a soft rule is only likely to hold."""
        return math.isinf(self.penalty)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables it names, in the order of their first use in the clauses."""
        named = (v for clause in self.clauses for atom in clause for v in atom.variables)
        return tuple(dict.fromkeys(named))

    @property
    def linear(self) -> bool:
        """Whether it is linear: equalities and inequalities, all of which must hold."""
        return all(len(c) == 1 and isinstance(c[0], LinearAtom) for c in self.clauses)

    @property
    def normal_form(self) -> str:
        """The rule written from its clauses, which reads as the same rule."""
        several = len(self.clauses) > 1
        written = []
        for clause in self.clauses:
            text = " or ".join(map(str, clause))
            written.append(f"({text})" if several and len(clause) > 1 else text)
        return " and ".join(written)

    def __str__(self) -> str:
        options = [] if self.hard else [f"soft {write_number(self.penalty)}"]
        if self.tolerance is not None:
            options.append(f"tolerance {write_number(self.tolerance)}")
        if self.label:
            options.append(f"label {write_text(self.label)}")
        after = f" [{', '.join(options)}]" if options else ""
        return f"{write_name(self.name)}: {self.text}{after}"


@dataclass(frozen=True)
class Variable:
    """A variable that rules name.

    Attributes
    ----------
    name : str
        The column.
    kind : {"number", "integer", "category", "boolean"}
        A variable in a sum or compared with numbers is a number, or an integer if declared so;
        one compared with text a category; one that stands alone a boolean.
    unit : float
        The unit to which values are rounded, from which tolerances follow; 0 if exact.
    zero_if_blank : bool
        Whether a missing value means 0.
    applies_if : str or None
        The condition under which the variable applies. A missing value of a record that does
        not meet it is not applicable, instead of a non-response.
    condition : tuple of Clause
        The same in clause form; empty without a condition.
    categories : tuple of str
        The values of a category that rules name, in order.
    closed : bool
        Whether a hard rule such as ``status in {"a", "b"}`` allows no other categories.
    low, high : float
        The bounds of a number that hard rules about it alone set; infinite without any. See
        :meth:`EditRules.implied_bounds` for those that follow from several rules.
    """

    name: str
    kind: Kind
    unit: float = 0.0
    zero_if_blank: bool = False
    applies_if: str | None = None
    condition: tuple[Clause, ...] = ()
    categories: tuple[str, ...] = ()
    closed: bool = False
    low: float = -math.inf
    high: float = math.inf

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.kind in ("number", "integer")

    def __str__(self) -> str:
        """Write its declaration; empty if there is nothing to declare."""
        properties = ["integer"] if self.kind == "integer" else []
        if self.unit:
            properties.append(f"unit {write_number(self.unit)}")
        if self.zero_if_blank:
            properties.append("zero if blank")
        if self.applies_if is not None:
            properties.append(f"applies if {self.applies_if}")
        return f"variable {write_name(self.name)}: {', '.join(properties)}" if properties else ""


@dataclass(frozen=True, eq=False)
class LinearSystem:
    """Linear rules as matrices: row i reads ``A[i] @ x  operators[i]  b[i]``.

    Attributes
    ----------
    A : ndarray of shape (m, p)
        The coefficients, m rows of p variables.
    b : ndarray of shape (m,)
        The right-hand sides.
    operators : tuple of str
        "==", "<=" or "<" of each row; "<" is strict.
    tolerances : ndarray of shape (m,)
        By how much a row may miss, in the units of the data; 0 where strict. See
        :class:`EditRules`.
    columns : tuple of str
        The variable of each column of A.
    rules : tuple of str
        The rule of each row; a rule such as ``0 <= x <= 9`` has two.
    """

    A: NDArray[np.float64]
    b: NDArray[np.float64]
    operators: tuple[str, ...]
    tolerances: NDArray[np.float64]
    columns: tuple[str, ...]
    rules: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Write the system as a table.

        Returns
        -------
        DataFrame
            One row per row of A, named after its rule: a column per variable, then `operator`,
            `constant` and `tolerance`.
        """
        frame = pd.DataFrame(self.A, index=pd.Index(self.rules, name="rule"), columns=self.columns)
        return frame.assign(operator=self.operators, constant=self.b, tolerance=self.tolerances)


@dataclass(frozen=True, repr=False)
class EditRules:
    """Edit rules: what a valid record is.

    Make them with :meth:`from_text`, :meth:`from_file`, :meth:`from_yaml` or :meth:`from_frame`.

    Attributes
    ----------
    rules : tuple of EditRule
        The rules, in the order in which they were written.
    variables : tuple of Variable
        The variables that they name, in the order of first use.

    Notes
    -----
    *Notation.* One rule per line; ``#`` begins a comment. A name may stand before a rule, and
    options after it, in brackets::

        variable turnover, other_income, total_income: unit 1
        variable wage: applies if employed

        balance: turnover + other_income == total_income
        staff_costs >= 0
        profit <= 0.6 * turnover                      [soft 2, label "profits are rarely higher"]
        -0.1 * turnover <= profit <= 0.9 * turnover   [tolerance 5]
        if married then age >= 17
        if status == "employee" and hours > 0 then wage > 0 or not paid
        status in {"employee", "self-employed"}
        `other costs` == 0 or region != "North"

    Sums are linear: products of two variables, and division by one, are refused. A variable
    alone is a boolean column, one compared with text a category, any other a number. Words of
    the notation (if, then, and, or, not, in, true, false) and names with blanks go in backticks
    when they name columns.

    *Hard and soft.* A hard rule holds for every valid record. A soft one is only likely to hold,
    and has a penalty, 1 unless said otherwise.

    *Tolerance.* Rounded values need not add up. A comparison may miss by half a unit times the
    sum of the absolute coefficients: the largest sum of rounding errors, if variables are
    declared with the unit to which they are rounded (``variable turnover: unit 1``). Units that
    differ count each with its own coefficient. Without units the tolerance is 0, whatever the
    size of the record: one relative to the record would accept errors of a record that is wrong
    by a factor of 1,000. `tolerance` in brackets replaces it for a rule. Strict comparisons (<,
    >, !=) have none: ``staff > 0`` is broken by 0. Beside that, comparisons allow for the
    rounding of floating-point arithmetic itself, some 1e-15 of the numbers that are added, so
    that 0.1 + 0.2 == 0.3 and not 0.1 + 0.2 > 0.3.

    *Missing values* have three states. Without declaration a missing value is a **non-response**
    and an atom about it is unknown. With ``zero if blank`` it **is 0**. With ``applies if`` and a
    condition that the record does not meet, it is **not applicable**. A condition that cannot be
    told leaves it a non-response. See :meth:`check` for what follows.

    *Other software.* validate (R) takes missing values in the same way, by the logic of Kleene
    (a conditional rule is satisfied if the known part settles it), and allows one absolute
    tolerance, 1e-8, for all rules. errorlocate (R) treats every missing value as an error to
    localise. Banff "misses" a record at a rule with a missing value; it takes linear rules
    only, and adds x >= 0 for every variable unless told otherwise: here nothing is added.

    Examples
    --------
    >>> rules = EditRules.from_text('''
    ... balance: turnover + other_income == total_income
    ... staff_costs >= 0
    ... adult: if married then age >= 17
    ... ''')
    >>> rules
    EditRules(3 hard rules, 6 variables)
    >>> rules.names
    ('balance', 'rule_2', 'adult')
    >>> rules["adult"].normal_form
    'not married or age >= 17'
    """

    rules: tuple[EditRule, ...]
    variables: tuple[Variable, ...]

    # -- reading

    @classmethod
    def from_text(cls, text: str, *, source: str = "rules") -> EditRules:
        """Read rules from text, one per line.

        Parameters
        ----------
        text : str
            The rules; see the notation above.
        source : str, default="rules"
            What to call the text in error messages.

        Returns
        -------
        EditRules
            The rules.

        Raises
        ------
        RuleSyntaxError
            If a line cannot be read, a name is used twice, a variable is used in two ways or
            declared and not used; with line, column, the line itself and a caret.
        ValueError
            If there is no rule.

        Examples
        --------
        >>> EditRules.from_text("profit <= * 0.6", source="rules.txt")
        Traceback (most recent call last):
            ...
        mlkit.editing._grammar.RuleSyntaxError: rules.txt, line 1, column 11: expected a number, \
a column name or a text, found "*".
            profit <= * 0.6
                      ^
        """
        if not isinstance(text, str):
            raise TypeError(f"text is a {type(text).__name__}; give the rules as one str.")
        lines = [
            read_line(line, Place(source, number, line))
            for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1)
            if not is_blank(line)
        ]
        return _assemble(lines, source)

    @classmethod
    def from_file(cls, path: str | Path) -> EditRules:
        """Read rules from a file in UTF-8: YAML if it ends in .yaml or .yml, else text.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        EditRules
            The rules.

        Raises
        ------
        RuleSyntaxError, ValueError
            As :meth:`from_text` and :meth:`from_yaml`; and if the file is not in UTF-8.
        OSError
            If the file cannot be read.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path.name} is not in UTF-8 (byte {error.start + 1:,}). Save it as UTF-8."
            ) from error
        if path.suffix.lower() in (".yaml", ".yml"):
            return cls.from_yaml(text, source=path.name)
        return cls.from_text(text, source=path.name)

    @classmethod
    def from_yaml(cls, text: str, *, source: str = "rules") -> EditRules:
        """Read rules from YAML.

        Parameters
        ----------
        text : str
            A mapping with `rules` and, optionally, `variables`. `rules` lists lines as in
            :meth:`from_text`, or mappings with `rule` and any of `name`, `soft` (true, false or a
            penalty), `tolerance` and `label`. `variables` maps names to what is declared of
            them. Quote a rule in which a colon is followed by a blank.
        source : str, default="rules"
            What to call the text in error messages.

        Returns
        -------
        EditRules
            The rules.

        Raises
        ------
        RuleSyntaxError, ValueError
            As :meth:`from_text`; and if the YAML itself cannot be read, or has a key that is
            unknown or comes twice.

        Examples
        --------
        >>> rules = EditRules.from_yaml('''
        ... variables:
        ...   turnover: unit 1, zero if blank
        ... rules:
        ...   - turnover >= 0
        ...   - {name: ratio, rule: profit <= 0.6 * turnover, soft: 2}
        ... ''')
        >>> rules.names
        ('rule_1', 'ratio')
        """
        from mlkit.editing._files import read_yaml  # PyYAML is imported where it is used

        return _assemble(read_yaml(text, source), source)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> EditRules:
        """Read rules from a data frame with one row per rule, such as :meth:`to_frame` makes.

        Parameters
        ----------
        frame : DataFrame
            The column `rule` holds lines as in :meth:`from_text`, declarations included. The
            columns `name`, `soft` (a penalty, or True; False or missing for a hard rule),
            `tolerance` and `label` are optional, may be missing, and are added to what the line
            says.

        Returns
        -------
        EditRules
            The rules.

        Raises
        ------
        RuleSyntaxError, ValueError
            As :meth:`from_text`; in messages the line is the row, counted from 1. Also if
            columns are unknown or named twice, or something is said in a column and in the rule.
        """
        from mlkit.editing._files import read_frame

        return _assemble(list(read_frame(frame)), "the data frame of rules")

    # -- writing

    def to_text(self) -> str:
        """Write the rules as text that :meth:`from_text` reads as the same rules.

        Returns
        -------
        str
            Declarations, then rules, one per line. Comments are not kept.
        """
        declared = [str(variable) for variable in self.variables if str(variable)]
        return "".join(f"{line}\n" for line in (*declared, *self.rules))

    def to_yaml(self) -> str:
        """Write the rules as YAML that :meth:`from_yaml` reads as the same rules.

        Returns
        -------
        str
            The YAML.
        """
        from mlkit.editing._files import write_yaml

        return write_yaml(self)

    def to_frame(self) -> pd.DataFrame:
        """Write the rules as a table that :meth:`from_frame` reads as the same rules.

        Returns
        -------
        DataFrame
            One row per rule: `name`, `rule`, `soft` (the penalty; NaN for a hard rule),
            `tolerance` (NaN where it follows from units), `label`. Declarations of variables
            come first, with no name.
        """
        rows: list[tuple[str | None, str, float, float, str]] = [
            (None, str(variable), math.nan, math.nan, "")
            for variable in self.variables
            if str(variable)
        ]
        rows += [
            (
                rule.name,
                rule.text,
                math.nan if rule.hard else rule.penalty,
                math.nan if rule.tolerance is None else rule.tolerance,
                rule.label,
            )
            for rule in self.rules
        ]
        return pd.DataFrame(rows, columns=["name", "rule", "soft", "tolerance", "label"])

    # -- choosing

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rules."""
        return tuple(rule.name for rule in self.rules)

    @property
    def hard(self) -> EditRules:
        """The hard rules."""
        return self._keep(rule for rule in self.rules if rule.hard)

    @property
    def soft(self) -> EditRules:
        """The soft rules."""
        return self._keep(rule for rule in self.rules if not rule.hard)

    @property
    def linear(self) -> EditRules:
        """The rules that are linear; see :attr:`EditRule.linear`."""
        return self._keep(rule for rule in self.rules if rule.linear)

    @property
    def conditional(self) -> EditRules:
        """All other rules: categorical and conditional ones."""
        return self._keep(rule for rule in self.rules if not rule.linear)

    def involving(self, *columns: str) -> EditRules:
        """Give the rules that name at least one of some columns.

        Parameters
        ----------
        *columns : str
            The columns.

        Returns
        -------
        EditRules
            These rules, in order; none if no rule names any of the columns.
        """
        return self._keep(r for r in self.rules if not set(r.variables).isdisjoint(columns))

    def without(self, *names: str) -> EditRules:
        """Leave out rules.

        Parameters
        ----------
        *names : str
            Their names.

        Returns
        -------
        EditRules
            The other rules.

        Raises
        ------
        KeyError
            If there is no rule of a name.
        """
        left_out = {self[name].name for name in names}
        return self._keep(rule for rule in self.rules if rule.name not in left_out)

    def variable(self, name: str) -> Variable:
        """Look up a variable.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        Variable
            Its kind, unit, categories and bounds.

        Raises
        ------
        KeyError
            If no rule names it.
        """
        for variable in self.variables:
            if variable.name == name:
                return variable
        known = [variable.name for variable in self.variables]
        raise KeyError(f"No rule names {name!r}.{did_you_mean(str(name), known)}")

    def _keep(self, chosen: Iterable[EditRule]) -> EditRules:
        rules = tuple(chosen)
        named = {name for rule in rules for name in rule.variables}
        for variable in reversed(self.variables):  # a condition may name variables of its own
            if variable.name in named:
                named |= _variables_of(variable.condition)
        return EditRules(rules, tuple(v for v in self.variables if v.name in named))

    def __len__(self) -> int:
        return len(self.rules)

    def __iter__(self) -> Iterator[EditRule]:
        return iter(self.rules)

    def __getitem__(self, name: str) -> EditRule:
        for rule in self.rules:
            if rule.name == name:
                return rule
        raise KeyError(f"No rule is named {name!r}.{did_you_mean(str(name), self.names)}")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    # -- computing

    def linear_system(self) -> LinearSystem:
        """Write the linear rules as matrices; see :attr:`linear` and :attr:`conditional`.

        Returns
        -------
        LinearSystem
            Coefficients, right-hand sides, operators and tolerances. The columns are all numbers
            that these rules name, linear or not. Take ``rules.hard.linear_system()`` for hard
            rules alone.

        Examples
        --------
        >>> system = EditRules.from_text("a: costs + profit == turnover").linear_system()
        >>> system.columns, system.A, system.b, system.operators
        (('costs', 'profit', 'turnover'), array([[ 1.,  1., -1.]]), array([0.]), ('==',))
        """
        columns = tuple(v.name for v in self.variables if v.numeric)
        place = {name: number for number, name in enumerate(columns)}
        rows = [(r.name, c[0]) for r in self.rules if r.linear for c in r.clauses]
        atoms = [atom for _, atom in rows if isinstance(atom, LinearAtom)]
        A = np.zeros((len(atoms), len(columns)))  # noqa: N806 - the field's name
        for row, atom in zip(A, atoms, strict=True):
            for name, coefficient in atom.coefficients:
                row[place[name]] = coefficient
        return LinearSystem(
            A=A,
            b=np.array([atom.constant for atom in atoms], dtype=np.float64),
            operators=tuple(atom.operator for atom in atoms),
            tolerances=np.array([atom.tolerance for atom in atoms], dtype=np.float64),
            columns=columns,
            rules=tuple(name for name, _ in rows),
        )

    def check(
        self,
        frame: pd.DataFrame,
        *,
        sample_weight: ArrayLike | None = None,
        design: AnyDesign | None = None,
    ) -> RuleCheck:
        """Say which rules each record breaks.

        Parameters
        ----------
        frame : DataFrame of shape (n, columns)
            One row per record, with a column for every variable of the rules; others are ignored.
            Missing values are allowed anywhere.
        sample_weight : array-like of shape (n,), optional
            Design weights, if nothing else is known about how the records were drawn.
        design : Design or ReplicateDesign, optional
            How the records were drawn, for weighted shares. Instead of `sample_weight`.

        Returns
        -------
        RuleCheck
            A matrix of records by rules, and a report.

        Raises
        ------
        ValueError
            If there are no records, columns are unknown or named twice, a number is infinite,
            or weights are missing, negative or of another length.
        TypeError
            If a column does not hold what its rules need: text in a column of numbers, numbers in
            a category, or anything but truth values in a boolean column.

        Notes
        -----
        A clause, that is a disjunction, is satisfied if one of its atoms is; else unknown if an
        atom has a missing value; else not applicable if an atom is about a value that does not
        apply; else broken. A rule is broken if a clause is; else unknown if one is; else
        satisfied if one is; else not applicable. So a linear rule with a missing value is
        unknown, never broken, and ``if married then age >= 17`` is satisfied without an age
        where nobody is married.

        A value that is given counts, even if its question does not apply. Write a rule against
        that, such as ``if not employed then wage == 0``.

        Whether integers are whole numbers is not looked at; kinds matter where values are
        computed.

        Examples
        --------
        >>> rules = EditRules.from_text('''balance: a + b == total
        ... adult: if married then age >= 17''')
        >>> people = pd.DataFrame({"a": [1, 2], "b": [3, None], "total": [5, 4],
        ...                        "married": [True, False], "age": [16, None]})
        >>> rules.check(people).matrix()
           balance      adult
        0   broken     broken
        1  unknown  satisfied
        """
        from mlkit.editing._check import check_rules

        return check_rules(self, frame, sample_weight=sample_weight, design=design)

    def check_consistency(self) -> Consistency:
        """Look for a record that satisfies all hard rules, or for rules that contradict.

        Returns
        -------
        Consistency
            Such a record, or a smallest set of rules that no record can satisfy together:
            without any one of them a record can.

        Raises
        ------
        RuntimeError
            If the search is given up, after 20,000 branches or a minute within one of them.

        Notes
        -----
        Rules are taken as written, without tolerances. The search branches over the atoms of
        clauses that a trial record breaks, and asks HiGHS (:func:`scipy.optimize.linprog`) at
        each branch, so that no large constant ("big M") decides. Strict comparisons hold with a
        slack that is maximised, and count as held if it exceeds 1e-7 of their coefficients.
        The conflict is found by deletion: leave out each rule in turn, for good if the others
        still contradict.

        Examples
        --------
        >>> rules = EditRules.from_text('''low: x >= 10
        ... high: y <= 5
        ... order: x <= y
        ... other: y >= 0''')
        >>> print(rules.check_consistency())
        No record can satisfy these 3 rules together; without any one of them a record can:
          low: x >= 10
          high: y <= 5
          order: x <= y
        """
        from mlkit.editing._consistency import check_consistency

        return check_consistency(self)

    def check_redundancy(self) -> Redundancy:
        """Look for rules that follow from hard rules, so that they can be left out.

        Returns
        -------
        Redundancy
            The redundant rules, each with a smallest set of hard rules that imply it. They can be
            left out all at once: of two equal rules only the later one is listed.

        Raises
        ------
        ValueError
            If the hard rules contradict each other, from which everything follows.

        Notes
        -----
        A rule follows from others if no record satisfies them and breaks it; the search is that
        of :meth:`check_consistency`. A conditional rule whose condition can never hold is
        redundant in this sense, which often points to a misspelt category. Where values are
        missing, a redundant rule can still be broken while those that imply it are unknown: so
        keep it for checking, and leave it out where that only costs time.

        Examples
        --------
        >>> rules = EditRules.from_text('''x <= y
        ... y <= z
        ... x <= z''')
        >>> rules.check_redundancy().to_frame()
             rule    text      implied_by
        0  rule_3  x <= z  rule_1, rule_2
        """
        from mlkit.editing._consistency import check_redundancy

        return check_redundancy(self)

    def implied_bounds(self) -> pd.DataFrame:
        """Find the bounds that the hard linear rules together set for each number.

        Returns
        -------
        DataFrame
            One row per number: `low` and `high`, infinite where there is no bound. Conditional
            rules are left out, so that true bounds may be narrower, never wider. Rules are taken
            as written, without tolerances.

        Raises
        ------
        ValueError
            If the hard linear rules contradict each other.

        Examples
        --------
        >>> EditRules.from_text('''0 <= x <= 9
        ... x + y == 10''').implied_bounds()
           low  high
        x  0.0   9.0
        y  1.0  10.0
        """
        from mlkit.editing._consistency import implied_bounds

        return implied_bounds(self)

    def __repr__(self) -> str:
        soft = sum(not rule.hard for rule in self.rules)
        counts = [f"{len(self) - soft:,} hard"] + ([f"{soft:,} soft"] if soft else [])
        return f"EditRules({' and '.join(counts)} rules, {len(self.variables):,} variables)"

    def _repr_html_(self) -> str:
        frame = self.to_frame().dropna(subset="name")
        frame["soft"] = ["" if math.isnan(p) else f"{p:g}" for p in frame["soft"]]
        frame["tolerance"] = [_tolerances(rule) for rule in self.rules]
        return f"<p><strong>{repr(self)[10:-1]}</strong></p>{frame.to_html(index=False, border=0)}"


def _tolerances(rule: EditRule) -> str:
    found = {a.tolerance for c in rule.clauses for a in c if isinstance(a, LinearAtom)}
    return ", ".join(f"{tolerance:g}" for tolerance in sorted(found - {0.0}))


# --- from lines to rules ---------------------------------------------------------------------


def _assemble(lines: list[Line], source: str) -> EditRules:
    """Make rules of lines: give names, find out the kinds of variables, set tolerances."""
    written = [line for line in lines if isinstance(line, RuleLine)]
    if not written:
        raise ValueError(f"{source}: no rule found. Write one rule per line, such as x >= 0.")
    names = _name_rules(written)
    declared = _collect_declarations([line for line in lines if isinstance(line, VariableLine)])
    kinds = _find_kinds(written, declared)
    _refuse_unused(declared, kinds)
    variables = tuple(_variable(name, kind, declared) for name, kind in kinds.items())
    _refuse_circles(variables, declared)
    units = {variable.name: variable.unit for variable in variables}
    rules = tuple(
        EditRule(
            name=name,
            text=line.parsed.text,
            clauses=_with_tolerances(line.parsed.clauses, units, line.tolerance),
            penalty=line.penalty,
            label=line.label,
            tolerance=line.tolerance,
        )
        for name, line in zip(names, written, strict=True)
    )
    conditions = tuple(clause for variable in variables for clause in variable.condition)
    return EditRules(rules, tuple(_with_limits(v, rules, conditions) for v in variables))


def _name_rules(lines: list[RuleLine]) -> list[str]:
    """Take the given names; number the other rules by their place."""
    first: dict[str, RuleLine] = {}
    for line in lines:
        if line.name is None:
            continue
        if line.name in first:
            other = first[line.name].place
            line.fail(
                f"two rules are named {write_name(line.name)}, here and in {other.unit} "
                f"{other.line}. Give each rule a name of its own.",
                line.name_column,
            )
        first[line.name] = line
    names = []
    for number, line in enumerate(lines, start=1):
        name = line.name or f"rule_{number}"
        while line.name is None and name in first:
            name += "_"
        names.append(name)
    return names


def _collect_declarations(lines: list[VariableLine]) -> dict[str, tuple[Properties, VariableLine]]:
    declared: dict[str, tuple[Properties, VariableLine]] = {}
    for line in lines:
        for name, column in line.names:
            if name in declared:
                other = declared[name][1].place
                line.fail(
                    f"{write_name(name)} is declared twice, here and in {other.unit} "
                    f"{other.line}. Write all of it in one line.",
                    column,
                )
            declared[name] = (line.properties, line)
    return declared


def _find_kinds(
    rules: list[RuleLine], declared: dict[str, tuple[Properties, VariableLine]]
) -> dict[str, Kind]:
    """Find out what each variable is from how rules and conditions use it."""
    first: dict[str, tuple[Use, Line]] = {}

    def see(use: Use, line: Line) -> None:
        before, other = first.setdefault(use.name, (use, line))
        if before.kind != use.kind:
            line.fail(
                f"{write_name(use.name)} is used here as {_USED_AS[use.kind]}, and in "
                f"{other.place.unit} {other.place.line} as {_USED_AS[before.kind]}. (Compare text "
                "with values in quotes; the comparison of two text columns is not possible.)",
                use.column,
            )

    for line in rules:
        for use in line.parsed.uses:
            see(use, line)
    for properties, declaration in declared.values():
        if properties.applies_if is not None:
            for use in properties.applies_if.uses:
                see(use, declaration)
    for name, (properties, declaration) in declared.items():
        numeric = properties.integer or properties.unit or properties.zero_if_blank
        if numeric and name in first and first[name][0].kind != "number":
            declaration.fail(
                f"{write_name(name)} is used as {_USED_AS[first[name][0].kind]} in rules; "
                "integer, unit and zero if blank are for numbers.",
                dict(declaration.names)[name],
            )
    integers = {name for name, (properties, _) in declared.items() if properties.integer}
    return {n: "integer" if n in integers else use.kind for n, (use, _) in first.items()}


def _refuse_unused(
    declared: dict[str, tuple[Properties, VariableLine]], kinds: dict[str, Kind]
) -> None:
    for name, (_, line) in declared.items():
        if name not in kinds:
            line.fail(
                f"no rule names {write_name(name)}.{did_you_mean(name, kinds)}",
                dict(line.names)[name],
            )


def _variable(
    name: str, kind: Kind, declared: dict[str, tuple[Properties, VariableLine]]
) -> Variable:
    if name not in declared:
        return Variable(name, kind)
    properties, _ = declared[name]
    condition = properties.applies_if or Parsed("", (), ())
    return Variable(
        name,
        kind,
        unit=properties.unit,
        zero_if_blank=properties.zero_if_blank,
        applies_if=condition.text or None,
        condition=condition.clauses,
    )


def _refuse_circles(
    variables: tuple[Variable, ...], declared: dict[str, tuple[Properties, VariableLine]]
) -> None:
    """Refuse a variable that applies only if itself does: no order could settle it."""
    needs = {variable.name: _variables_of(variable.condition) for variable in variables}
    for name in needs:
        reached: set[str] = set()
        ahead = set(needs[name])
        while ahead:
            reached |= ahead
            ahead = {n for one in ahead for n in needs[one]} - reached
        if name in reached:
            line = declared[name][1]
            line.fail(
                f"whether {write_name(name)} applies depends on {write_name(name)} itself.",
                dict(line.names)[name],
            )


def _variables_of(clauses: tuple[Clause, ...]) -> set[str]:
    return {name for clause in clauses for atom in clause for name in atom.variables}


def _with_tolerances(
    clauses: tuple[Clause, ...], units: dict[str, float], given: float | None
) -> tuple[Clause, ...]:
    def widen(atom: Atom) -> Atom:
        if not isinstance(atom, LinearAtom) or atom.operator == "<":
            return atom
        by_units = sum(abs(c) * units[name] for name, c in atom.coefficients) / 2
        return replace(atom, tolerance=by_units if given is None else given)

    return tuple(tuple(widen(atom) for atom in clause) for clause in clauses)


def _with_limits(
    variable: Variable, rules: tuple[EditRule, ...], conditions: tuple[Clause, ...]
) -> Variable:
    """Add the categories that are named anywhere, and bounds that hard rules set."""
    clauses = [clause for rule in rules for clause in rule.clauses]
    named = {
        str(value)
        for clause in (*clauses, *conditions)
        for atom in clause
        if isinstance(atom, MemberAtom) and atom.variable == variable.name
        for value in atom.members
        if variable.kind == "category"
    }
    closed, low, high = False, -math.inf, math.inf
    for atom in _alone(variable, rules):
        if isinstance(atom, LinearAtom):
            low, high = _narrow(atom, low, high)
        else:
            closed |= variable.kind == "category" and atom.inside
    return replace(variable, categories=tuple(sorted(named)), closed=closed, low=low, high=high)


def _alone(variable: Variable, rules: tuple[EditRule, ...]) -> Iterator[Atom]:
    """Give the atoms that every valid record satisfies and that name this variable alone."""
    for rule in rules:
        for clause in rule.clauses:
            if rule.hard and len(clause) == 1 and clause[0].variables == (variable.name,):
                yield clause[0]


def _narrow(atom: LinearAtom, low: float, high: float) -> tuple[float, float]:
    coefficient = atom.coefficients[0][1]
    bound = atom.constant / coefficient + 0.0
    if atom.operator == "==" or coefficient > 0:
        high = min(high, bound)
    if atom.operator == "==" or coefficient < 0:
        low = max(low, bound)
    return low, high
