"""Values that follow from the rules, and parts that are made to add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.editing import EditRules
from mlkit.editing._deductive import impute_deductive
from mlkit.editing._imputation import Imputation
from mlkit.editing._prorate import prorate

nan = np.nan


def deduce(text: str, impute: Any = None, **columns: Any) -> Imputation:
    return impute_deductive(pd.DataFrame(columns), EditRules.from_text(text), impute)


# --- deductive -------------------------------------------------------------------------------


def test_determin01_of_banff() -> None:
    """editing-imputation.md, A17, after Banff's documentation, Determin01."""
    frame = pd.DataFrame(
        [
            (10, 15, nan, 20, 50),
            (110, 140, 230, nan, 600),
            (400, 555, 600, nan, 2500),
            (-10, -5, -5, nan, -25),
            (nan, nan, 10, 10, 100),
            (nan, nan, nan, nan, 100),
        ],
        columns=["Q1", "Q2", "Q3", "Q4", "TOTAL"],
        index=["R01", "R02", "R03", "R04", "R05", "R06"],
    )
    rules = EditRules.from_text("Q1 + Q2 + Q3 + Q4 == TOTAL")
    done = impute_deductive(frame, rules)
    assert done.frame.loc["R01", "Q3"] == 5
    assert done.frame.loc[["R02", "R03", "R04"], "Q4"].tolist() == [120, 945, -5]
    assert done.status.tolist() == ["settled"] * 4 + ["open"] * 2
    pd.testing.assert_frame_equal(done.frame[4:], frame[4:])
    # The same cells, flagged instead of missing: what they hold is not looked at.
    filled = frame.fillna(99.0)
    again = impute_deductive(filled, rules, frame.isna())
    pd.testing.assert_frame_equal(again.frame[:4], done.frame[:4])
    pd.testing.assert_frame_equal(again.frame[4:], filled[4:])
    assert again.left.sum().sum() == 6


def test_several_balances_pass_on_what_they_find() -> None:
    text = "a + b == c\nc + d == e\ne + f == g"
    done = deduce(text, a=[1.0], b=[2.0], c=[nan], d=[4.0], e=[nan], f=[nan], g=[10.0])
    assert done.frame.loc[0].tolist() == [1, 2, 3, 4, 7, 3, 10]
    # Two unknowns in each of two balances.
    done = deduce("x + y == s\nx - y == d", x=[nan], y=[nan], s=[10.0], d=[2.0])
    assert done.frame.loc[0].tolist() == [6, 4, 10, 2]
    # One of two unknowns follows, the other two stay.
    done = deduce("x == 3 * s\nx + y + z == 20", x=[nan], y=[nan], z=[nan], s=[2.0])
    assert done.frame.loc[0].tolist()[0] == 6
    assert done.status.tolist() == ["partly settled"]


def test_parts_of_nothing_are_nothing() -> None:
    text = "a + b + c == total\na >= 0\nb >= 0\nc >= 0"
    done = deduce(text, a=[nan, 0.1], b=[nan, 0.2], c=[nan, nan], total=[0.0, 0.1 + 0.2])
    assert done.frame[["a", "b", "c"]].to_numpy().tolist() == [[0, 0, 0], [0.1, 0.2, 0]]


def test_bounds_that_meet() -> None:
    done = deduce("5 <= x <= y\ny <= z", x=[nan, nan], y=[5.0, nan], z=[9.0, 5.0])
    assert done.frame["x"].tolist() == [5, 5]
    assert done.frame["y"].tolist() == [5, 5]
    whole = deduce("variable x: integer\n4.5 <= x\nx <= y", x=[nan, nan], y=[5.5, 6.5])
    assert whole.frame["x"].tolist()[0] == 5
    assert whole.status.tolist() == ["settled", "open"]


def test_conditions_that_are_known_to_hold() -> None:
    text = "if employed then hours == 40 - leave\nif not employed then hours == 0"
    done = deduce(
        text,
        employed=[True, False, None],
        hours=[nan, nan, nan],
        leave=[5.0, 5.0, 5.0],
    )
    assert done.frame["hours"].tolist()[:2] == [35, 0]
    assert done.status.tolist() == ["settled", "settled", "open"]


def test_the_only_category_that_is_left() -> None:
    text = """status in {"child", "worker", "retired"}
    if status == "child" then age <= 15
    if status == "worker" then hours > 0
    if status == "retired" then age >= 60"""
    done = deduce(
        text, status=[None, None, None, "child"], age=[40, 10, 70, 5], hours=[8.0, 0.0, 0.0, 0.0]
    )
    assert done.frame["status"].tolist()[:2] == ["worker", "child"]
    # "retired", as nobody without hours works.
    assert done.frame["status"].tolist()[2:] == ["retired", "child"]
    open_list = deduce('if status == "child" then age <= 15', status=[None], age=[40])
    assert open_list.status.tolist() == ["open"]
    truth = deduce("if married then age >= 17", married=pd.Series([None], dtype=object), age=[9])
    assert truth.frame["married"].tolist() == [False]


def test_a_category_opens_the_way_for_a_number() -> None:
    text = 'kind in {"a", "b"}\nif kind == "a" then x == 1\nif kind == "b" then y == 2'
    done = deduce(text, kind=[None], x=[5.0], y=[nan])
    assert done.frame.loc[0].tolist() == ["b", 5, 2]


def test_contradictions_are_left() -> None:
    text = "a + b == total\na >= 0\na + c == 10"
    done = deduce(text, a=[nan, nan, nan], b=[9.0, 1.0, 1.0], c=[14.0, 6.0, 5.0], total=5.0)
    assert done.status.tolist() == ["contradiction", "settled", "contradiction"]
    assert done.frame["a"].isna().tolist() == [True, False, True]
    fraction = deduce("variable x: integer\n2 * x == y", x=[nan, nan], y=[3.0, 4.0])
    assert fraction.status.tolist() == ["contradiction", "settled"]


def test_three_states_of_missing_values() -> None:
    text = """variable bonus: zero if blank
    variable wage: applies if employed
    wage + bonus + rent == income"""
    columns = {"employed": [True, False], "wage": [nan, nan], "bonus": [nan, nan]}
    done = deduce(text, **columns, rent=[10.0, 10.0], income=[50.0, 50.0])
    assert done.frame["wage"].tolist()[0] == 40
    assert done.frame["bonus"].isna().all()
    assert done.status.tolist() == ["settled", "nothing asked"]
    # A blank that is asked for is no 0.
    frame = pd.DataFrame({**columns, "rent": [10.0, 10.0], "income": [50.0, 50.0]})
    frame.loc[0, "wage"] = 30.0
    asked = pd.DataFrame({"bonus": [True, False]})
    assert impute_deductive(frame, EditRules.from_text(text), asked).frame["bonus"][0] == 10


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(*[st.integers(-2, 2)] * 5).filter(any), min_size=1, max_size=3),
    st.lists(st.tuples(*[st.integers(-9, 9)] * 5), min_size=1, max_size=4),
    st.lists(st.tuples(*[st.booleans()] * 5), min_size=4, max_size=4),
)
def test_what_follows_from_equalities_is_what_the_rank_says(
    rows: Any, records: Any, masks: Any
) -> None:
    """A number follows if its unit vector lies in the row space of the unknown columns."""
    names = list("vwxyz")
    truth = np.array(records, dtype=float)
    A = np.array(rows, dtype=float)  # noqa: N806
    text, columns = "", {}
    for number, row in enumerate(A):  # with a constant of its own, each balance holds
        terms = " + ".join(f"{c:g} * {n}" for c, n in zip(row, names, strict=True) if c)
        text += f"{terms} == k{number}\n".replace("+ -", "- ")
        columns[f"k{number}"] = truth @ row
    frame = pd.DataFrame(truth, columns=names).assign(**columns)
    frame = frame[[n for n in frame if n in text.replace("*", " ").split()]]
    used = [n for n in names if n in frame]
    unknown = np.array(masks[: len(frame)])[:, [names.index(n) for n in used]]
    asked = pd.DataFrame(unknown, columns=used)
    done = impute_deductive(frame, EditRules.from_text(text), asked)
    A = A[:, [names.index(n) for n in used]]  # noqa: N806
    for i in range(len(frame)):
        free = A[:, unknown[i]]
        expected = np.zeros(len(used), dtype=bool)
        if free.size:
            space = np.linalg.pinv(free) @ free
            expected[unknown[i]] = np.abs(space - np.eye(len(space))).max(axis=1) < 1e-9
        assert done.changed[used].to_numpy()[i].tolist() == expected.tolist()
    np.testing.assert_allclose(done.frame.to_numpy(), frame.to_numpy(), atol=1e-12)


# --- prorating -------------------------------------------------------------------------------

BANFF = pd.DataFrame(
    [
        (-25, 42, 27, 25),
        (-25, 44, 20, 20),
        (-18, 44, 15, 5),
        (-18, 42, 15, 5),
        (12, 30, 15, 5),
        (12, 20, 10, 5),
    ],
    columns=["Q1", "Q2", "Q3", "Q4"],
)
WEIGHTS = {"Q1": 1, "Q2": 4, "Q3": 2, "Q4": 1}


def test_prorate03_of_banff() -> None:
    """editing-imputation.md, A16, after Banff's documentation, Prorate03, method BASIC."""
    done = prorate(
        BANFF, list(BANFF), 40, weights=WEIGHTS, bounds=(-100, 100), method="basic", decimals=1
    )
    assert done.frame.to_numpy().tolist() == [
        [5.2, 29.3, 10.7, -5.2],
        [4.7, 30.9, 8.2, -3.8],
        [1.6, 32.0, 6.9, -0.5],
        [-3.6, 33.6, 9.0, 1.0],
        [3.8, 24.8, 9.8, 1.6],
        [8.9, 18.7, 8.7, 3.7],
    ]
    assert (done.status == "prorated").all()


def test_the_default_moves_all_parts_the_same_way() -> None:
    """methods.md, 22: BASIC turns -25 into 5.2 to lower a sum; the default lowers it."""
    done = prorate(BANFF, list(BANFF), 40, weights=WEIGHTS, decimals=1).frame
    assert (done.sum(axis=1).round(9) == 40).all()
    direction = np.sign(40 - BANFF.sum(axis=1)).to_numpy()[:, None]
    assert ((done - BANFF) * direction >= 0).to_numpy().all()
    assert done.loc[0].tolist() == [-34.8, 37.9, 21.7, 15.2]  # k = -29 / 74


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(*[st.integers(-900, 900)] * 4), min_size=1, max_size=5),
    st.lists(st.tuples(*[st.booleans()] * 4), min_size=5, max_size=5),
    st.sampled_from([None, 0, 1]),
    st.sampled_from(["absolute", "basic"]),
)
def test_sums_are_exact_and_fixed_parts_stay(
    rows: Any, masks: Any, decimals: int | None, method: Any
) -> None:
    names = list("abcd")
    frame = pd.DataFrame(rows, columns=names) / 10
    if decimals == 0:
        frame = frame.round(0)
    moves = pd.DataFrame(masks[: len(frame)], columns=names)
    done = prorate(frame, names, 25.0, impute=moves, decimals=decimals, method=method)
    sums = done.frame.sum(axis=1)
    same = (done.frame == frame).all(axis=1)
    for i, status in enumerate(done.status):
        assert (done.frame.loc[i] == frame.loc[i])[~moves.loc[i]].all()
        if status in ("held", "prorated"):
            assert sums[i] == pytest.approx(25.0, abs=1e-9 * frame.loc[i].abs().sum() + 1e-9)
        if status == "prorated" and decimals is not None:
            moved = done.frame.loc[i][moves.loc[i]]
            assert moved.tolist() == moved.round(decimals).tolist()
        if status != "prorated":
            assert same[i]
        base = (frame.loc[i] if method == "basic" else frame.loc[i].abs())[moves.loc[i]].sum()
        if status == "division by 0":
            assert base == pytest.approx(0, abs=1e-9)


def test_every_record_that_is_left_says_why() -> None:
    frame = pd.DataFrame(
        {
            "a": [0.0, 5.0, nan, 5.0, -5.0, 8.0],
            "b": [0.0, 5.0, 5.0, 5.0, 5.0, 2.0],
            "t": [9.0, 10.0, 9.0, nan, 9.0, -90.0],
        }
    )
    done = prorate(frame, ["a", "b"], "t", bounds=(0, np.inf), method="basic")
    assert done.status.tolist() == [
        "division by 0", "held", "missing", "missing", "division by 0", "out of bounds"
    ]  # fmt: skip
    pd.testing.assert_frame_equal(done.frame, frame)
    assert prorate(frame, ["a", "b"], "t").status.tolist()[4:] == ["prorated"] * 2
    none = pd.DataFrame(False, frame.index, frame.columns)
    fixed = prorate(frame[:1], ["a", "b"], "t", impute=none[:1])
    assert fixed.status.tolist() == ["fixed"]
    half = prorate(pd.DataFrame({"a": [1.0], "b": [2.0]}), ["a", "b"], 3.55, decimals=1)
    assert half.status.tolist() == ["total not rounded"]


def test_rounding_that_leaves_the_bounds_is_refused() -> None:
    frame = pd.DataFrame({"a": [1.0, 1.0], "b": [3.0, 1.0], "c": [3.0, 1.0]})
    done = prorate(frame, list("abc"), 11.0, bounds=(0, 4.8), decimals=0)
    assert done.status.tolist() == ["out of bounds", "prorated"]
    assert done.frame.loc[1].tolist() == [4, 3, 4]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"parts": ["Q1", "z"]}, ValueError, "'z'"),
        ({"parts": []}, ValueError, "is empty"),
        ({"parts": "Q1"}, TypeError, "give a list"),
        ({"parts": ["Q1", "Q1"]}, ValueError, "twice"),
        ({"total": "Q1"}, ValueError, "one of the parts"),
        ({"total": "T"}, ValueError, "'T'"),
        ({"total": nan}, ValueError, "finite"),
        ({"weights": {"Q1": 0}}, ValueError, "above 0"),
        ({"weights": {"Q1": -2}}, ValueError, "above 0"),
        ({"weights": {"Q1": nan}}, ValueError, "above 0"),
        ({"weights": {"q": 2}}, ValueError, "none of the parts"),
        ({"bounds": (2, 1)}, ValueError, "no larger"),
        ({"method": "raking"}, ValueError, "'absolute'"),
        ({"decimals": 0.5}, TypeError, "whole number"),
        ({"impute": np.ones((2, 2), bool)}, ValueError, "shape"),
        ({"frame": BANFF.assign(Q2="x")}, TypeError, "needs numbers"),
        ({"frame": BANFF.assign(Q2=np.inf)}, ValueError, "infinite"),
        ({"frame": BANFF.assign(Q2=nan)}, ValueError, "no value"),
        ({"frame": BANFF.set_axis([1] * 6)}, ValueError, "identifiers"),
        ({"frame": BANFF[:0]}, ValueError, "no records"),
    ],
)
def test_bad_input_of_prorating(change: dict[str, Any], error: type, message: str) -> None:
    given = {"frame": BANFF, "parts": ["Q1", "Q2"], "total": 40.0} | change
    with pytest.raises(error, match=message):
        prorate(**given)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rules": EditRules.from_text("Q1 >= 1\nQ1 <= 0")}, ValueError, "contradict"),
        ({"rules": EditRules.from_text("Q1 >= 1 [soft]")}, ValueError, "no hard rules"),
        ({"rules": EditRules.from_text("Q9 >= 1")}, ValueError, "no column Q9"),
        ({"impute": BANFF}, TypeError, "truth values"),
        ({"impute": BANFF.isna()[:2]}, ValueError, "other records"),
        ({"frame": BANFF.assign(Q1="x")}, TypeError, "is used as a number"),
        ({"frame": BANFF.set_axis([1] * 6)}, ValueError, "identifiers"),
    ],
)
def test_bad_input_of_deduction(change: dict[str, Any], error: type, message: str) -> None:
    given = {"frame": BANFF, "rules": EditRules.from_text("Q1 + Q2 == Q3")} | change
    with pytest.raises(error, match=message):
        impute_deductive(**given)
