"""Random rules: the localiser against trying every record of a small world, and every set."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.editing import Cell, EditRules, Status, _covers, _projection, _search
from mlkit.editing._localise import Localisation, localise_errors

# --- a world that can be tried out: integers, a category, truths, a field that may not apply ---

DECLARED = """
variable x, y, w: integer
variable w: applies if {condition}
"""
BOUNDS = "-2 <= x <= 2\n-2 <= y <= 2\n-1 <= w <= 1\n"
CONDITIONS = ("m", "x >= 1", 'm and s != "a"', 'y == 0 or s in {"a", "b"}')
WHOLE = range(-2, 3)
HALF = 0.5  # may be observed, and may stay, but is never given to an integer
FIELDS: dict[str, list[Any]] = {
    "x": [*WHOLE, HALF],
    "y": [*WHOLE, HALF],
    "w": [-1, 0, 1, None],
    "s": ["a", "b", "c", "d"],
    "m": [True, False],
}
NAMES = list(FIELDS)
WORLD = pd.DataFrame(itertools.product(*FIELDS.values()), columns=NAMES)
WORLD["w"] = WORLD["w"].astype(float)


@st.composite
def linear(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from(("x", "y", "w")), min_size=1, max_size=3, unique=True))
    terms = [f"{draw(st.sampled_from((1, 1, 2, -1, -1, -2, 3)))} * {name}" for name in names]
    sign = draw(st.sampled_from(("<=", ">=", "==", "==", "<", ">", "!=")))
    return f"{' + '.join(terms)} {sign} {draw(st.integers(-3, 3))}".replace("+ -", "- ")


category = st.sampled_from(
    ('s == "a"', 's != "b"', 's in {"a", "c"}', 's not in {"a", "b"}', 's in {"a", "b", "c"}')
)
atoms = st.one_of(linear(), linear(), category, st.sampled_from(("m", "not m")))


@st.composite
def rule(draw: st.DrawFn) -> str:
    one, two, three = draw(atoms), draw(atoms), draw(atoms)
    form = draw(st.integers(0, 6))
    text = (
        draw(linear()),
        draw(linear()),
        one,
        f"if {one} then {two}",
        f"if {one} and {two} then {three}",
        f"{one} or {two} or {three}",
        f"if {one} then {two} and {three}",
    )[form]
    options = draw(
        st.sampled_from(("", "", "", "", " [soft 0.7]", " [soft 2.5]", " [tolerance 1]"))
    )
    return text + options


@st.composite
def world_rules(draw: st.DrawFn) -> str:
    condition = draw(st.sampled_from((None, *CONDITIONS)))
    declared = DECLARED.format(condition=condition).splitlines()[1:3]
    if condition is None:
        declared = [declared[0]]
    else:
        declared = ["variable x, y: integer", declared[1].replace("w:", "w: integer,")]
    rules = draw(st.lists(rule(), min_size=1, max_size=6))
    return "\n".join(
        [*declared, BOUNDS, 's in {"a", "b", "c", "d"} or s != "a"', "m or not m", *rules]
    )


def maybe(values: list[Any]) -> st.SearchStrategy[Any]:
    known = st.sampled_from([value for value in values if value is not None])
    return st.one_of(known, known, known, st.none())


records = st.lists(
    st.fixed_dictionaries(
        {
            "x": maybe([*WHOLE, HALF, 3]),
            "y": maybe([*WHOLE, HALF, -3]),
            "w": maybe([-1, 0, 1, 5]),
            "s": maybe(FIELDS["s"]),
            "m": maybe(FIELDS["m"]),
        }
    ),
    min_size=4,
    max_size=8,
)
weight = st.sampled_from((1.0, 1.0, 1.0, 2.0, 0.5, 1.5, np.inf))


@st.composite
def weightings(draw: st.DrawFn) -> Any:
    form = draw(st.integers(0, 2))
    if form == 0:
        return None
    if form == 1:
        return {name: draw(weight) for name in NAMES}
    return [[draw(weight) for _ in NAMES] for _ in range(8)]


def as_frame(drawn: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(drawn, columns=NAMES)
    for name in ("x", "y", "w"):
        frame[name] = frame[name].astype(float)
    for name in ("s", "m"):
        frame[name] = frame[name].astype(object)
    frame.index = pd.Index([f"r{place}" for place in range(len(frame))])
    return frame


def tried_out(rules: EditRules, frame: pd.DataFrame, costs: np.ndarray) -> list[Any]:
    """Give each record's least cost, and the cost of each way to meet the rules."""
    check = rules.check(WORLD)
    named = [variable.name for variable in rules.variables]
    cells = pd.DataFrame(check.cells, columns=named).reindex(columns=NAMES, fill_value=0)
    good = ~check.failing & ~check.undecided
    good &= ~(cells == Cell.NON_RESPONSE).any(axis=1).to_numpy()
    good &= ~((check.status == Status.UNKNOWN).any(axis=1))
    world, penalty = WORLD[good], check.penalty[good]
    missing = pd.DataFrame(rules.check(frame).cells, columns=named) == Cell.NON_RESPONSE
    missing = missing.reindex(columns=NAMES, fill_value=False).to_numpy()
    found = []
    for place in range(len(frame)):
        record = frame.iloc[place]
        changed = np.column_stack(
            [~((world[n] == record[n]) | (world[n].isna() & pd.isna(record[n]))) for n in NAMES]
        ).astype(bool)
        # An integer that changes becomes a whole number.
        halves = np.column_stack([world[n] == HALF for n in ("x", "y")])
        possible = ~(changed[:, :2] & halves).any(axis=1)
        given_up = np.where(changed & ~missing[place], costs[place], 0.0).sum(axis=1)
        total = np.where(possible, given_up + penalty, np.inf)
        found.append((changed | missing[place], total, penalty))
    return found


def compare(text: str, drawn: list[dict[str, Any]], weights: Any) -> Localisation | None:
    rules = EditRules.from_text(text)
    frame = as_frame(drawn)
    named = [variable.name for variable in rules.variables]
    costs = np.ones((len(frame), len(NAMES)))
    given: Any = None
    if isinstance(weights, dict):
        given = {name: value for name, value in weights.items() if name in named}
        costs[:] = list(weights.values())
    elif weights is not None:
        table = pd.DataFrame(weights[: len(frame)], index=frame.index, columns=NAMES)
        given, costs = table[[name for name in NAMES if name in named]], table.to_numpy()
    if not rules.hard.check_consistency().consistent:
        with pytest.raises(ValueError, match="contradict"):
            localise_errors(frame, rules, weights=given)
        return None
    if frame[named].isna().all(axis=None):
        return None
    found = localise_errors(frame, rules, weights=given)
    assert set(found.status) <= {"valid", "localised", "infeasible"}, found.reason.tolist()
    fields = found.fields.reindex(columns=NAMES, fill_value=False).to_numpy()
    for place, (changed, total, penalty) in enumerate(tried_out(rules, frame, costs)):
        best, status = total.min(initial=np.inf), found.status.iloc[place]
        where = f"{text}\n{frame.iloc[place].to_dict()}\n{costs[place]}\n{found.to_frame()}"
        if np.isinf(best):
            assert status == "infeasible", where
            assert not fields[place].any()
            continue
        assert status in ("valid", "localised"), where
        assert found.cost.iloc[place] == pytest.approx(best), where
        within = ~(changed & ~fields[place]).any(axis=1)
        assert total[within].min(initial=np.inf) == pytest.approx(best), where
        assert found.penalty.iloc[place] == pytest.approx(
            penalty[within & (total <= best * (1 + 1e-9) + 1e-12)].min()
        ), where
    return found


SYSTEMS = st.tuples(world_rules(), records, weightings())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SYSTEMS)
def test_as_trying_every_record(system: Any) -> None:
    compare(*system)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(SYSTEMS)
def test_as_trying_every_record_without_projections(system: Any) -> None:
    """What HiGHS finds alone is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_projection, "MOST_ROWS", 0)
        compare(*system)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(SYSTEMS)
def test_as_trying_every_record_without_lists_of_covers(system: Any) -> None:
    """So is what is found where covers are searched for record by record, memory is short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_covers, "MOST_COVERS", 0)
        patch.setattr(_search, "MOST_WAYS", 2)
        patch.setattr(_search, "MOST_KEPT", 0)
        compare(*system)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SYSTEMS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_plays_no_part(system: Any, random: Any) -> None:
    text, drawn, weights = system
    rules, frame = EditRules.from_text(text), as_frame(drawn)
    named = [variable.name for variable in rules.variables]
    if not rules.hard.check_consistency().consistent or frame[named].isna().all(axis=None):
        return
    if isinstance(weights, list):
        weights = pd.DataFrame(weights[: len(frame)], index=frame.index, columns=NAMES)[named]
    elif weights is not None:
        weights = {name: weights[name] for name in named}
    found = localise_errors(frame, rules, weights=weights)
    order, columns = list(frame.index), list(NAMES)
    random.shuffle(order)
    random.shuffle(columns)
    again = localise_errors(
        frame.loc[order[:3], columns],
        rules,
        weights=weights if not isinstance(weights, pd.DataFrame) else weights.loc[order[:3]],
    )
    pd.testing.assert_frame_equal(again.fields, found.fields.loc[order[:3]])
    pd.testing.assert_series_equal(again.cost, found.cost[order[:3]])


# --- real numbers: every set of fields is tried, with the other values as rules ----------------

REALS = ("p", "q", "t", "u")
tenths = st.integers(-30, 30).map(lambda n: n / 10)


@st.composite
def real_linear(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from(REALS), min_size=1, max_size=3, unique=True))
    factors = (1, 1, 1, -1, -1, 0.6, -0.3, 2.5, 100)
    terms = [f"{draw(st.sampled_from(factors))} * {name}" for name in names]
    sign = draw(st.sampled_from(("<=", ">=", "==", "==", "<", ">")))
    return f"{' + '.join(terms)} {sign} {draw(st.sampled_from((0, 0, 0, 1, -2.5)))}".replace(
        "+ -", "- "
    )


@st.composite
def real_rule(draw: st.DrawFn) -> str:
    one, two = draw(real_linear()), draw(real_linear())
    return draw(
        st.sampled_from(
            (one, one, one, f"if m then {one}", f"if {one} then {two}", f"m or {one} or {two}")
        )
    )


real_systems = st.lists(real_rule(), min_size=2, max_size=6).map("\n".join)
real_records = st.lists(
    st.fixed_dictionaries(dict.fromkeys(REALS, tenths) | {"m": st.booleans()}),
    min_size=1,
    max_size=3,
)


def least_cost(rules: EditRules, record: dict[str, Any], weights: dict[str, float]) -> float:
    """Try every set by the search of check_consistency, from the cheapest on."""
    named = [variable.name for variable in rules.variables]
    text = "\n".join(f"c{place}: {rule.text}" for place, rule in enumerate(rules))
    sets = [c for size in range(len(named) + 1) for c in itertools.combinations(named, size)]
    for free in sorted(sets, key=lambda names: sum(weights[name] for name in names)):
        kept = [
            f"{'' if record[name] else 'not '}{name}"
            if name == "m"
            else f"{name} == {record[name]}"
            for name in named
            if name not in free
        ]
        if EditRules.from_text("\n".join([text, *kept])).check_consistency().consistent:
            return sum(weights[name] for name in free)
    return np.inf


def compare_reals(text: str, drawn: list[dict[str, Any]], costs: list[float]) -> None:
    rules = EditRules.from_text(text)
    if not rules.check_consistency().consistent:
        return
    named = [variable.name for variable in rules.variables]
    weights = dict(zip((*REALS, "m"), costs, strict=True))
    found = localise_errors(
        pd.DataFrame(drawn), rules, weights={name: weights[name] for name in named}
    )
    assert found.verified[["feasible", "minimal"]].all(axis=None)
    best = [least_cost(rules, record, weights) for record in drawn]
    assert found.cost.tolist() == pytest.approx(best), f"{text}\n{drawn}\n{found.to_frame()}"


REAL = (
    real_systems,
    real_records,
    st.lists(st.sampled_from((1.0, 1.0, 1.5, 2.0, 0.3)), min_size=5, max_size=5),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(*REAL)
def test_real_numbers_as_trying_every_set(text: str, drawn: Any, costs: list[float]) -> None:
    compare_reals(text, drawn, costs)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(*REAL)
def test_real_numbers_without_projections(text: str, drawn: Any, costs: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_projection, "MOST_ROWS", 0)
        compare_reals(text, drawn, costs)


# --- covers ------------------------------------------------------------------------------------

MEMBERS = 7
families = st.lists(st.integers(1, 2**MEMBERS - 1), min_size=1, max_size=8)
prices = st.lists(st.sampled_from((0.5, 1.0, 1.0, 2.0, 3.0)), min_size=MEMBERS, max_size=MEMBERS)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(families, prices, st.permutations(range(MEMBERS)), st.integers(0, 2**MEMBERS - 1))
def test_covers_as_trying_every_set(
    sets: list[int], costs: list[float], order: list[int], allowed: int
) -> None:
    meeting = [m for m in range(2**MEMBERS) if all(m & one for one in sets)]
    priced = {
        m: sum(costs[place] for place in _covers.bits(m)) for m in meeting if not m & ~allowed
    }
    cheapest = sorted(m for m, cost in priced.items() if cost == min(priced.values()))
    assert _covers.cheapest_covers(sets, costs, allowed) == cheapest
    # Binary ranks, so that no two sets are equal.
    ranks = [2.0**place for place in order]
    first = _covers.first_of_cheapest(sets, costs, ranks, allowed)
    rank = {m: sum(ranks[place] for place in _covers.bits(m)) for m in cheapest}
    assert first == min(rank, key=rank.__getitem__, default=None)
    smallest = [m for m in meeting if not any(o != m and o & m == o for o in meeting)]
    assert sorted(_covers.smallest_covers(sets)) == smallest


# --- for long ----------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(3_000)
@settings(max_examples=5_000, deadline=None)
@given(SYSTEMS)
def test_as_trying_every_record_for_long(system: Any) -> None:
    compare(*system)


@pytest.mark.soak
@pytest.mark.timeout(3_000)
@settings(max_examples=500, deadline=None)
@given(*REAL)
def test_real_numbers_for_long(text: str, drawn: Any, costs: list[float]) -> None:
    compare_reals(text, drawn, costs)
