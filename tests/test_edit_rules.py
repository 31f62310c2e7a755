"""Edit rules: notation, files, forms, contradictions, and every error in its place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlkit.editing import EditRules, LinearAtom, MemberAtom, RuleSyntaxError, _consistency

# The rules of the generator in section 2.6 of the facts on editing and imputation.
BUSINESS = """
variable turnover, otherrev, totalrev, staffcosts, othercosts, totalcosts, profit, vat: unit 1
variable staff: integer

revenue: turnover + otherrev == totalrev
costs: staffcosts + othercosts == totalcosts
result: totalrev - totalcosts == profit
turnover >= 0
otherrev >= 0
totalrev >= 0
staffcosts >= 0
othercosts >= 0
totalcosts >= 0
vat >= 0
staff >= 0
turnover <= 550 * staff
staffcosts <= 40 * staff
-0.9 * totalrev <= profit <= 0.9 * totalrev
vat <= 0.3 * turnover      # plain rules have numbers for names
"""


def normal_forms(text: str) -> list[str]:
    return [rule.normal_form for rule in EditRules.from_text(text)]


def one(text: str) -> Any:
    """Give the only atom of the only rule."""
    (rule,) = EditRules.from_text(text)
    ((atom,),) = rule.clauses
    return atom


# --- notation --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "atom"),
    [
        ("x >= 0", LinearAtom((("x", -1.0),), "<=", 0.0)),
        ("x > 0", LinearAtom((("x", -1.0),), "<", 0.0)),
        ("0 < x", LinearAtom((("x", -1.0),), "<", 0.0)),
        ("b + a == c", LinearAtom((("a", 1.0), ("b", 1.0), ("c", -1.0)), "==", 0.0)),
        ("c == b + a", LinearAtom((("a", 1.0), ("b", 1.0), ("c", -1.0)), "==", 0.0)),
        ("p <= 0.5 * (t - 2) / 2 + 1", LinearAtom((("p", 1.0), ("t", -0.25)), "<=", 0.5)),
        ("-(x - 3) * 2 <= -+4", LinearAtom((("x", -2.0),), "<=", -10.0)),
        ("x + y - x <= 1", LinearAtom((("y", 1.0),), "<=", 1.0)),
        ("x * 3 >= 1e3", LinearAtom((("x", -3.0),), "<=", -1000.0)),
        ("x <= .5", LinearAtom((("x", 1.0),), "<=", 0.5)),
        ("x in {3}", LinearAtom((("x", 1.0),), "==", 3.0)),
        ("a.b_1 <= 1", LinearAtom((("a.b_1", 1.0),), "<=", 1.0)),
        ("`other costs` <= 1", LinearAtom((("other costs", 1.0),), "<=", 1.0)),
        ("`a``b` <= 1", LinearAtom((("a`b", 1.0),), "<=", 1.0)),
        ("`if` <= 1", LinearAtom((("if", 1.0),), "<=", 1.0)),
        ("größe <= 1", LinearAtom((("größe", 1.0),), "<=", 1.0)),
        ("売上 <= 1", LinearAtom((("売上", 1.0),), "<=", 1.0)),
        ('s == "a"', MemberAtom("s", ("a",))),
        ('"a" != s', MemberAtom("s", ("a",), inside=False)),
        ("s in {'b', \"a\", 'b'}", MemberAtom("s", ("a", "b"))),
        ('s not in {"a", "b"}', MemberAtom("s", ("a", "b"), inside=False)),
        ('not s in {"a"}', MemberAtom("s", ("a",), inside=False)),
        (r's == "say \"no\" \\ # yes"', MemberAtom("s", ('say "no" \\ # yes',))),
        ("paid", MemberAtom("paid", (True,))),
        ("not paid", MemberAtom("paid", (False,))),
        ("paid == false", MemberAtom("paid", (False,))),
        ("TRUE != paid", MemberAtom("paid", (False,))),
        ("not not (paid)", MemberAtom("paid", (True,))),
    ],
)
def test_an_atom(text: str, atom: Any) -> None:
    assert one(text) == atom


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("if married then age >= 17", "not married or age >= 17"),
        ("IF married THEN age >= 17", "not married or age >= 17"),
        ("if not (a or b) then c", "a or b or c"),
        ("if x > 0 then y > 0", "x <= 0 or y > 0"),
        ("if x == 0 then y", "x < 0 or x > 0 or y"),
        ("x != 3", "x < 3 or x > 3"),
        ("0 <= x <= 9", "x >= 0 and x <= 9"),
        ("a == b == c", "a - b == 0 and b - c == 0"),
        ("a or b and c", "(a or b) and (a or c)"),
        ("x in {1, -2.5}", "x == -2.5 or x == 1"),
        ("x not in {1, 2}", "(x < 1 or x > 1) and (x < 2 or x > 2)"),
        ("if a then (if b then c)", "not a or not b or c"),
        ('if s == "x" or s == "y" then n >= 1', '(s != "x" or n >= 1) and (s != "y" or n >= 1)'),
        ("a or a", "a"),
    ],
)
def test_a_clause_form(text: str, form: str) -> None:
    assert normal_forms(text) == [form]
    assert normal_forms(form) == [form]


def test_names_options_and_comments() -> None:
    rules = EditRules.from_text(
        '\ufeff# a heading\n\n  balance: a + b == c  [soft 2.5, tolerance 3, label "adds # up"]# so'
        "\n"
        "`rule two`: a >= 0 [soft]\nb >= 0\nrule_5: c >= 0\nd >= 0\r\n"
    )
    assert rules.names == ("balance", "rule two", "rule_3", "rule_5", "rule_5_")
    balance = rules["balance"]
    assert (balance.penalty, balance.label, balance.text) == (2.5, "adds # up", "a + b == c")
    assert not balance.hard
    assert balance.clauses[0][0].tolerance == 3
    assert rules["rule two"].penalty == 1
    assert rules["rule_3"].hard
    assert rules.hard.names == ("rule_3", "rule_5", "rule_5_")
    assert rules.soft.names == ("balance", "rule two")
    assert "rule two" in rules
    assert "rule" not in rules


def test_a_column_may_be_called_variable() -> None:
    assert normal_forms("variable >= 0\nvariable: variable >= 1") == [
        "variable >= 0",
        "variable >= 1",
    ]


# --- errors in their place -------------------------------------------------------------------

FAULTS = [
    ("profit <= * 0.6", 11, "expected a number, a column name"),
    ("x = 3", 3, 'for equality write "=="'),
    ("x <> 3", 4, "found"),
    ("x ≤ 3", 3, 'write "<="'),
    ("x == 'abc", 6, "quote is never closed"),
    ('x == "', 6, "quote is never closed"),
    ("s == “a”", 6, "straight quotes"),
    ("`a >= 1", 1, "backtick is never closed"),
    ("`` >= 1", 1, "name is empty"),
    ("(x >= 1", 8, '"(" in column 1 is not closed'),
    ("x >= 1)", 7, '")" closes nothing'),
    ('s in {"a"', 10, 'expected "}"'),
    ('s in "a"', 6, 'expected "{"'),
    ("s in {}", 7, "expected a number"),
    ("x in {1, 'a'}", 6, "mixes kinds"),
    ("x in {y}", 7, "a set holds texts"),
    ("b in {true}", 6, "write its name"),
    ("x * y <= 3", 3, "product of two variables is not linear"),
    ("2 * x * (1 - x) <= 3", 7, "product of two variables is not linear"),
    ("x / y <= 3", 3, "division by a variable is not linear"),
    ("x / 0 <= 3", 3, "division by zero"),
    ("x ^ 2 <= 3", 3, "powers are not linear"),
    ("x <= 60%", 8, "write 60 % as 0.6"),
    ("2x <= 3", 2, "write a product"),
    ("2 (x + y) <= 3", 3, "write a product"),
    ("x >= 1,000", 7, "without commas"),
    ("x <= 1e999", 6, "too large"),
    ("if married age >= 17", 12, 'expected "then"'),
    ("if (married) age >= 17", 14, 'expected "then"'),
    ("x >= 1 then y", 8, '"then" without "if"'),
    ("if a then b else c", 13, 'there is no "else"'),
    ("x + 1", 1, "found a number alone"),
    ("'a'", 1, "alone"),
    ("true", 1, "alone"),
    ("3 <= 4", 1, "at least one column"),
    ("x < x + 1", 1, "cancel out"),
    ("other costs >= 0", 7, "`other costs`"),
    ("s >= 'a'", 3, "has no order"),
    ("x + 1 == 'a'", 1, "allowed is a column"),
    ("'a' == 'b'", 1, "allowed is a column"),
    ("(a and b) + 1 <= 3", 2, "expected a number or a column of numbers"),
    ("(a <= b) == (c <= d)", 2, "expected a number or a column of numbers"),
    ("f(x) >= 1", 1, "no functions"),
    ("__import__('os') >= 0", 1, "no functions"),
    ("__import__('os').system('ls')", 17, '"." is not part of the notation'),
    ("x >= 1 [weak]", 9, 'expected "soft"'),
    ("x >= 1 [soft 0]", 14, "too small"),
    ("x >= 1 [soft", 13, 'expected "]"'),
    ("x >= 1 [tolerance -1]", 19, "expected a tolerance"),
    ("x >= 1 [label big]", 15, "expected a text in quotes"),
    ("x >= 1 y >= 2", 8, "write a product"),
    ("x >= y z", 8, "two names"),
    ("x >= 1; y >= 2", 7, "one rule per line"),
    ("a & b", 3, 'write "and"'),
    ("!a", 1, 'write "not"'),
    ("«x» >= 1", 1, "in backticks"),
    ("balance:", 9, "expected a number"),
    ("(" * 60 + "x", 52, "within each other"),
    ("not " * 60 + "x", 205, "within each other"),
    ("-" * 60 + "x <= 1", 52, "within each other"),
    ("x >= 1 and", 11, "expected a number"),
    ("x >= 1\n y: x >= 1\ny: x >= 2", 1, "two rules are named y, here and in line 2"),
    ("x >= 1\nx == 'a'", 1, "used here as text, and in line 1 as a number"),
    ("x >= 1\nif x then y >= 1", 4, "used here as a truth value, and in line 1 as a number"),
    ("x >= 1\nvariable y: integer", 10, "no rule names y"),
    ("variable turnovr: unit 1\nturnover >= 1", 10, "Did you mean turnover?"),
    ("variable s: unit 1\ns == 'a'", 10, "are for numbers"),
    ("variable x: unit 1\nvariable y, x: integer\nx + y >= 1", 13, "declared twice"),
    ("variable x: text\nx >= 1", 13, 'expected "integer"'),
    ("variable x: unit\nx >= 1", 17, "expected a unit"),
    ("variable x: zero when blank\nx >= 1", 18, 'expected "if"'),
    ("variable x integer\nx >= 1", 12, 'expected ":"'),
    ("variable x: zero if blank, applies if y\nx >= 1", 1, "give one of"),
    ("variable x: applies if x > 3\nx >= 1", 10, "depends on x itself"),
    (
        "variable x: applies if y > 3\nvariable y: applies if x > 3\nx + y >= 1",
        10,
        "depends on x itself",
    ),
]


@pytest.mark.parametrize(("text", "column", "reason"), FAULTS)
def test_a_fault_is_shown_in_its_place(text: str, column: int, reason: str) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        EditRules.from_text(text, source="my.rules")
    error, message = caught.value, str(caught.value)
    assert reason in message
    assert (error.column, error.source) == (column, "my.rules")
    assert error.text == text.splitlines()[error.line - 1]
    first, shown, caret = message.splitlines()
    assert first.startswith(f"my.rules, line {error.line}, column {column}: ")
    assert shown == "    " + error.text
    assert caret == " " * (4 + column - 1) + "^"


def test_the_caret_stands_under_the_fault_behind_tabs() -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        EditRules.from_text("x >= 1\n\tx >= *")
    assert caught.value.line == 2
    assert str(caught.value).splitlines()[1:] == ["    \tx >= *", "    \t     ^"]


def test_a_rule_that_would_explode_is_refused() -> None:
    parts = " or ".join(f"(a{i} and b{i})" for i in range(9))
    with pytest.raises(RuleSyntaxError, match="more than 256 clauses"):
        EditRules.from_text(parts)


@pytest.mark.parametrize("text", ["", "\n \n", "# only a comment"])
def test_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no rule found"):
        EditRules.from_text(text)


def test_something_else_than_text_is_refused() -> None:
    with pytest.raises(TypeError, match="list"):
        EditRules.from_text(["x >= 0"])  # type: ignore[arg-type]


# --- variables -------------------------------------------------------------------------------


def test_kinds_categories_and_bounds_of_variables() -> None:
    rules = EditRules.from_text(
        'variable age: integer\nvariable wage: applies if job in {"paid", "own"}\n'
        "0 <= age <= 120\nage * 2 < 220\nwage >= 1 [soft]\n"
        'job in {"none", "paid", "own"}\nif region == "N" then not abroad\nx == 5'
    )
    assert [v.name for v in rules.variables] == ["age", "wage", "job", "region", "abroad", "x"]
    kinds = [v.kind for v in rules.variables]
    assert kinds == ["integer", "number", "category", "category", "boolean", "number"]
    age, wage = rules.variable("age"), rules.variable("wage")
    assert (age.low, age.high) == (0, 110)
    assert (wage.low, wage.high) == (-math.inf, math.inf)  # a soft rule sets no bound
    assert (rules.variable("x").low, rules.variable("x").high) == (5, 5)
    assert rules.variable("job").categories == ("none", "own", "paid")
    assert rules.variable("job").closed
    assert rules.variable("region").categories == ("N",)
    assert not rules.variable("region").closed
    with pytest.raises(KeyError, match="Did you mean region"):
        rules.variable("regin")


def test_choosing_rules_keeps_what_conditions_need() -> None:
    rules = EditRules.from_text(
        "variable wage: applies if paid\na: wage >= 1\nb: hours >= 0\nif paid then hours > 0"
    )
    chosen = rules.involving("wage", "no such column")
    assert chosen.names == ("a",)
    assert [v.name for v in chosen.variables] == ["wage", "paid"]
    assert rules.involving("hours").names == ("b", "rule_3")
    assert rules.without("a", "rule_3").names == ("b",)
    assert rules.linear.names == ("a", "b")
    assert rules.conditional.names == ("rule_3",)
    assert len(rules.involving("paid").without("rule_3")) == 0
    with pytest.raises(KeyError, match="Did you mean rule_3"):
        rules.without("rule_33")


def test_tolerance_is_half_a_unit_times_the_coefficients() -> None:
    """methods.md 19: half a unit times the sum of the absolute coefficients."""
    rules = EditRules.from_text(
        "variable a, b: unit 10\nvariable c: unit 1\n"
        "a + b == c\na <= 0.6 * b\na < b\na >= 0 [tolerance 0]\nd >= 0\nif a >= 1 then b >= 2"
    )
    tolerances = [[atom.tolerance for c in rule.clauses for atom in c] for rule in rules]
    assert tolerances[:5] == [[10.5], [8.0], [0.0], [0.0], [0.0]]
    assert tolerances[5] == [0.0, 5.0]  # the condition, turned round, is strict


def test_linear_system_of_the_business_survey() -> None:
    system = EditRules.from_text(BUSINESS).linear_system()
    assert system.A.shape == (16, 9)  # 15 rules, one of which has two sides
    assert system.operators == ("==",) * 3 + ("<=",) * 13
    assert system.rules[-3:] == ("rule_14", "rule_14", "rule_15")
    row = dict(zip(system.columns, system.A[system.rules.index("rule_12")], strict=True))
    assert {name: value for name, value in row.items() if value} == {"turnover": 1, "staff": -550}
    assert system.tolerances[0] == 1.5
    frame = system.to_frame()
    assert frame.shape == (16, 12)
    assert frame.loc["rule_15", "vat"] == 1


def test_linear_system_leaves_conditional_rules_out() -> None:
    system = EditRules.from_text("if x > 0 then y > 0\nz <= 3 [soft]").linear_system()
    assert system.rules == ("rule_2",)
    assert system.columns == ("x", "y", "z")
    empty = EditRules.from_text("a or b").linear_system()
    assert empty.A.shape == (0, 0)


# --- round trips and files -------------------------------------------------------------------

MANY = (
    'variable `other costs`: integer, unit 5\nvariable x: applies if s == "a: b" or not paid\n'
    'variable y: zero if blank\nbalance: x + y == `other costs` [tolerance 2, label "a: \\"b\\""]\n'
    '`two words`: if s == "a: b" then x >= 0 [soft 3]\npaid\ns in {"a: b", "#"}\n'
)


def assert_same(one: EditRules, other: EditRules) -> None:
    assert one.rules == other.rules
    assert {v.name: v for v in one.variables} == {v.name: v for v in other.variables}


@pytest.mark.parametrize("text", [MANY, BUSINESS])
def test_what_is_written_reads_as_the_same_rules(text: str, tmp_path: Path) -> None:
    rules = EditRules.from_text(text)
    assert_same(EditRules.from_text(rules.to_text()), rules)
    assert_same(EditRules.from_yaml(rules.to_yaml()), rules)
    assert_same(EditRules.from_frame(rules.to_frame()), rules)
    rules.to_frame().to_csv(tmp_path / "rules.csv", index=False)
    assert_same(EditRules.from_frame(pd.read_csv(tmp_path / "rules.csv")), rules)
    for name, written in (("r.txt", rules.to_text()), ("r.yaml", rules.to_yaml())):
        (tmp_path / name).write_text(written, encoding="utf-8")
        assert_same(EditRules.from_file(tmp_path / name), rules)


def test_yaml_forms() -> None:
    rules = EditRules.from_yaml(
        "variables:\n  a: {}\nrules: []\n".replace("{}", "unit 1").replace(
            "[]",
            "\n- balance: a + b == c\n- a >= 0\n- {name: r, rule: b >= 0, soft: true}\n"
            "- {rule: c >= 0, soft: false, tolerance: 1e1, label: 7}\n- rule: >-\n"
            "    a <=\n    c\n- 'q: b <= c'",
        )
    )
    assert rules.names == ("balance", "rule_2", "r", "rule_4", "rule_5", "q")
    assert [rule.penalty for rule in rules][2:4] == [1, math.inf]
    assert rules["rule_4"].tolerance == 10
    assert rules["rule_4"].label == "7"
    assert rules["rule_5"].normal_form == "a - c <= 0"


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("rules:\n- x >= 0\n- name: a\n  rule: y >= * 2", 4, 14, "expected a number"),
        ("rules:\n- x >= 0\n- a: y >= * 2", 3, 11, "expected a number"),
        ('rules:\n- "y >= * 2"', 2, 9, "expected a number"),
        ("rules:\n- >-\n  y >=\n  * 2", 2, 6, "expected a number"),
        ("variables:\n  x: unit\nrules: [x >= 0]", 2, 10, "expected a unit"),
        ("variables:\n  y: unit 1\nrules: [x >= 0]", 2, 6, "no rule names y"),
        ("rules:\n- `a b` >= 0", 2, 3, "not YAML"),
        ("rules:\n  - x >= 0\n - y >= 0", 3, 2, "not YAML"),
        ("rules: x >= 0", 1, 8, "expected a list"),
        ("- x >= 0", 1, 1, "expected a mapping"),
        ("rule:\n- x >= 0", 1, 1, "Did you mean rules?"),
        ("rules:\n- {expr: x >= 0, name: a}", 2, 4, '"expr" is unknown'),
        ("rules:\n- {name: a}", 2, 3, '"rule" is missing'),
        ("rules:\n- {name: a, label: b}", 2, 3, '"rule" is missing'),
        ("rules:\n- {rule: x >= 0, rule: y >= 0}", 2, 18, "comes twice"),
        ("rules: [x >= 0]\nrules: [y >= 0]", 2, 1, "comes twice"),
        ("rules:\n- {rule: x >= 0, soft: often}", 2, 10, "soft is 'often'"),
        ("rules:\n- {rule: x >= 0, tolerance: -1}", 2, 10, "tolerance is -1"),
        ("rules:\n- {rule: 'x >= 0 [soft]', soft: 2}", 2, 11, "said twice"),
        ("rules:\n- {rule: 'a: x >= 0', name: b}", 2, 11, "named twice"),
        ("rules:\n- [x >= 0]", 2, 3, "expected the text"),
        ("rules:\n- a: x >= 0\n- a: y >= 0", 3, 6, "two rules are named a, here and in line 2"),
    ],
)
def test_a_fault_in_yaml_is_shown_in_its_place(
    text: str, line: int, column: int, reason: str
) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        EditRules.from_yaml(text, source="r.yaml")
    assert reason in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_yaml_runs_nothing() -> None:
    for tagged in ("!!python/object/apply:os.getcwd []", "!!python/name:os.getcwd x"):
        with pytest.raises(RuleSyntaxError, match=r"soft is|expected the text"):
            EditRules.from_yaml(f"rules: [{{rule: x >= 0, soft: {tagged}}}]")
    with pytest.raises(ValueError, match="not YAML"):
        EditRules.from_yaml("rules: [x >= 0\x00]")
    for nothing in ("", "rules: []", "variables: {}"):
        with pytest.raises(ValueError, match="no rule found"):
            EditRules.from_yaml(nothing)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes("größe >= 0".encode("latin-1"))
    with pytest.raises(ValueError, match=r"r\.txt is not in UTF-8 \(byte 3\)"):
        EditRules.from_file(tmp_path / "r.txt")
    with pytest.raises(FileNotFoundError):
        EditRules.from_file(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"rule": ["x >= 0", "y >= *"]}, "row 2, column 6: expected a number"),
        ({"rule": ["x >= 0", None]}, "row 2, column 1: the rule is"),
        ({"rule": ["x >= 0"], "weight": [1]}, "allowed are name, rule, soft"),
        ({"name": ["a"]}, "allowed are name, rule, soft"),
        ({"rule": ["x >= 0"] * 2, "name": ["a", "a"]}, "two rules are named a"),
        ({"rule": ["x >= 0"], "name": [3]}, "give it as text"),
        ({"rule": ["x >= 0"], "soft": [-1.0]}, "soft is -1.0"),
        ({"rule": ["x >= 0"], "soft": [0.0]}, "allowed are penalties above 0"),
        ({"rule": ["x >= 0"], "tolerance": [np.inf]}, "tolerance is inf"),
        ({"rule": ["variable x: unit 1", "x >= 0"], "name": ["a", "b"]}, "takes no name"),
        ({"rule": []}, "no rule found"),
    ],
)
def test_a_fault_in_a_frame(columns: dict[str, list[Any]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        EditRules.from_frame(pd.DataFrame(columns))


def test_a_frame_with_a_column_twice_and_no_frame_are_refused() -> None:
    frame = pd.DataFrame([["x >= 0", "y >= 0"]], columns=["rule", "rule"])
    with pytest.raises(ValueError, match="twice"):
        EditRules.from_frame(frame)
    with pytest.raises(TypeError, match="give a data frame"):
        EditRules.from_frame("x >= 0")  # type: ignore[arg-type]


def test_html_shows_text_as_text() -> None:
    rules = EditRules.from_text('s != "<b>" [soft]\nvariable x: unit 2\nx >= 0')
    page = rules._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


# --- consistency -----------------------------------------------------------------------------

CONTRADICTIONS = [
    ("a: x > 1\nb: x < 1\nc: y >= 0", ["a", "b"]),
    ("a: x >= 10\nb: y <= 5\nc: x <= y", ["a", "b", "c"]),
    ("a: x > x2\nb: x2 > x3\nc: x3 > x\nd: x >= 0", ["a", "b", "c"]),
    ("a: x == 1\nb: x == 2", ["a", "b"]),
    ("variable x: unit 10\na: x == 1\nb: x == 2", ["a", "b"]),  # as written, without tolerance
    ("variable x: integer\na: x > 1\nb: x < 2", ["a", "b"]),
    # methods.md 19: over the integers 2x = y and y = 3 contradict, over the reals they do not.
    ("variable x, y: integer\na: 2 * x == y\nb: y == 3", ["a", "b"]),
    ("variable x, y: integer\na: 2 * x - 2 * y == 1", ["a"]),
    ('a: s in {"p"}\nb: s in {"q"}', ["a", "b"]),
    ("a: m\nb: if m then age >= 17\nc: age < 17\nd: age >= 0", ["a", "b", "c"]),
    (
        'a: s in {"p", "q"}\nb: if s == "p" then x >= 1\nc: if s == "q" then x >= 2\nd: x <= 0',
        ["a", "b", "c", "d"],
    ),
    ("a: m and not m", ["a"]),
    ("a: x > 3 and x < 3\nb: x >= 0", ["a"]),
    ("a: 1e9 * x >= 1e9\nb: x <= 0.9", ["a", "b"]),
    ("a: x >= 1e9\nb: x <= 1e9 - 1", ["a", "b"]),
    ("a: if m then n\nb: if n then o\nc: if o then not m\nd: m", ["a", "b", "c", "d"]),
]


@pytest.mark.parametrize(("text", "conflict"), CONTRADICTIONS)
def test_a_contradiction_is_explained_by_a_smallest_conflict(
    text: str, conflict: list[str]
) -> None:
    rules = EditRules.from_text(text)
    found = rules.check_consistency()
    assert not found.consistent
    assert found.record is None
    assert [rule.name for rule in found.conflict] == conflict
    assert all(rule.text in str(found) for rule in found.conflict)
    assert ("this rule" in str(found)) == (len(conflict) == 1)
    for name in conflict:  # smallest: without any one of them, the others can be met
        others = [other for other in rules.names if other not in conflict or other == name]
        if len(others) < len(rules):
            assert rules.without(*others).check_consistency().consistent
    assert list(found.to_frame()["rule"]) == conflict
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize(
    "text",
    [
        BUSINESS,
        "x > 1\nx < 1.001",
        "2 * x == y\ny == 3",
        'status not in {"a"}',
        'status in {"a", "b"}\nif status == "a" then x >= 1\nx <= 0',
        "x != 3\n2 <= x <= 4",
        "a or b\nnot a or not b\nif a then x > 5\nx <= 5",
        "x >= 1e9\nx <= 1e9",
        "m [soft]\nnot m",
    ],
)
def test_a_record_that_satisfies_all_hard_rules_is_shown(text: str) -> None:
    rules = EditRules.from_text(text)
    found = rules.check_consistency()
    assert found.consistent
    assert found.conflict == ()
    assert found.record is not None
    checked = rules.check(pd.DataFrame([found.record]))
    assert not checked.failing.any()
    assert "satisfy" in str(found)
    assert "For example" in found._repr_html_()
    assert found.to_frame().empty


def test_a_search_that_is_given_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_consistency, "MOST_BRANCHES", 2)
    rules = EditRules.from_text("a or b\nnot a or b\na or not b\nnot a or not b")
    with pytest.raises(_consistency.TooManyBranches, match="not found within 2 branches"):
        rules.check_consistency()


@pytest.mark.parametrize(
    ("text", "implied"),
    [
        ("a: x <= y\nb: y <= z\nc: x <= z", {"c": "a, b"}),
        ("a: x >= 1\nb: x >= 1", {"b": "a"}),
        ("a: x >= 2\nb: x >= 1\nc: x > 1", {"b": "a", "c": "a"}),
        ("a: x >= 1\nb: x > 1", {"a": "b"}),
        ("a: x == 1\nb: 0 <= x <= 2", {"b": "a"}),
        ("a: x >= 0\nb: x <= 5 [soft]\nc: x >= -1 [soft]", {"c": "a"}),
        ("a: x <= 5 [soft]\nb: x <= 6", {}),
        ('a: s in {"p", "q"}\nb: if s == "r" then x >= 1', {"b": "a"}),  # a misspelt category
        ("a: if m then n\nb: if n then o\nc: if m then o\nd: x >= 0", {"c": "a, b"}),
        ("a: m or not m\nb: x >= 0", {"a": ""}),
        ("variable x: integer\na: x > 1\nb: x >= 2", {"b": "a"}),
        ("a: x > 1\nb: x >= 2", {"a": "b"}),
        ("x >= 0\ny >= 0", {}),
    ],
)
def test_redundant_rules_with_their_reasons(text: str, implied: dict[str, str]) -> None:
    rules = EditRules.from_text(text)
    found = rules.check_redundancy()
    frame = found.to_frame()
    assert dict(zip(frame["rule"], frame["implied_by"], strict=True)) == implied
    assert found.names == tuple(implied)
    assert rules.without(*found.names).check_redundancy().names == ()
    assert ("table" in found._repr_html_()) == bool(implied)
    assert ("No rule" in str(found)) == (not implied)


def test_redundancy_of_contradicting_rules_is_refused() -> None:
    with pytest.raises(ValueError, match="everything follows from them"):
        EditRules.from_text("x > 1\nx < 1").check_redundancy()


def test_implied_bounds() -> None:
    rules = EditRules.from_text(
        "variable n: integer\na + b == t\nt <= 10\na >= 0\nb >= 0\nc > a [soft]\n"
        "2 * n <= 7\nif m then a <= 3\nd < 4"
    )
    bounds = rules.implied_bounds()
    assert bounds.loc["a"].tolist() == [0, 10]
    assert bounds.loc["t"].tolist() == [0, 10]
    assert bounds.loc["c"].tolist() == [-math.inf, math.inf]
    assert bounds.loc["n"].tolist() == [-math.inf, 3]
    assert bounds.loc["d"].tolist() == [-math.inf, 4]
    with pytest.raises(ValueError, match="contradict"):
        EditRules.from_text("x > 1\nx < 1").implied_bounds()
