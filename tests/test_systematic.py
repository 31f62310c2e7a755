"""Unit errors, signs and swaps: found where there is no doubt, left where there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.editing import EditRules
from mlkit.editing._systematic import SystematicErrors, correct_systematic_errors

nan = np.nan


def correct(text: str, columns: dict[str, Any], **options: Any) -> SystematicErrors:
    return correct_systematic_errors(pd.DataFrame(columns), EditRules.from_text(text), **options)


# --- signs and swaps -------------------------------------------------------------------------


def test_signs_and_swaps_of_a_profit_and_loss_account() -> None:
    """Scholtus 2011: flips of results and swaps of revenue and expenses; records of our own."""
    text = """operating: r1 - e1 == p1
    financial: r2 - e2 == p2
    exceptional: r3 - e3 == p3
    sum: p1 + p2 + p3 == p
    r1 >= 0
    r2 >= 0
    r3 >= 0
    e1 >= 0
    e2 >= 0
    e3 >= 0"""
    names = ["r1", "e1", "p1", "r2", "e2", "p2", "r3", "e3", "p3", "p"]
    right = [
        (210, 120, 90, 10, 30, -20, 40, 10, 30, 100),
        (300, 250, 50, 20, 5, 15, 10, 70, -60, 5),
        (100, 160, -60, 7, 3, 4, 50, 20, 30, -26),
        (400, 300, 100, 60, 90, -30, 5, 9, -4, 66),
        (400, 300, 100, 60, 90, -30, 5, 9, -4, 66),
    ]
    frame = pd.DataFrame(right, columns=names)
    raw = frame.copy()
    raw.loc[0, "p2"] = 20  # a sign
    raw.loc[1, ["r3", "e3"]] = [70, 10]  # a swap
    raw.loc[2, ["p1", "p"]] = [60, 26]  # two signs, of one balance and the sum
    raw.loc[3, ["r2", "e2", "p3"]] = [90, 60, 4]  # a swap and a sign, in different balances
    raw.loc[4, "p2"] = 31  # no systematic error
    swaps = [("r1", "e1"), ("r2", "e2"), ("r3", "e3")]
    done = correct_systematic_errors(raw, EditRules.from_text(text), swaps=swaps)
    pd.testing.assert_frame_equal(done.frame[:4], frame[:4])
    pd.testing.assert_frame_equal(done.frame[4:], raw[4:])
    assert done.corrections[["record", "error", "columns"]].to_numpy().tolist() == [
        [0, "sign", "p2"],
        [1, "swap", "r3, e3"],
        [2, "sign", "p1, p"],
        [3, "sign + swap", "p3, r2, e2"],
    ]
    assert done.corrections["rules"].tolist()[:3] == [
        "financial, sum", "exceptional", "operating, sum"
    ]  # fmt: skip
    assert (done.corrections["evidence"] == "balance").all()
    assert done.suspected.empty
    assert (done.changed == (raw != done.frame)).to_numpy().all()


def test_the_fewest_changes_count_and_ties_are_left() -> None:
    text = "z == x - y"
    columns = {"x": [3.0], "y": [13.0], "z": [10.0]}
    # The sign of z, or x and y swapped: one change each. Two signs would do as well.
    both = correct(text, columns, swaps=[("x", "y")])
    assert both.frame.loc[0].tolist() == [3, 13, 10]
    assert both.suspected.loc[0].tolist() == [
        0, "sign of z | swap of x and y", "ambiguous", "rule_1"
    ]  # fmt: skip
    assert both.corrections.empty
    assert correct(text, columns).frame.loc[0].tolist() == [3, 13, -10]
    # Where z is no loss, only the swap is left.
    positive = correct(text + "\nz >= 0", columns, swaps=[("x", "y")])
    assert positive.frame.loc[0].tolist() == [13, 3, 10]


def test_the_sign_of_zero_and_a_swap_of_equals_are_no_candidates() -> None:
    done = correct("x + y == z", {"x": [0.0], "y": [-5.0], "z": [5.0]})
    # y or z: still two.
    assert done.suspected["candidates"].tolist() == ["sign of y | sign of z"]
    done = correct("x + y == z\nz >= 0", {"x": [0.0], "y": [-5.0], "z": [5.0]})
    assert done.corrections["columns"].tolist() == ["y"]


def test_a_correction_breaks_no_rule_that_names_its_columns() -> None:
    text = "x + y == z\nx <= 10 * s"
    columns = {"x": [2.0], "y": [3.0], "z": [2003.0], "s": [1.0]}
    # x times 1000 would balance, but is too much for s.
    done = correct(text, columns)
    assert done.corrections.empty
    assert correct("x + y == z", columns).corrections["change"].tolist() == [
        "x multiplied by 1000"
    ]  # fmt: skip


def test_an_error_elsewhere_does_not_hide_a_sign() -> None:
    text = "a + b == c\nd >= 0\nd <= e"
    done = correct(text, {"a": [-2.0], "b": [3.0], "c": [5.0], "d": [99.0], "e": [1.0]})
    assert done.corrections["columns"].tolist() == ["a"]
    # Nor does a random error in another balance, or in this one's neighbour.
    text = "a + b == c\nd + e == f\nc + g == h"
    columns = {"a": [-2.0], "b": [3.0], "c": [5.0], "d": [1.0], "e": [2.0], "f": [77.0]}
    done = correct(text, columns | {"g": [10.0], "h": [44.0]})
    assert done.corrections["columns"].tolist() == ["a"]
    assert done.frame.loc[0, "f"] == 77


def test_signs_by_bounds() -> None:
    text = "vat >= 0\nvat <= 0.3 * turnover"
    done = correct(text, {"vat": [-2.0, -90.0, 5.0], "turnover": [100.0, 100.0, 100.0]})
    assert done.frame["vat"].tolist() == [2, -90, 5]
    assert done.corrections.to_dict("records") == [
        {
            "record": 0, "error": "sign", "columns": "vat", "change": "sign of vat",
            "evidence": "bound", "rules": "rule_1",
        }
    ]  # fmt: skip


def test_tolerances_and_missing_values() -> None:
    text = "variable x, y, z: unit 1\nx + y == z"
    columns = {"x": [400.0, 400.0, nan], "y": [-500.0, -500.0, -3.0], "z": [901.0, 902.0, 9.0]}
    done = correct(text, columns)
    assert done.frame["y"].tolist() == [500, -500, -3]  # 400 + 500 is 901, rounded; never 902
    assert done.frame["x"].isna().tolist() == [False, False, True]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(*[st.integers(1, 30)] * 3), min_size=1, max_size=4),
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=4, max_size=4),
)
def test_minimal_and_unique_as_trying_all_signs(rows: Any, flips: Any) -> None:
    text = "a + b == c\nc - d == e\ne + f == a"
    a, b, d = np.array(rows, dtype=float).T
    names = list("abcdef")
    truth = pd.DataFrame({"a": a, "b": b, "c": a + b, "d": d, "e": a + b - d})
    truth["f"] = truth["a"] - truth["e"]
    raw = truth * np.where(np.array(flips[: len(truth)]), -1, 1)
    rules = EditRules.from_text(text)
    done = correct_systematic_errors(raw, rules, factor=1e6)
    signs = np.array(np.meshgrid(*[[1, -1]] * 6)).reshape(6, -1).T
    for i in raw.index:
        values = raw.loc[i].to_numpy() * signs
        changed = (values != raw.loc[i].to_numpy()).sum(axis=1)
        valid = ~rules.check(pd.DataFrame(values, columns=names)).failing
        fewest = changed[valid].min()
        ways = np.unique(values[valid & (changed == fewest)], axis=0)
        after = done.frame.loc[i].to_numpy()
        if fewest == 0:
            ways = raw.loc[[i]].to_numpy()
        if fewest <= 2 and len(ways) == 1:
            assert after.tolist() == ways[0].tolist()
        elif fewest <= 2:  # several ways: left, unless a unit error is simpler
            assert i in done.suspected["record"].tolist()
            assert after.tolist() == raw.loc[i].tolist()


# --- units -----------------------------------------------------------------------------------


def make_firms(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    staff = rng.integers(1, 60, n).astype(float)
    last = np.round(staff * rng.lognormal(4, 0.3, n))
    turnover = np.round(last * rng.lognormal(0.05, 0.2, n))
    costs = np.round(turnover * rng.uniform(0.3, 0.9, n))
    return pd.DataFrame(
        {
            "staff": staff,
            "turnover": turnover,
            "costs": costs,
            "profit": turnover - costs,
            "stock": np.round(turnover * rng.uniform(0.05, 0.2, n)),
            "turnover_last": last,
            "costs_last": np.round(last * 0.6),
        }
    )


ACCOUNT = EditRules.from_text("turnover - costs == profit\nturnover >= 0\ncosts >= 0\nstock >= 0")
MONETARY = ["turnover", "costs", "profit", "stock"]


def test_one_column_in_the_wrong_unit_by_the_balance() -> None:
    true = make_firms()
    raw = true.copy()
    raw.loc[3, "costs"] *= 1000
    raw.loc[4, "profit"] /= 1000
    done = correct_systematic_errors(raw, ACCOUNT)
    assert done.corrections["change"].tolist() == [
        "costs divided by 1000", "profit multiplied by 1000"
    ]  # fmt: skip
    pd.testing.assert_frame_equal(done.frame, true)


def test_a_whole_record_in_the_wrong_unit_by_last_period() -> None:
    true = make_firms()
    raw = true.copy()
    raw.loc[7, MONETARY] *= 1000
    raw.loc[8, MONETARY] /= 1000
    raw.loc[9, "costs_last"] = nan
    assert not ACCOUNT.check(raw).failing.any()  # balances hold in any unit
    reference = {"turnover": "turnover_last", "costs": "costs_last"}
    done = correct_systematic_errors(raw, ACCOUNT, reference=reference, monetary=MONETARY)
    pd.testing.assert_frame_equal(done.frame, true.assign(costs_last=raw["costs_last"]))
    assert done.corrections["record"].tolist() == [7, 8]
    assert (done.corrections["evidence"] == "reference").all()
    # Stock is in no balance and has no reference: it is mended with the record.
    assert "stock" in done.corrections["columns"][0]
    # Column by column the balance would break: left, and reported.
    alone = correct_systematic_errors(raw, ACCOUNT, reference=reference)
    assert alone.corrections.empty
    assert (alone.suspected["reason"] == "breaks rules").all()
    assert alone.suspected["record"].tolist() == [7, 7, 8, 8]


def test_one_column_in_the_wrong_unit_by_a_ratio_to_another() -> None:
    true = make_firms()
    raw = true.copy()
    raw.loc[5, "stock"] *= 1000
    raw.loc[6, "stock"] *= 10  # much, but no unit error: the root of 1000 is 32
    raw.loc[7, "stock"] *= 200
    raw.loc[7, "stock"] *= 5
    done = correct_systematic_errors(raw, ACCOUNT, reference={"stock": "turnover"})
    assert done.corrections["record"].tolist() == [5, 7]
    assert done.frame.loc[6, "stock"] == raw.loc[6, "stock"]


def test_a_reference_that_may_be_wrong_itself_is_not_relied_on() -> None:
    raw = make_firms()
    raw.loc[5, "turnover"] *= 1000
    raw.loc[5, "profit"] += 1  # so that the balance cannot tell
    done = correct_systematic_errors(raw, ACCOUNT, reference={"stock": "turnover"})
    assert done.corrections.empty
    assert done.suspected[["record", "reason"]].to_numpy().tolist() == [[5, "reference in doubt"]]


def test_corrected_values_are_rounded_to_their_unit() -> None:
    text = "variable a, b, c: unit 1\na + b == c"
    done = correct(text, {"a": [1234567], "b": [10], "c": [1245]})
    assert done.frame["a"].tolist() == [1235]
    assert done.frame["a"].dtype == np.int64
    other = correct("a + b == c", {"a": [250.0], "b": [10.0], "c": [12.5]}, factor=100)
    assert other.frame["a"].tolist() == [2.5]


def test_skipping_this_step_leaves_totals_wrong() -> None:
    """methods.md, 17: unit errors that satisfy all rules move totals, and nobody sees them."""
    true = make_firms()
    rng = np.random.default_rng(5)
    wrong = rng.random(len(true)) < 0.02
    raw = true.copy()
    raw.loc[wrong, MONETARY] *= 1000
    assert raw["profit"].sum() > 5 * true["profit"].sum()
    done = correct_systematic_errors(
        raw,
        ACCOUNT,
        reference={"turnover": "turnover_last", "costs": "costs_last"},
        monetary=MONETARY,
    )
    assert done.frame["profit"].sum() == true["profit"].sum()


# --- what is given ---------------------------------------------------------------------------

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 2.0], "c": [-3.0, 4.0], "t": ["x", "y"]})
SUM = EditRules.from_text("a + b == c")


def test_the_input_is_kept() -> None:
    before = FRAME.copy()
    done = correct_systematic_errors(FRAME, SUM)
    pd.testing.assert_frame_equal(FRAME, before)
    assert list(done.frame) == list(FRAME)
    assert done.frame["c"].tolist() == [3, 4]
    assert done.frame["t"].tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"factor": 1}, ValueError, "above 1"),
        ({"factor": nan}, ValueError, "above 1"),
        ({"most_changes": 0}, ValueError, "at least one"),
        ({"most_changes": 1.5}, TypeError, "whole number"),
        ({"swaps": [("a", "a")]}, ValueError, "different columns"),
        ({"swaps": ["ab"]}, ValueError, "pairs"),
        ({"swaps": [("a", "z")]}, ValueError, "'z'"),
        ({"reference": {"a": "z"}}, ValueError, "'z'"),
        ({"reference": {"z": "a"}}, ValueError, "'z'"),
        ({"reference": {"a": "t"}}, TypeError, "needs numbers"),
        ({"monetary": ["z"]}, ValueError, "'z'"),
        ({"monetary": ["a", "a"]}, ValueError, "twice"),
        ({"frame": FRAME.drop(columns="a")}, ValueError, "column a"),
        ({"frame": FRAME.assign(a="x")}, TypeError, "is used as a number"),
        ({"frame": FRAME.assign(a=np.inf)}, ValueError, "infinite"),
        ({"frame": FRAME.set_axis([1, 1])}, ValueError, "identifiers"),
        ({"frame": FRAME[:0]}, ValueError, "no records"),
        ({"rules": EditRules.from_text("a >= 1\na <= 0")}, ValueError, "contradict"),
        ({"rules": EditRules.from_text("a >= 1 [soft]")}, ValueError, "no hard rules"),
        (
            {"frame": FRAME.assign(a=0.0), "reference": {"a": "b"}},
            ValueError,
            "values other than 0",
        ),
    ],
)
def test_bad_input(change: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        correct_systematic_errors(**{"frame": FRAME, "rules": SUM} | change)


def test_views() -> None:
    import matplotlib as mpl

    mpl.use("agg")
    done = correct_systematic_errors(FRAME, SUM)
    assert done.to_frame().to_dict("records") == [
        {"error": "sign", "evidence": "balance", "findings": 1}
    ]
    assert "1 corrections, 0 suspicions left" in repr(done)
    assert "<table" in done._repr_html_()
    assert done.plot().get_xlabel() == "findings"
    nothing = correct_systematic_errors(FRAME[1:], SUM)
    assert "No systematic error" in repr(nothing)
    assert nothing.to_frame().empty
    nothing.plot()
