"""Random rules: against a naive evaluator, round trips, and brute force over a small world."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.editing import EditRules, RuleSyntaxError, Status

NUMBERS, TEXTS, TRUTHS = ("x", "y", "other costs"), ("s", "r"), ("m", "k")
CATEGORIES = ("a", "b", "c")

# A rule is drawn as its text together with a function that judges one record in plain Python:
# True, False, or None for unknown, by the logic of Kleene.
Judge = Callable[[dict[str, Any]], bool | None]
Drawn = tuple[str, Judge]

ORDER: dict[str, Callable[[Fraction], bool]] = {
    "<=": lambda d: d <= 0,
    "<": lambda d: d < 0,
    ">=": lambda d: d >= 0,
    ">": lambda d: d > 0,
    "==": lambda d: d == 0,
    "!=": lambda d: d != 0,
}
# Quarters add up exactly in binary, so that the naive evaluator needs no tolerance.
quarters = st.integers(-12, 12).map(lambda n: Fraction(n, 4))


def named(name: str) -> str:
    return f"`{name}`" if " " in name else name


@st.composite
def linear(draw: st.DrawFn, numbers: Any = quarters) -> Drawn:
    names = draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3, unique=True))
    terms = {name: draw(numbers.filter(bool)) for name in names}
    constant, sign = draw(numbers), draw(st.sampled_from(list(ORDER)))
    left = " + ".join(f"{float(c)} * {named(n)}" for n, c in terms.items()).replace("+ -", "- ")

    def judge(record: dict[str, Any]) -> bool | None:
        if any(record[name] is None for name in terms):
            return None
        return ORDER[sign](sum(c * record[n] for n, c in terms.items()) - constant)

    if draw(st.booleans()):
        return f"{left} {sign} {float(constant)}", judge
    return f"({left}) - {float(constant)} {sign} 0".replace("- -", "+ "), judge


@st.composite
def category(draw: st.DrawFn) -> Drawn:
    name = draw(st.sampled_from(TEXTS))
    values = draw(st.lists(st.sampled_from(CATEGORIES), min_size=1, max_size=2, unique=True))
    inside = draw(st.booleans())
    listed = ", ".join(f'"{value}"' for value in values)
    if len(values) == 1:
        text = f"{name} {'==' if inside else '!='} {listed}"
    else:
        text = f"{name} {'in' if inside else 'not in'} {{{listed}}}"
    return text, lambda r: None if r[name] is None else (r[name] in values) == inside


boolean: st.SearchStrategy[Drawn] = st.sampled_from(TRUTHS).map(lambda n: (n, lambda r: r[n]))


def _not(a: bool | None) -> bool | None:
    return None if a is None else not a


def _or(a: bool | None, b: bool | None) -> bool | None:
    return True if a or b else None if None in (a, b) else False


def _joined(parts: tuple[str, Drawn, Drawn]) -> Drawn:
    joint, (left, f), (right, g) = parts
    if joint == "or":
        return f"({left} or {right})", lambda r: _or(f(r), g(r))
    if joint == "and":
        return f"({left} and {right})", lambda r: _not(_or(_not(f(r)), _not(g(r))))
    return f"(if {left} then {right})", lambda r: _or(_not(f(r)), g(r))


def formulas(atoms: st.SearchStrategy[Drawn]) -> st.SearchStrategy[Drawn]:
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            inner.map(lambda f: (f"not ({f[0]})", lambda r: _not(f[1](r)))),
            st.tuples(st.sampled_from(["and", "or", "if"]), inner, inner).map(_joined),
        ),
        max_leaves=5,
    )


atoms = st.one_of(linear(), category(), boolean)
rules_drawn = st.lists(formulas(atoms), min_size=1, max_size=4)


def maybe(values: Any) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, st.none())


records_drawn = st.lists(
    st.fixed_dictionaries(
        {name: maybe(quarters) for name in NUMBERS}
        | {name: maybe(st.sampled_from((*CATEGORIES, "d"))) for name in TEXTS}
        | {name: maybe(st.booleans()) for name in TRUTHS}
    ),
    min_size=1,
    max_size=6,
)


def as_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(records, dtype=object)
    for name in NUMBERS:
        frame[name] = [None if v is None else float(v) for v in frame[name]]
    return frame


WORDS = {True: Status.SATISFIED, False: Status.BROKEN, None: Status.UNKNOWN}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(rules_drawn, records_drawn)
def test_as_a_naive_evaluator(drawn: list[Drawn], records: list[dict[str, Any]]) -> None:
    rules = EditRules.from_text("\n".join(text for text, _ in drawn))
    found = rules.check(as_frame(records)).status.tolist()
    assert found == [[WORDS[judge(record)] for _, judge in drawn] for record in records]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rules_drawn, records_drawn)
def test_round_trips_and_the_normal_form(drawn: list[Drawn], records: Any) -> None:
    rules = EditRules.from_text("\n".join(text for text, _ in drawn))
    assert EditRules.from_text(rules.to_text()).rules == rules.rules
    assert EditRules.from_yaml(rules.to_yaml()).rules == rules.rules
    assert EditRules.from_frame(rules.to_frame()).rules == rules.rules
    normal = EditRules.from_text("\n".join(rule.normal_form for rule in rules))
    assert [set(map(frozenset, r.clauses)) for r in normal] == [
        set(map(frozenset, r.clauses)) for r in rules
    ]
    frame = as_frame(records)
    assert normal.check(frame).status.tolist() == rules.check(frame).status.tolist()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet='xy12. +-*/<>=!()[]{}",:`#ifthenor\t', max_size=30))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    fault: ValueError | None = None
    try:
        rules = EditRules.from_text(text)
    except ValueError as error:
        fault = error
    if fault is None:
        assert EditRules.from_text(rules.to_text()).rules == rules.rules
    elif isinstance(fault, RuleSyntaxError):
        assert fault.text in text
        assert 1 <= fault.column <= len(fault.text) + 1
    else:
        assert "no rule found" in str(fault)


# --- consistency against brute force ---------------------------------------------------------
# Integers between -2 and 2, categories and truths: 5 * 5 * 4 * 2 records can be tried out.

SMALL = "variable x, y: integer\n-2 <= x <= 2\n-2 <= y <= 2\n"
whole = st.integers(-2, 2).map(Fraction)


@st.composite
def small_linear(draw: st.DrawFn) -> Drawn:
    a, b = draw(st.integers(-2, 2)), draw(st.integers(1, 2))
    constant, sign = draw(st.integers(-4, 4)), draw(st.sampled_from(list(ORDER)))
    return (
        f"{a} * x + {b} * y {sign} {constant}",
        lambda r: ORDER[sign](Fraction(a * r["x"] + b * r["y"] - constant)),
    )


small_atoms = st.one_of(
    small_linear(),
    category().filter(lambda drawn: drawn[0].startswith("s")),
    st.just(("m", lambda r: r["m"])),
)
small_rules = st.lists(formulas(small_atoms), min_size=1, max_size=7)
WORLD = [
    {"x": x, "y": y, "s": s, "m": m}
    for x, y, s, m in itertools.product(
        range(-2, 3), range(-2, 3), (*CATEGORIES, "d"), (True, False)
    )
]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(small_rules)
def test_consistency_as_trying_every_record(drawn: list[Drawn]) -> None:
    rules = EditRules.from_text(SMALL + "\n".join(f"c{i}: {t}" for i, (t, _) in enumerate(drawn)))
    judges = {f"c{i}": judge for i, (_, judge) in enumerate(drawn)}

    def possible(names: Any) -> bool:
        return any(all(judges[n](r) for n in names) for r in WORLD)

    found = rules.check_consistency()
    assert found.consistent == possible(judges)
    if found.record is not None:
        assert not rules.check(pd.DataFrame([found.record])).failing.any()
        return
    conflict = [rule.name for rule in found.conflict]
    own = [name for name in conflict if name in judges]
    assert not possible(own)
    for name in own:  # smallest, the bounds being among the rules
        assert (
            rules.without(*(set(rules.names) - set(conflict)), name).check_consistency().consistent
        )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(small_rules)
def test_redundancy_as_trying_every_record(drawn: list[Drawn]) -> None:
    rules = EditRules.from_text(SMALL + "\n".join(f"c{i}: {t}" for i, (t, _) in enumerate(drawn)))
    judges = {f"c{i}": judge for i, (_, judge) in enumerate(drawn)}
    if not any(all(judge(r) for judge in judges.values()) for r in WORLD):
        with pytest.raises(ValueError, match="everything follows"):
            rules.check_redundancy()
        return
    found = rules.check_redundancy()
    kept = [name for name in judges if name not in found.names]
    if {"rule_1", "rule_2"} & set(found.names):
        return  # without its bounds, the world is not finite
    for name in kept:  # needed: some record breaks this one alone
        others = [other for other in kept if other != name]
        assert any(not judges[name](r) and all(judges[o](r) for o in others) for r in WORLD), (
            f"{name} follows from {others}"
        )
    for rule, by in found.implied:
        if rule.name in judges:
            reasons = [one.name for one in by if one.name in judges]
            assert all(judges[rule.name](r) for r in WORLD if all(judges[o](r) for o in reasons))
