"""Adjusted records satisfy the rules, change imputed cells only, and as little as possible."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize, nnls

from mlkit.editing import EditRules
from mlkit.editing._adjust import adjust_to_rules
from mlkit.editing._imputation import Imputation
from mlkit.editing._nearest import Outcome, Rows, nearest
from mlkit.editing._prorate import prorate

NAMES = ("a", "b", "c", "d")


def adjust(text: str, frame: Any, imputed: Any, **options: Any) -> Imputation:
    return adjust_to_rules(frame, EditRules.from_text(text), imputed, **options)


def all_of(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Mark whole columns as imputed; all columns by default."""
    return pd.DataFrame({c: c in (columns or frame.columns) for c in frame}, frame.index)


# --- by hand ---------------------------------------------------------------------------------


def test_least_squares_by_hand() -> None:
    frame = pd.DataFrame({"a": [10.0], "b": [30.0], "total": [44.0]})
    text, imputed = "a + b == total", all_of(frame, "a", "b")
    equal = adjust(text, frame, imputed, weights={"a": 1.0, "b": 1.0})
    assert equal.frame.loc[0].tolist() == [12, 32, 44]
    firm = adjust(text, frame, imputed, weights={"a": 3.0})
    assert firm.frame.loc[0].tolist() == [11, 33, 44]
    by_cell = pd.DataFrame({"a": [1.0], "b": [3.0], "total": [1.0]})
    assert adjust(text, frame, imputed, weights=by_cell).frame.loc[0].tolist() == [13, 31, 44]
    assert adjust(text, frame, all_of(frame, "a")).frame.loc[0].tolist() == [14, 30, 44]


def test_moves_the_parts_of_one_balance_as_prorating_does() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(5, 100, (200, 4)) * rng.choice([-1, 1], (200, 4))
    frame = pd.DataFrame(sizes, columns=list("abcd"))
    frame["total"] = 300.0
    imputed = pd.DataFrame(rng.random((200, 5)) < 0.6, columns=frame.columns).assign(total=False)
    done = adjust("a + b + c + d == total", frame, imputed)
    peer = prorate(frame, list("abcd"), "total", impute=imputed)
    moved = (done.status == "adjusted").to_numpy()
    assert moved.sum() > 150
    assert (peer.status[moved] == "prorated").all()
    np.testing.assert_allclose(done.frame[moved], peer.frame[moved], rtol=1e-9)


def test_least_squares_piles_fewer_values_on_bounds_than_linear_programming() -> None:
    """methods.md, 21: why least squares."""
    rng = np.random.default_rng(1)
    values = rng.uniform(5, 10, (50, 3))
    frame = pd.DataFrame(values, columns=list("abc")).assign(total=9.0)
    text = "a + b + c == total\na >= 0\nb >= 0\nc >= 0"
    done = adjust(text, frame, all_of(frame, *"abc"), weights=dict.fromkeys("abc", 1.0))
    on_bounds = (done.frame[list("abc")] == 0).to_numpy().mean()
    linear = []
    for start in values:  # smallest sum of absolute moves; all moves go down
        found = linprog([-1, -1, -1], A_eq=[[1, 1, 1]], b_eq=[9], bounds=[(0, x) for x in start])
        linear.append(found.x == 0)
    assert np.mean(linear) > 3 * on_bounds


def test_conditions_take_the_cheaper_way_out() -> None:
    text = "if staff >= 10 then training >= 5"
    frame = pd.DataFrame({"staff": [10.5, 12.0, 30.0, 30.0], "training": [1.0, 4.0, 4.0, 0.0]})
    imputed = pd.DataFrame({"staff": [True, True, True, False], "training": [True] * 4})
    done = adjust(text, frame, imputed, weights={"staff": 1.0, "training": 1.0})
    assert done.frame["staff"].tolist() == pytest.approx([10, 12, 30, 30], abs=1e-4)
    assert done.frame["training"].tolist() == [1, 5, 5, 5]
    assert not EditRules.from_text(text).check(done.frame).failing.any()


def test_numbers_are_moved_before_categories_are_changed() -> None:
    text = """status in {"employee", "retired", "child"}
    if status == "employee" then age >= 16
    if status == "child" then age <= 15"""
    frame = pd.DataFrame(
        {"status": ["employee", "employee", "retired", "employee"], "age": [14.0, 14.0, 70.0, 40.0]}
    )
    imputed = pd.DataFrame({"status": [True, True, False, False], "age": [True] + [False] * 3})
    done = adjust(text, frame, imputed)
    assert done.frame["age"].tolist() == [16, 14, 70, 40]
    assert done.frame["status"].tolist() == ["employee", "retired", "retired", "employee"]
    assert done.changed.to_numpy().tolist() == [
        [False, True], [True, False], [False, False], [False, False]
    ]  # fmt: skip


def test_the_category_that_most_observed_records_have() -> None:
    frame = pd.DataFrame({"s": ["x", "c", "b", "b", "x"], "m": [True, False, False, False, False]})
    imputed = pd.DataFrame({"s": [True] + [False] * 4})
    done = adjust('if m then s != "x"', frame, imputed)
    assert done.frame["s"].tolist() == ["b", "c", "b", "b", "x"]


def test_whole_numbers_stay_whole_and_keep_their_column() -> None:
    text = "variable full, part, staff: integer\nfull + part == staff\nfull >= 0\npart >= 0"
    frame = pd.DataFrame({"full": [2.4, 5.0], "part": [3.7, 1.0], "staff": [6, 6]})
    done = adjust(text, frame, all_of(frame, "full", "part"))
    assert done.frame.to_numpy().tolist() == [[2, 4, 6], [5, 1, 6]]
    assert done.status.tolist() == ["adjusted", "held"]
    assert done.frame["staff"].dtype == frame["staff"].dtype
    # Fractions are mended even where the rules hold.
    frame = pd.DataFrame({"full": [2.4], "part": [3.6], "staff": [6]})
    assert adjust(text, frame, all_of(frame, "full", "part")).frame.loc[0].tolist() == [2, 4, 6]
    # Those of the observed are not ours.
    assert adjust(text, frame, all_of(frame, "staff")).status.tolist() == ["held"]


def test_whole_numbers_that_are_large_and_strictly_compared() -> None:
    frame = pd.DataFrame({"x": [2e9]})
    done = adjust("variable x: integer\nx < 1000000000", frame, all_of(frame))
    assert done.frame["x"].tolist() == [999_999_999]


def test_a_search_without_end_is_given_up() -> None:
    frame = pd.DataFrame({"x": [1.0, 1.0], "y": [2.0, 2.0], "z": [7.0, 8.0]})
    done = adjust("variable x, y: integer\n2 * x + 2 * y == z", frame, all_of(frame, "x", "y"))
    assert done.status.tolist() == ["given up", "adjusted"]  # no even number is 7
    assert done.frame.loc[0].tolist() == [1, 2, 7]


def test_tolerances_are_used_only_where_rounded_values_leave_no_other_way() -> None:
    text = "variable a, b, c, d: unit 1\na + b == c\na + d == 10"
    # a is 4 by one balance and 5 by the other.
    frame = pd.DataFrame({"a": [0.0, 0.0], "b": [6.0, 6.0], "c": [10.0, 10.0], "d": [5.0, 6.0]})
    done = adjust(text, frame, all_of(frame, "a"), weights={"a": 1.0})
    assert done.status.tolist() == ["adjusted", "adjusted"]
    assert 4 <= done.frame["a"][0] <= 5
    assert done.frame["a"][1] == 4
    exact = adjust(text.split("\n", 1)[1], frame, all_of(frame, "a"))
    assert exact.status.tolist() == ["infeasible", "adjusted"]


def test_infeasible_and_missing_records_are_left_as_they_were() -> None:
    frame = pd.DataFrame(
        {"a": [1.0, -5.0, np.nan, np.nan], "b": [2.0, 2.0, 2.0, 2.0], "total": [9.0, 1.0, 9.0, 9.0]}
    )
    imputed = pd.DataFrame({"a": [False, True, True, False]})
    done = adjust("a + b == total\na >= 0", frame, imputed)
    # The third has no value to move; the last one's balance is unknown, so it cannot be broken.
    assert done.status.tolist() == ["infeasible", "infeasible", "missing", "held"]
    pd.testing.assert_frame_equal(done.frame, frame)
    assert not done.changed.to_numpy().any()
    assert done.left["a"].tolist() == [False, True, True, False]
    assert done.to_frame().to_dict("records") == [{"column": "a", "changed": 0, "left": 2}]


def test_values_that_do_not_apply_bind_nothing() -> None:
    text = "variable wage: applies if employed\nwage + rent == income\nrent >= 0"
    frame = pd.DataFrame(
        {
            "employed": [True, False],
            "wage": [80.0, np.nan],
            "rent": [10.0, -5.0],
            "income": [100.0, 50.0],
        }
    )
    done = adjust(text, frame, all_of(frame, "wage", "rent"), weights={"wage": 1.0, "rent": 1.0})
    assert done.frame["wage"].tolist()[0] == 85
    assert done.frame["rent"].tolist() == [15, 0]


def test_strict_comparisons_hold() -> None:
    frame = pd.DataFrame({"x": [-3.0, 1e9], "y": [5.0, 1e9]})
    text = "x > 0\nx != y"
    done = adjust(text, frame, all_of(frame, "x"))
    assert not EditRules.from_text(text).check(done.frame).failing.any()
    assert done.frame["x"].tolist() == [pytest.approx(1e-6), pytest.approx(1e9, abs=10)]


def test_balances_hold_to_the_last_digit() -> None:
    """Decimals, amounts from 0.01 to millions, nested balances: none fails for rounding."""
    text = """a1 + a2 + a3 == a
    a2 == c1 + c2
    a + b == t
    t - k == p
    a1 >= 0
    a2 >= 0
    a3 >= 0
    c1 >= 0
    c2 >= 0
    b >= 0
    k <= 0.9 * t"""
    rng = np.random.default_rng(2)
    n = 1000
    frame = pd.DataFrame()
    for name in ("a1", "c1", "c2", "a3", "b"):
        frame[name] = np.round(rng.lognormal(5, 3, n) * (rng.random(n) < 0.7), 2)
    frame["a2"] = frame["c1"] + frame["c2"]
    frame["a"] = frame["a1"] + frame["a2"] + frame["a3"]
    frame["t"] = frame["a"] + frame["b"]
    frame["k"] = np.round(frame["t"] * rng.uniform(0, 0.9, n), 2)
    frame["p"] = frame["t"] - frame["k"]
    rules = EditRules.from_text(text)
    frame = frame[~rules.check(frame).failing].reset_index(drop=True)
    imputed = pd.DataFrame(rng.random(frame.shape) < 0.3, columns=frame.columns)
    other = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    filled = frame.where(~imputed, other * 1.1)
    assert rules.check(filled).failing.mean() > 0.9
    done = adjust_to_rules(filled, rules, imputed)
    assert set(done.status) <= {"held", "adjusted"}
    assert not rules.check(done.frame).failing.any()
    pd.testing.assert_frame_equal(done.frame.mask(imputed), frame.mask(imputed))


def test_rules_that_agree_up_to_rounding_do_not_contradict() -> None:
    """What follows for a1 is -6e-14, where a1 >= 0: by rounding alone."""
    text = """a1 + a2 + a3 + a4 == a
    a + b == t
    t - k == p
    b == b2
    a1 >= 0"""
    fixed = {"a3": 85.16, "a4": 174.43, "a2": 7.46, "b": 31.84, "k": 145.94, "p": 152.95}
    free = {"a1": 0.0, "b2": 1096.306283, "a": 4405.321194, "t": 6769.798902}
    frame = pd.DataFrame([fixed | free])
    done = adjust(text, frame, all_of(frame, *free))
    assert done.status.tolist() == ["adjusted"]
    assert done.frame["a1"].tolist() == [0]


def test_what_must_be_0_is_0() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(0, 100, (200, 3)), columns=list("xyz"))
    text = "x + 3 * y == 0\nx - y == 0\nx + y + z == 0"
    done = adjust(text, frame, all_of(frame))
    assert (done.status == "adjusted").all()
    assert (done.frame == 0).to_numpy().all()


def test_multipliers_prove_the_nearest_point() -> None:
    """The conditions of Karush, Kuhn and Tucker, on 400 systems of up to 9 rows and 5 numbers."""
    rng = np.random.default_rng(0)
    proved = 0
    for _ in range(400):
        p, m = rng.integers(2, 6), rng.integers(2, 10)
        G = rng.integers(-3, 4, (m, p)).astype(float)  # noqa: N806
        G = G[(G != 0).any(axis=1)]  # noqa: N806
        equal = rng.random(len(G)) < 0.15
        h = np.tile(rng.integers(-5, 10, len(G)).astype(float), (5, 1))
        on = rng.random(h.shape) < 0.9
        start, scale = rng.normal(0, 10, (5, p)), rng.uniform(0.2, 5, (5, p))
        x, outcome = nearest(Rows(G, equal, h, on), start, scale)
        assert (outcome != Outcome.OPEN).all()
        excess = np.where(equal, np.abs(x @ G.T - h), x @ G.T - h)
        solved = outcome == Outcome.SOLVED
        assert (excess[solved][on[solved]] < 1e-10).all()
        for i in np.flatnonzero(solved):
            pull = -(x[i] - start[i]) / scale[i] ** 2
            binds = on[i] & (np.abs(excess[i]) < 1e-8)
            # The pull is a combination of the rows that bind, of both signs for equalities.
            A = np.concatenate([G[binds], -G[binds & equal]])  # noqa: N806
            rest = nnls(A.T, pull)[1] if len(A) else np.abs(pull).max()
            assert rest < 1e-6 * (1 + np.abs(pull).max())
            proved += len(A) > 0
    assert proved > 800


# --- linear rules, against SLSQP -------------------------------------------------------------

small = st.integers(-3, 3)


@st.composite
def linear_rules(draw: st.DrawFn) -> list[tuple[tuple[int, ...], str, int]]:
    row = st.tuples(
        st.tuples(*[small] * len(NAMES)).filter(any),
        st.sampled_from(["==", "<=", "<=", ">="]),
        st.integers(-9, 9),
    )
    return draw(st.lists(row, min_size=1, max_size=5))


def as_text(rows: list[tuple[tuple[int, ...], str, int]]) -> str:
    lines = []
    for coefficients, sign, constant in rows:
        terms = " + ".join(f"{c} * {n}" for c, n in zip(coefficients, NAMES, strict=True) if c)
        lines.append(f"{terms} {sign} {constant}".replace("+ -", "- "))
    return "\n".join(lines)


def as_system(rows: list[tuple[tuple[int, ...], str, int]]) -> tuple[Any, Any, Any]:
    flip = np.array([-1.0 if sign == ">=" else 1.0 for _, sign, _ in rows])
    matrix = np.array([c for c, _, _ in rows], dtype=float) * flip[:, None]
    return matrix, np.array([b for *_, b in rows]) * flip, np.array([s == "==" for _, s, _ in rows])


def feasible(A: Any, b: Any, equal: Any) -> bool:  # noqa: N803
    found = linprog(
        np.zeros(A.shape[1]),
        A_ub=A[~equal] if not equal.all() else None,
        b_ub=b[~equal] if not equal.all() else None,
        A_eq=A[equal] if equal.any() else None,
        b_eq=b[equal] if equal.any() else None,
        bounds=(None, None),
    )
    return bool(found.status == 0)


def best_cost(A: Any, b: Any, equal: Any, start: Any, weights: Any) -> float:  # noqa: N803
    """Let SLSQP find the smallest weighted sum of squared moves."""
    rows = [
        {
            "type": "eq" if e else "ineq",
            "fun": lambda x, r=r, c=c: c - r @ x,
            "jac": lambda x, r=r: -r,
        }
        for r, c, e in zip(A, b, equal, strict=True)
    ]
    found = minimize(
        lambda x: weights @ (x - start) ** 2,
        start,
        jac=lambda x: 2 * weights * (x - start),
        constraints=rows,
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    return float(found.fun) if found.success else float("nan")


LINEAR_CASES = (
    linear_rules(),
    st.lists(st.tuples(*[st.integers(-20, 20)] * 4), min_size=1, max_size=4),
    st.lists(st.tuples(*[st.booleans()] * 4), min_size=4, max_size=4),
    st.sampled_from([None, (1, 1, 1, 1), (1, 10, 0.1, 3)]),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(*LINEAR_CASES)
def test_the_smallest_weighted_change_as_slsqp_finds_it(
    rows: Any, records: Any, masks: Any, weights: Any
) -> None:
    text, (A, b, equal) = as_text(rows), as_system(rows)  # noqa: N806
    rules = EditRules.from_text(text)
    frame = pd.DataFrame(records, columns=NAMES, dtype=float)
    imputed = pd.DataFrame(masks[: len(frame)], columns=NAMES)
    if not rules.check_consistency().consistent:
        with pytest.raises(ValueError, match="contradict"):
            adjust_to_rules(frame, rules, imputed)
        return
    frame = frame[[n for n in NAMES if n in {v.name for v in rules.variables}]]
    given_weights = None if weights is None else dict(zip(NAMES, weights, strict=True))
    given_weights = given_weights and {n: given_weights[n] for n in frame}
    done = adjust_to_rules(frame, rules, imputed[list(frame)], weights=given_weights)
    used = [NAMES.index(n) for n in frame]
    A = A[:, used]  # noqa: N806
    failing = rules.check(done.frame).failing
    for i, status in enumerate(done.status):
        free, start = imputed[list(frame)].to_numpy()[i], frame.to_numpy()[i]
        new = done.frame.to_numpy()[i]
        assert (new[~free] == start[~free]).all()
        rest = b - A[:, ~free] @ start[~free]
        empty = ~(A[:, free] != 0).any(axis=1)
        possible = not (np.where(equal, np.abs(rest), -rest)[empty] > 0).any()
        if possible and free.any() and not empty.all():
            possible = feasible(A[~empty][:, free], rest[~empty], equal[~empty])
        assert (status == "infeasible") == (not possible)
        assert failing[i] == (not possible)
        if not possible:
            assert (new == start).all()
            continue
        largest = np.abs(start[free]).max(initial=0) * 1e-3 or 1.0
        w = (
            np.array([given_weights[n] for n in frame])
            if given_weights
            else 1 / np.maximum(np.abs(start), largest)
        )
        cost = float(w[free] @ (new - start)[free] ** 2)
        if cost:
            peer = best_cost(A[~empty][:, free], rest[~empty], equal[~empty], start[free], w[free])
            if np.isfinite(peer):  # SLSQP gives up on dependent rows
                assert cost <= peer * (1 + 1e-5) + 1e-7


# --- whole numbers, conditions, categories: against every record of a small world --------------

WORLD = [
    {"x": float(x), "y": float(y), "s": s, "m": m}
    for x, y, s, m in itertools.product(range(-2, 3), range(-2, 3), "abc", (True, False))
]
BOUNDS = "variable x, y: integer\n-2 <= x <= 2\n-2 <= y <= 2\ns in {'a', 'b', 'c'}\n"
ATOMS = (
    "x + y == 1", "x < y", "x - 2 * y >= 1", "x != 0", "y >= 1", "2 * x + y <= -1",
    's == "a"', 's in {"b", "c"}', "m", "not m",
)  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn) -> str:
    first, second, third = (draw(st.sampled_from(ATOMS)) for _ in range(3))
    forms = (
        f"if {first} then {second}",
        f"if {first} and {second} then {third}",
        f"({first}) or ({second} and {third})",
        first,
    )
    return draw(st.sampled_from(forms))


SMALL_CASES = (
    st.lists(conditions(), min_size=1, max_size=4),
    st.lists(
        st.tuples(
            st.floats(-2.5, 2.5).map(lambda v: round(v, 2)),
            st.floats(-2.5, 2.5).map(lambda v: round(v, 2)),
            st.sampled_from("abc"),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.tuples(*[st.booleans()] * 4), min_size=4, max_size=4),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(*SMALL_CASES)
def test_as_trying_every_record_of_a_small_world(lines: Any, records: Any, masks: Any) -> None:
    rules = EditRules.from_text(BOUNDS + "\n".join(lines))
    world = pd.DataFrame(WORLD)
    valid = world[~rules.check(world).failing]
    # Observed numbers are whole, as they should be.
    frame = pd.DataFrame(records, columns=["x", "y", "s", "m"])
    imputed = pd.DataFrame(masks[: len(frame)], columns=frame.columns)
    for name in ("x", "y"):
        frame[name] = frame[name].where(imputed[name], frame[name].round())
    # Variables that no rule names are not the rules' business.
    frame["extra"] = "kept"
    if not len(valid):
        with pytest.raises(ValueError, match="contradict"):
            adjust_to_rules(frame, rules, imputed)
        return
    named = [v.name for v in rules.variables]
    done = adjust_to_rules(frame, rules, imputed, weights={"x": 1.0, "y": 2.0})
    assert (done.frame["extra"] == "kept").all()
    for i, status in enumerate(done.status):
        before, after = frame.iloc[i], done.frame.iloc[i]
        fixed = [n for n in named if not imputed[n].iloc[i]]
        others = valid[(valid[fixed] == before[fixed]).all(axis=1)] if fixed else valid
        assert (status == "infeasible") == (not len(others))
        if not len(others):
            assert before.equals(after)
            continue
        assert all(before[n] == after[n] for n in fixed)

        def cost(record: Any, before: Any = before) -> tuple[int, float]:
            changes = sum(record[n] != before[n] for n in ("s", "m") if n in named)
            return changes, (record.x - before.x) ** 2 + 2 * (record.y - before.y) ** 2

        assert len(rules.check(done.frame.iloc[[i]]).failing.nonzero()[0]) == 0
        assert after.x == round(after.x)
        assert after.y == round(after.y)
        best = min(cost(record) for _, record in others.iterrows())
        assert cost(after) == (best[0], pytest.approx(best[1], abs=1e-9))


@pytest.mark.soak
@settings(max_examples=2000, deadline=None)
@given(*LINEAR_CASES)
def test_many_more_linear_rules(rows: Any, records: Any, masks: Any, weights: Any) -> None:
    test = test_the_smallest_weighted_change_as_slsqp_finds_it
    test.hypothesis.inner_test(rows, records, masks, weights)


@pytest.mark.soak
@settings(max_examples=2000, deadline=None)
@given(*SMALL_CASES)
def test_many_more_small_worlds(lines: Any, records: Any, masks: Any) -> None:
    test_as_trying_every_record_of_a_small_world.hypothesis.inner_test(lines, records, masks)


# --- after imputers of scikit-learn ----------------------------------------------------------


def make_errors(n: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Make truth, data with errors and the cells in error, as section 2.6 of the facts says."""
    rng = np.random.default_rng(0)
    staff = rng.integers(1, 60, n)
    turnover = np.round(staff * rng.lognormal(4, 0.3, n))
    otherrev = np.round(turnover * rng.uniform(0, 0.1, n))
    totalrev = turnover + otherrev
    staffcosts = np.round(staff * rng.uniform(10, 25, n))
    othercosts = np.round(np.maximum(totalrev * rng.uniform(0.3, 0.7, n), 1))
    totalcosts = staffcosts + othercosts
    vat = np.round(turnover * rng.uniform(0.02, 0.15, n))
    names = [
        "turnover",
        "otherrev",
        "totalrev",
        "staffcosts",
        "othercosts",
        "totalcosts",
        "profit",
        "staff",
        "vat",
    ]
    columns = (turnover, otherrev, totalrev, staffcosts, othercosts, totalcosts)
    true = pd.DataFrame(
        dict(zip(names, (*columns, totalrev - totalcosts, staff, vat), strict=True)), dtype=float
    )
    wrong = rng.random((n, 9)) < 0.03
    kind = rng.integers(0, 3, (n, 9))
    x = true.to_numpy()
    values = np.select(
        [kind == 0, kind == 1], [x * 1000, -x], np.round(x * rng.uniform(0.1, 10, (n, 9)))
    )
    raw = true.mask(wrong, pd.DataFrame(values, columns=names))
    return true, raw, raw != true


BUSINESS = """
turnover + otherrev == totalrev
staffcosts + othercosts == totalcosts
totalrev - totalcosts == profit
turnover >= 0
otherrev >= 0
totalrev >= 0
staffcosts >= 0
othercosts >= 0
totalcosts >= 0
staff >= 0
vat >= 0
turnover <= 550 * staff
staffcosts <= 40 * staff
-0.9 * totalrev <= profit <= 0.9 * totalrev
vat <= 0.3 * turnover
"""


@pytest.mark.parametrize(
    ("imputer", "low", "high"),
    [
        # editing-imputation.md, 2.3: k-nearest neighbours break the rules in 86 % of records,
        # a linear model, which learns the balances again, in 7 %.
        ("neighbours", 0.75, 0.95),
        ("iterative", 0.005, 0.15),
    ],
)
def test_no_record_fails_after_any_imputer(imputer: str, low: float, high: float) -> None:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer
    from threadpoolctl import threadpool_limits

    true, raw, wrong = make_errors(3000)
    # Values are rounded to 1, so that rules have the tolerance of that.
    rules = EditRules.from_text(f"variable {', '.join(true)}: unit 1\n{BUSINESS}")
    failing = rules.check(raw).failing
    flagged = wrong & failing[:, None]
    holes = raw.mask(flagged)
    model = KNNImputer() if imputer == "neighbours" else IterativeImputer(random_state=0)
    with threadpool_limits(1):
        filled = model.fit_transform(holes)
    before = rules.check(pd.DataFrame(filled, columns=list(raw))).failing[failing].mean()
    assert low < before < high
    done = adjust_to_rules(filled, rules, flagged)
    assert rules.check(done.frame).failing.sum() == 0
    assert set(done.status) <= {"held", "adjusted"}
    kept = ~flagged.to_numpy()
    assert (done.frame.to_numpy()[kept] == raw.to_numpy()[kept]).all()
    assert (done.frame.to_numpy() != filled).sum() == done.changed.to_numpy().sum()


# --- what is given ---------------------------------------------------------------------------

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 2.0], "c": [4.0, 4.0]}, index=["p", "q"])
BALANCE = EditRules.from_text("a + b == c")


def test_index_columns_and_input_are_kept() -> None:
    frame = FRAME.assign(note=["x", "y"])[["c", "note", "b", "a"]]
    before = frame.copy()
    imputed = pd.DataFrame({"a": [True, True], "note": [True, False]}, index=frame.index)
    done = adjust_to_rules(frame, BALANCE, imputed)
    pd.testing.assert_frame_equal(frame, before)
    assert list(done.frame) == ["c", "note", "b", "a"]
    assert done.frame.index.tolist() == ["p", "q"]
    assert done.frame["a"].tolist() == [2, 2]
    assert done.status.tolist() == ["adjusted", "held"]


def test_whole_columns_become_decimal_only_if_they_must() -> None:
    frame = pd.DataFrame({"a": [1, 1], "b": [1, 1], "c": [4, 5]})
    done = adjust("a + b == c", frame[:1], all_of(frame[:1], "a", "b"))
    assert done.frame["a"].dtype == np.int64
    done = adjust("a + b == c", frame, all_of(frame, "a", "b"))
    assert done.frame["a"].tolist() == [2, 2.5]
    nullable = frame.astype("Int64")
    assert adjust("a + b == c", nullable[:1], all_of(frame[:1], "a")).frame["a"].dtype == "Int64"


def test_an_array_takes_its_names_from_the_cells() -> None:
    imputed = all_of(FRAME, "a")
    done = adjust_to_rules(FRAME.to_numpy(), BALANCE, imputed)
    pd.testing.assert_frame_equal(done.frame, adjust_to_rules(FRAME, BALANCE, imputed).frame)
    again = adjust_to_rules(FRAME, BALANCE, imputed.to_numpy())
    pd.testing.assert_frame_equal(done.frame, again.frame)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"frame": FRAME.to_numpy(), "imputed": np.ones((2, 3), bool)},
            TypeError,
            "without column",
        ),
        ({"frame": FRAME.to_numpy()[:, :2]}, ValueError, "keep_empty_features"),
        ({"frame": FRAME.set_axis(["p", "p"])}, ValueError, "identifiers that came before"),
        ({"frame": FRAME.set_axis(["a", "b", "b"], axis=1)}, ValueError, "more than one column"),
        ({"frame": FRAME.drop(columns="c")}, ValueError, "column c"),
        ({"frame": FRAME.iloc[:0]}, ValueError, "no records"),
        ({"frame": FRAME.assign(b="x")}, TypeError, "is used as a number"),
        ({"frame": FRAME.assign(b=np.inf)}, ValueError, "infinite"),
        ({"frame": [1, 2]}, TypeError, "give a pandas DataFrame"),
        ({"imputed": FRAME}, TypeError, "does not hold truth values"),
        ({"imputed": all_of(FRAME).iloc[::-1]}, ValueError, "another order"),
        ({"imputed": all_of(FRAME).assign(d=True)}, ValueError, "the data do not have"),
        ({"imputed": np.ones((2, 2), bool)}, ValueError, "has the shape"),
        ({"imputed": None}, TypeError, "imputed is a NoneType"),
        ({"weights": {"a": 0.0}}, ValueError, "above 0"),
        ({"weights": {"a": -1.0}}, ValueError, "above 0"),
        ({"weights": {"a": float("nan")}}, ValueError, "above 0"),
        ({"weights": {"z": 1.0}}, ValueError, "'z'"),
        ({"weights": 3}, TypeError, "give a mapping"),
        ({"rules": EditRules.from_text("a >= 1\na <= 0")}, ValueError, "contradict"),
        ({"rules": EditRules.from_text("a >= 1 [soft]")}, ValueError, "no hard rules"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], error: type, message: str) -> None:
    given = {"frame": FRAME, "rules": BALANCE, "imputed": all_of(FRAME, "a")} | change
    with pytest.raises(error, match=message):
        adjust_to_rules(**given)


def test_views() -> None:
    import matplotlib as mpl

    mpl.use("agg")
    done = adjust_to_rules(FRAME, BALANCE, all_of(FRAME, "a"))
    assert "1 held, 1 adjusted" in repr(done)
    assert "<table" in done._repr_html_()
    assert done.plot().get_xlabel() == "cells"
