"""The notation of edit rules: from text to clauses, with the place of every error.

A tokenizer and a recursive descent parser of our own: the language has a dozen forms, so that a
parser library would save few lines, and its messages could not say "write ==". Nothing is ever
given to ``eval``. The grammar, from the loosest binding to the tightest::

    line        = "variable" names ":" property {"," property}
                | [name ":"] rule ["[" option {"," option} "]"]
    property    = "integer" | "unit" number | "zero" "if" "blank" | "applies" "if" either
    option      = "soft" [number] | "tolerance" number | "label" text
    rule        = "if" either "then" either | either
    either      = both {"or" both}
    both        = negation {"and" negation}
    negation    = "not" negation | comparison
    comparison  = sum {("==" | "!=" | "<=" | "<" | ">=" | ">") sum} | sum ["not"] "in" set
    set         = "{" value {"," value} "}"
    sum         = product {("+" | "-") product}
    product     = signed {("*" | "/") signed}
    signed      = ("-" | "+") signed | number | text | "true" | "false" | name | "(" rule ")"

A rule is kept in *clause form*: a conjunction of clauses, each of which is a disjunction of
atoms, and an atom is a linear comparison or says that a variable has one of some values.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeAlias

Operator: TypeAlias = Literal["<=", "<", "=="]
Kind: TypeAlias = Literal["number", "integer", "category", "boolean"]

KEYWORDS = ("and", "false", "if", "in", "not", "or", "then", "true")
MOST_CLAUSES = 256  # a rule in words has a few; "or" between many "and" doubles them each time
DEEPEST = 50  # parentheses within parentheses, far from the limit of Python's stack

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>\#.*)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[^\W\d][\w.]*)
      | (?P<quoted>`(?:[^`]|``)*`)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<sign><=|>=|==|!=|[-+*/<>(){}\[\],:])""",
    re.VERBOSE,
)
_BARE_NAME = re.compile(r"[^\W\d][\w.]*")
_STRANGE = {
    "=": 'for equality write "=="',
    "<>": 'write "!="',
    "≤": 'write "<="',
    "≥": 'write ">="',
    "≠": 'write "!="',
    "×": 'write "*"',
    "−": 'write the plain sign "-"',
    "&": 'write "and"',
    "|": 'write "or"',
    "!": 'write "not"',
    "^": "powers are not linear",
    "%": "write 60 % as 0.6",
    "“": 'write straight quotes, "',
    "”": 'write straight quotes, "',
    "‘": 'write straight quotes, "',
    "’": 'write straight quotes, "',
    '"': "this quote is never closed",
    "'": "this quote is never closed",
    "`": "this backtick is never closed",
    ";": "write one rule per line",
}


class RuleSyntaxError(ValueError):
    """A rule that cannot be read, with its place.

    The message shows the line and points at the place with a caret.

    Attributes
    ----------
    reason : str
        What is wrong and what to do.
    source : str
        The file or object that was read.
    line, column : int
        The place, both counted from 1. For a data frame, the line is the row.
    text : str
        The line.
    """

    def __init__(self, reason: str, place: Place, column: int) -> None:
        self.reason, self.source, self.line = reason, place.source, place.line
        self.column, self.text = column + place.offset, place.shown
        # Tabs stay tabs, so that the caret stands where the reader sees the fault.
        before = "".join("\t" if sign == "\t" else " " for sign in self.text[: self.column - 1])
        super().__init__(
            f"{self.source}, {place.unit} {self.line}, column {self.column}: {reason}\n"
            f"    {self.text}\n    {before}^"
        )


@dataclass(frozen=True)
class Place:
    """Where a line was read: for messages."""

    source: str
    line: int
    shown: str  # what to show, of which the text that is parsed may be a part
    offset: int = 0  # columns before that part
    unit: str = "line"


# --- clause form -----------------------------------------------------------------------------


@dataclass(frozen=True)
class LinearAtom:
    """A linear comparison: the sum of coefficient times variable, compared with a constant.

    Attributes
    ----------
    coefficients : tuple of (str, float)
        Variables with their coefficients, none of which is 0, in the order of their names.
    operator : {"<=", "<", "=="}
        How the sum compares with the constant; "<" is strict. Comparisons with ">=" and ">"
        are stored with both sides negated.
    constant : float
        The right-hand side.
    tolerance : float
        By how much the sum may miss, in the units of the data. A strict comparison has 0.
    """

    coefficients: tuple[tuple[str, float], ...]
    operator: Operator
    constant: float
    tolerance: float = 0.0

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables it is about."""
        return tuple(name for name, _ in self.coefficients)

    def __str__(self) -> str:
        sign: str = self.operator
        terms, constant = self.coefficients, self.constant
        if all(coefficient < 0 for _, coefficient in terms):
            terms, constant = tuple((n, -c) for n, c in terms), -constant
            sign = {"<=": ">=", "<": ">", "==": "=="}[sign]
        written = ""
        for name, coefficient in terms:
            size = "" if abs(coefficient) == 1 else f"{write_number(abs(coefficient))} * "
            joint = (" - " if coefficient < 0 else " + ") if written else "-" * (coefficient < 0)
            written += f"{joint}{size}{write_name(name)}"
        return f"{written} {sign} {write_number(constant)}"


@dataclass(frozen=True)
class MemberAtom:
    """A variable has one of some values, or none of them.

    Attributes
    ----------
    variable : str
        The variable, a category or boolean.
    members : tuple of str or tuple of bool
        The values, in order.
    inside : bool
        Whether it must have one of them (True) or any other value (False). For a boolean
        always True, with one value.
    """

    variable: str
    members: tuple[str | bool, ...]
    inside: bool = True

    @property
    def variables(self) -> tuple[str, ...]:
        """The variable it is about, as a tuple of one."""
        return (self.variable,)

    def __str__(self) -> str:
        name = write_name(self.variable)
        if isinstance(self.members[0], bool):
            return name if self.members[0] else f"not {name}"
        listed = ", ".join(write_text(str(value)) for value in self.members)
        if len(self.members) == 1:
            return f"{name} {'==' if self.inside else '!='} {listed}"
        return f"{name} {'in' if self.inside else 'not in'} {{{listed}}}"


Atom: TypeAlias = LinearAtom | MemberAtom
Clause: TypeAlias = tuple[Atom, ...]


def negate(atom: Atom) -> Clause:
    """Give the disjunction of atoms that is true exactly where the atom is false."""
    if isinstance(atom, MemberAtom):
        if isinstance(atom.members[0], bool):
            return (MemberAtom(atom.variable, (not atom.members[0],)),)
        return (MemberAtom(atom.variable, atom.members, not atom.inside),)
    opposite = tuple((name, -coefficient) for name, coefficient in atom.coefficients)
    if atom.operator == "==":
        return (
            LinearAtom(atom.coefficients, "<", atom.constant),
            LinearAtom(opposite, "<", -atom.constant),
        )
    return (LinearAtom(opposite, "<" if atom.operator == "<=" else "<=", -atom.constant),)


# --- what the parser hands on ----------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """A variable in a rule, and as what it is used."""

    name: str
    kind: Kind
    column: int


@dataclass
class Parsed:
    """A rule as read: its clauses, and how it uses its variables."""

    text: str
    clauses: tuple[Clause, ...]
    uses: tuple[Use, ...]


@dataclass
class Properties:
    """What a line declares of a variable."""

    integer: bool = False
    unit: float = 0.0
    zero_if_blank: bool = False
    applies_if: Parsed | None = None


@dataclass
class RuleLine:
    """A line with a rule, and its options."""

    place: Place
    name: str | None
    parsed: Parsed
    penalty: float = math.inf
    tolerance: float | None = None
    label: str = ""
    name_column: int = 1

    def fail(self, reason: str, column: int = 1) -> NoReturn:
        raise RuleSyntaxError(reason, self.place, column)


@dataclass
class VariableLine:
    """A line that declares variables."""

    place: Place
    names: tuple[tuple[str, int], ...]  # with columns
    properties: Properties

    def fail(self, reason: str, column: int = 1) -> NoReturn:
        raise RuleSyntaxError(reason, self.place, column)


Line: TypeAlias = RuleLine | VariableLine


def write_name(name: str) -> str:
    """Write a name of a variable or rule, in backticks where it needs them."""
    if _BARE_NAME.fullmatch(name) and name.lower() not in KEYWORDS:
        return name
    return "`" + name.replace("`", "``") + "`"


def write_text(text: str) -> str:
    """Write a text value in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_number(number: float) -> str:
    """Write a number so that reading it gives the same number."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the name that looks most alike, if any does."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {write_name(close[0])}?" if close else ""


# --- tokens ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Token:
    kind: str  # number, name, quoted, text, sign, keyword, end
    value: str
    start: int  # from 0
    end: int

    @property
    def column(self) -> int:
        return self.start + 1

    def __str__(self) -> str:
        return "the end of the line" if self.kind == "end" else f'"{self.value}"'

    def stands_for(self, *values: str) -> bool:
        return self.kind in ("sign", "keyword") and self.value in values


def _tokens(text: str, place: Place) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            _refuse_sign(text, at, place)
        kind, value = str(found.lastgroup), found.group()
        if kind == "comment":
            at = len(text)
            break
        if kind == "name" and value.lower() in KEYWORDS:
            kind, value = "keyword", value.lower()
        elif kind == "quoted":
            value = value[1:-1].replace("``", "`")
            if not value:
                raise RuleSyntaxError("a name is empty.", place, at + 1)
        elif kind == "text":
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        if kind != "space":
            yield _Token(kind, value, at, found.end())
        at = found.end()
    yield _Token("end", "", len(text.rstrip()), len(text))


def _refuse_sign(text: str, at: int, place: Place) -> NoReturn:
    sign = text[at : at + 2] if text[at : at + 2] in _STRANGE else text[at]
    hint = _STRANGE.get(sign, "a column name with such a sign goes in backticks, `like this`")
    raise RuleSyntaxError(f'"{sign}" is not part of the notation: {hint}.', place, at + 1)


# --- formulas --------------------------------------------------------------------------------
# While a line is read, a value is one of these; the parser turns names into numbers or truths
# where it sees how they are used.


@dataclass(frozen=True)
class _Name:
    name: str
    column: int


@dataclass(frozen=True)
class _Literal:
    value: str | bool
    column: int


@dataclass(frozen=True)
class _Sum:
    terms: dict[str, float]
    constant: float
    column: int


@dataclass(frozen=True)
class _Formula:
    """A truth: an atom, or "and", "or" and "not" of formulas."""

    joint: Literal["atom", "and", "or", "not"]
    parts: tuple[Any, ...]
    column: int


_Value: TypeAlias = "_Name | _Literal | _Sum | _Formula"


def _what(value: _Value) -> str:
    if isinstance(value, _Name):
        return f"the column {write_name(value.name)}"
    if isinstance(value, _Literal):
        return (
            "a truth value"
            if isinstance(value.value, bool)
            else f"the text {write_text(value.value)}"
        )
    return "a number" if isinstance(value, _Sum) else "a condition"


@dataclass
class _Parser:
    text: str
    place: Place
    tokens: list[_Token] = field(init=False)
    at: int = 0
    depth: int = 0
    uses: list[Use] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = list(_tokens(self.text, self.place))

    # -- moving on

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def peek(self, ahead: int) -> _Token:
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def sees(self, *values: str) -> bool:
        return self.next.stands_for(*values)

    def sees_word(self, *words: str) -> bool:
        return self.next.kind == "name" and self.next.value.lower() in words

    def take(self) -> _Token:
        token = self.next
        self.at += 1
        return token

    def expect(self, value: str, why: str) -> _Token:
        if not self.sees(value):
            self.fail(f'expected "{value}" {why}, found {self.next}.')
        return self.take()

    def expect_word(self, word: str) -> None:
        if not (self.sees_word(word) or self.sees(word)):
            self.fail(f'expected "{word}", found {self.next}.')
        self.take()

    def fail(self, reason: str, column: int | None = None) -> NoReturn:
        raise RuleSyntaxError(reason, self.place, column or self.next.column)

    # -- lines

    def line(self) -> Line:
        declares = self.sees_word("variable") and self.peek(1).kind in ("name", "quoted")
        return self.variable_line() if declares else self.rule_line()

    def variable_line(self) -> VariableLine:
        self.take()
        names = [self.name()]
        while self.sees(","):
            self.take()
            names.append(self.name())
        self.expect(":", "after the names of variables")
        return VariableLine(self.place, tuple(names), self.properties())

    def properties(self) -> Properties:
        found = Properties()
        while True:
            self.property(found)
            if not self.sees(","):
                break
            self.take()
        self.end()
        if found.zero_if_blank and found.applies_if is not None:
            self.fail(
                "a blank is either zero or a sign that the question does not apply: give one of "
                '"zero if blank" and "applies if".',
                1,
            )
        return found

    def property(self, found: Properties) -> None:
        if self.sees_word("integer"):
            self.take()
            found.integer = True
        elif self.sees_word("unit"):
            self.take()
            found.unit = self.number("a unit", least=0)
        elif self.sees_word("zero"):
            self.take()
            self.expect_word("if")
            self.expect_word("blank")
            found.zero_if_blank = True
        elif self.sees_word("applies"):
            self.take()
            self.expect_word("if")
            found.applies_if = self.parsed(self.either)
        else:
            self.fail(
                'expected "integer", "unit" and a number, "zero if blank", or "applies if" and a '
                f"condition, found {self.next}."
            )

    def name(self) -> tuple[str, int]:
        if self.next.kind not in ("name", "quoted"):
            self.fail(f"expected a column name, found {self.next}.")
        token = self.take()
        return token.value, token.column

    def rule_line(self) -> RuleLine:
        name, column = None, 1
        if self.next.kind in ("name", "quoted") and self.peek(1).stands_for(":"):
            name, column = self.name()
            self.take()
        line = RuleLine(self.place, name, self.parsed(self.rule), name_column=column)
        if self.sees("["):
            self.options(line)
        self.end()
        return line

    def options(self, line: RuleLine) -> None:
        self.take()
        while True:
            if self.sees_word("soft"):
                self.take()
                given = self.next.kind == "number"
                line.penalty = self.number("a penalty", above=0) if given else 1.0
            elif self.sees_word("tolerance"):
                self.take()
                line.tolerance = self.number("a tolerance", least=0)
            elif self.sees_word("label"):
                self.take()
                if self.next.kind != "text":
                    self.fail(f"expected a text in quotes after label, found {self.next}.")
                line.label = self.take().value
            else:
                self.fail(
                    'expected "soft", "soft" and a penalty, "tolerance" and a number, or "label" '
                    f"and a text, found {self.next}."
                )
            if not self.sees(","):
                break
            self.take()
        self.expect("]", "to close the options")

    def number(self, what: str, *, least: float = -math.inf, above: float = -math.inf) -> float:
        if self.next.kind != "number":
            self.fail(f"expected {what}, a number of 0 or more, found {self.next}.")
        token = self.take()
        value = self.finite(token)
        if value < least or value <= above:
            self.fail(f"{what} of {token.value} is too small.", token.column)
        return value

    def finite(self, token: _Token) -> float:
        value = float(token.value)
        if math.isinf(value):
            self.fail(f"{token.value} is too large for a number.", token.column)
        return value

    def end(self) -> None:
        token = self.next
        if token.kind == "end":
            return
        before = self.tokens[self.at - 1]
        if token.stands_for(")", "}", "]"):
            self.fail(f'"{token.value}" closes nothing.')
        if before.kind == "number" and token.stands_for(","):
            self.fail("write numbers without commas, and with a point for decimals.")
        if token.stands_for("then"):
            self.fail('"then" without "if".')
        if before.kind == "name" and token.kind == "name":
            self.fail(
                f"two names without a sign between them. A name with a blank goes in backticks: "
                f"`{before.value} {token.value}`."
            )
        self.fail(f"expected a sign, or the end of the rule, found {token}.")

    def parsed(self, form: Callable[[], _Value]) -> Parsed:
        """Read a rule or condition, and turn it into clauses."""
        start, first_use = self.next.start, len(self.uses)
        formula = self.truth(form())
        text = self.text[start : self.tokens[self.at - 1].end].strip()
        clauses = self.clauses(formula, True)
        return Parsed(text, tuple(dict.fromkeys(clauses)), tuple(self.uses[first_use:]))

    # -- truths

    def rule(self) -> _Value:
        if not self.sees("if"):
            return self.either()
        column = self.take().column
        condition = self.truth(self.either())
        if not self.sees("then"):
            self.fail(f'expected "then" after the condition, found {self.next}.')
        self.take()
        conclusion = self.truth(self.either())
        if self.sees_word("else"):
            self.fail('there is no "else": write a second rule, if not ... then ....')
        return _Formula("or", (_Formula("not", (condition,), column), conclusion), column)

    def either(self) -> _Value:
        return self.joined("or", self.both)

    def both(self) -> _Value:
        return self.joined("and", self.negation)

    def joined(self, joint: Literal["and", "or"], form: Callable[[], _Value]) -> _Value:
        first = form()
        if not self.sees(joint):
            return first
        parts = [self.truth(first)]
        while self.sees(joint):
            self.take()
            parts.append(self.truth(form()))
        return _Formula(joint, tuple(parts), parts[0].column)

    def negation(self) -> _Value:
        if not self.sees("not"):
            return self.comparison()
        column = self.take().column
        with self.deeper():
            return _Formula("not", (self.truth(self.negation()),), column)

    def truth(self, value: _Value) -> _Formula:
        """Take a value as a condition; a name then is a boolean column."""
        if isinstance(value, _Formula):
            return value
        if not isinstance(value, _Name):
            self.fail(
                f"expected a condition such as x >= 0, found {_what(value)} alone.", value.column
            )
        return self.member(value, (True,), "boolean", inside=True)

    def comparison(self) -> _Value:
        first = self.sum()
        if self.sees("in") or (self.sees("not") and self.peek(1).stands_for("in")):
            return self.membership(first)
        if not self.sees("==", "!=", "<=", "<", ">=", ">"):
            return first
        parts = []
        while self.sees("==", "!=", "<=", "<", ">=", ">"):
            sign = self.take()
            second = self.sum()
            parts.append(self.compare(first, sign, second))
            first = second
        return parts[0] if len(parts) == 1 else _Formula("and", tuple(parts), parts[0].column)

    def compare(self, left: _Value, sign: _Token, right: _Value) -> _Formula:
        for one, other in ((left, right), (right, left)):
            if isinstance(other, _Literal):
                return self.compare_with_literal(one, sign, other)
        a, b = self.as_sum(left), self.as_sum(right)
        swap = -1.0 if sign.value in (">=", ">") else 1.0
        terms = {n: swap * c for n, c in self.add(a, b, -1.0).terms.items() if c}
        if not terms:
            named = bool(a.terms or b.terms)
            self.fail(
                "the variables cancel out of this comparison."
                if named
                else "this compares numbers only; a rule names at least one column.",
                a.column,
            )
        constant = swap * (b.constant - a.constant) + 0.0  # never -0.0
        coefficients = tuple(sorted(terms.items()))
        if not all(math.isfinite(v) for v in (constant, *terms.values())):
            self.fail("the numbers of this comparison are too large.", a.column)
        operator: dict[str, Operator] = {"<=": "<=", ">=": "<=", "<": "<", ">": "<"}
        if sign.value in operator:
            atom = LinearAtom(coefficients, operator[sign.value], constant)
            return _Formula("atom", (atom,), a.column)
        if coefficients[0][1] < 0:  # one way to write an equality
            coefficients = tuple((name, -c) for name, c in coefficients)
            constant = -constant + 0.0
        equal = _Formula("atom", (LinearAtom(coefficients, "==", constant),), a.column)
        return equal if sign.value == "==" else _Formula("not", (equal,), a.column)

    def compare_with_literal(self, value: _Value, sign: _Token, literal: _Literal) -> _Formula:
        if sign.value not in ("==", "!="):
            self.fail(
                f'{_what(literal)} has no order: compare it with "==", "!=" or "in".', sign.column
            )
        if not isinstance(value, _Name):
            self.fail(
                f"{_what(literal)} is compared with {_what(value)}; allowed is a column.",
                value.column,
            )
        inside = sign.value == "=="
        if isinstance(literal.value, bool):
            return self.member(value, (literal.value == inside,), "boolean", inside=True)
        return self.member(value, (literal.value,), "category", inside=inside)

    def membership(self, value: _Value) -> _Formula:
        inside = not self.sees("not")
        if not inside:
            self.take()
        self.take()
        if not isinstance(value, _Name):
            self.fail(f'before "in" stands {_what(value)}; allowed is a column.', value.column)
        opening = self.expect("{", "to open the set of values")
        values = [self.element()]
        while self.sees(","):
            self.take()
            values.append(self.element())
        self.expect("}", "to close the set of values")
        if all(isinstance(v.value, bool) for v in values):
            self.fail("for a boolean column write its name, or not and its name.", opening.column)
        if all(isinstance(v.value, str) for v in values):
            texts = tuple(sorted({str(v.value) for v in values}))
            return self.member(value, texts, "category", inside=inside)
        if not all(isinstance(v.value, float) for v in values):
            self.fail("the set mixes kinds of values: give texts or numbers only.", opening.column)
        self.uses.append(Use(value.name, "number", value.column))
        equal = tuple(
            _Formula("atom", (LinearAtom(((value.name, 1.0),), "==", number),), value.column)
            for number in sorted({float(v.value) for v in values})
        )
        found = equal[0] if len(equal) == 1 else _Formula("or", equal, value.column)
        return found if inside else _Formula("not", (found,), value.column)

    def element(self) -> Any:
        """Read a value of a set: a literal, or one of a number."""
        start = self.next.column
        value = self.signed()
        if isinstance(value, _Sum) and not value.terms:
            return _Literal(value.constant, start)  # type: ignore[arg-type]
        if not isinstance(value, _Literal):
            self.fail(f"a set holds texts in quotes or numbers, found {_what(value)}.", start)
        return value

    def member(
        self, name: _Name, values: tuple[str | bool, ...], kind: Kind, *, inside: bool
    ) -> _Formula:
        self.uses.append(Use(name.name, kind, name.column))
        return _Formula("atom", (MemberAtom(name.name, values, inside),), name.column)

    # -- sums

    def sum(self) -> _Value:
        first = self.product()
        while self.sees("+", "-"):
            sign = -1.0 if self.take().value == "-" else 1.0
            first = self.add(self.as_sum(first), self.as_sum(self.product()), sign)
        return first

    def product(self) -> _Value:
        first = self.signed()
        before, after = self.tokens[self.at - 1], self.next
        if before.kind == "number" and (after.kind in ("name", "quoted") or self.sees("(")):
            self.fail(f'write a product with "*": {before.value} * {after.value}.')
        while self.sees("*", "/"):
            sign = self.take()
            a, b = self.as_sum(first), self.as_sum(self.signed())
            if sign.value == "/":
                first = self.divide(a, b, sign)
            elif a.terms and b.terms:
                self.fail(
                    "a product of two variables is not linear. Rules on products cannot be "
                    "localised; compute the product in a column of its own.",
                    sign.column,
                )
            else:
                first = self.scale(*((a, b.constant) if a.terms else (b, a.constant)), a.column)
        return first

    def divide(self, a: _Sum, b: _Sum, sign: _Token) -> _Sum:
        if b.terms:
            self.fail(
                "division by a variable is not linear. If the divisor is never negative, "
                "multiply: x / y <= 3 becomes x <= 3 * y.",
                sign.column,
            )
        if b.constant == 0:
            self.fail("division by zero.", sign.column)
        return _Sum(
            {n: c / b.constant for n, c in a.terms.items()}, a.constant / b.constant, a.column
        )

    def scale(self, a: _Sum, factor: float, column: int) -> _Sum:
        return _Sum({n: c * factor for n, c in a.terms.items()}, a.constant * factor, column)

    def add(self, a: _Sum, b: _Sum, sign: float) -> _Sum:
        terms = dict(a.terms)
        for name, coefficient in b.terms.items():
            terms[name] = terms.get(name, 0.0) + sign * coefficient
        return _Sum(terms, a.constant + sign * b.constant, a.column)

    def signed(self) -> _Value:
        if not self.sees("-", "+"):
            return self.primary()
        token = self.take()
        with self.deeper():
            value = self.as_sum(self.signed())
        return self.scale(value, -1.0 if token.value == "-" else 1.0, token.column)

    def primary(self) -> _Value:
        token = self.next
        if token.kind == "number":
            return _Sum({}, self.finite(self.take()), token.column)
        if token.kind == "text":
            return _Literal(self.take().value, token.column)
        if self.sees("true", "false"):
            return _Literal(self.take().value == "true", token.column)
        if self.sees("("):
            self.take()
            with self.deeper():
                value = self.rule()
            if not self.sees(")"):
                self.fail(
                    f'the "(" in column {token.column + self.place.offset} is not closed: expected '
                    f'")", found {self.next}.'
                )
            self.take()
            return value
        if token.kind not in ("name", "quoted"):
            self.fail(f"expected a number, a column name or a text, found {token}.")
        if token.kind == "name" and self.peek(1).stands_for("("):
            self.fail(f'there are no functions such as "{token.value}(".')
        self.take()
        return _Name(token.value, token.column)

    def as_sum(self, value: _Value) -> _Sum:
        if isinstance(value, _Sum):
            return value
        if not isinstance(value, _Name):
            self.fail(
                f"expected a number or a column of numbers, found {_what(value)}.", value.column
            )
        self.uses.append(Use(value.name, "number", value.column))
        return _Sum({value.name: 1.0}, 0.0, value.column)

    # -- clauses

    def clauses(self, formula: _Formula, positive: bool) -> list[Clause]:
        """Turn a formula, or its negation, into a conjunction of disjunctions of atoms."""
        if formula.joint == "atom":
            atom = formula.parts[0]
            return [(atom,)] if positive else [negate(atom)]
        if formula.joint == "not":
            return self.clauses(formula.parts[0], not positive)
        parts = [self.clauses(part, positive) for part in formula.parts]
        if (formula.joint == "and") == positive:
            return list(itertools.chain.from_iterable(parts))
        if math.prod(map(len, parts)) > MOST_CLAUSES:
            self.fail(
                f'"or" between parts with "and" makes more than {MOST_CLAUSES} clauses of this '
                "rule. Write it as several rules.",
                formula.column,
            )
        return [
            tuple(dict.fromkeys(itertools.chain.from_iterable(chosen)))
            for chosen in itertools.product(*parts)
        ]

    def deeper(self) -> _Deeper:
        return _Deeper(self)


@dataclass
class _Deeper:
    parser: _Parser

    def __enter__(self) -> None:
        self.parser.depth += 1
        if self.parser.depth > DEEPEST:
            self.parser.fail(f"more than {DEEPEST} parentheses or signs within each other.")

    def __exit__(self, *_: object) -> None:
        self.parser.depth -= 1


def read_line(text: str, place: Place) -> Line:
    """Read one line, which is neither empty nor a comment only."""
    return _Parser(text, place).line()


def read_properties(text: str, place: Place) -> Properties:
    """Read what a line declares of a variable, after its name."""
    return _Parser(text, place).properties()


def is_blank(text: str) -> bool:
    """Say whether a line holds nothing to read."""
    return not text.strip() or text.lstrip().startswith("#")
