"""Which rules a record breaks: worked examples, missing values, tolerance, weights, bad input."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from mlkit.editing import Cell, EditRules, RuleCheck, Status
from mlkit.estimate import Design, ReplicateDesign, proportion

mpl.use("agg")

S, B, U, N = Status.SATISFIED, Status.BROKEN, Status.UNKNOWN, Status.NOT_APPLICABLE


def statuses(text: str, **columns: Any) -> list[int]:
    """Check records by one rule, which may come with declarations."""
    return EditRules.from_text(text).check(pd.DataFrame(columns)).status[:, -1].tolist()


# --- worked examples -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names", "records", "failing"),
    [
        # editing-imputation.md, A11 a: records run in Banff 3.1.3 and errorlocate.
        (
            "profit == turnover - cost\ncost >= .6 * turnover\nturnover >= 0\ncost >= 0",
            ("profit", "cost", "turnover"),
            [(750, 125, 200), (755, 125, 200), (75, 125, 200)],
            [True, True, False],
        ),
        # A11 c
        ("x + y == z\n2 * y + 1 == z", ("x", "y", "z"), [(1, 1, 3), (2, 1, 3)], [True, False]),
        # A11 f: Banff's documentation, Errorloc01; R02 and R03 are right.
        (
            "x1 >= -5\nx1 <= 15\nx2 >= 30\nx1 + x2 <= 50",
            ("x1", "x2"),
            [(16, 49), (-4, 49), (10, 40), (4, 49), (15, 51), (30, 70), (-7, 29)],
            [True, False, False, True, True, True, True],
        ),
        # A11 g
        (
            "t == p + c\np <= .5 * t\n-.1 * t <= p\nt >= 0\nt <= 550 * n",
            ("t", "p", "c", "n"),
            [(100, 40000, 60000, 5), (100000, 40000, 60000, 5), (100, 40, 60, 5)],
            [True, True, False],
        ),
    ],
)
def test_worked_examples_of_records_that_fail(
    text: str, names: tuple[str, ...], records: list[tuple[int, ...]], failing: list[bool]
) -> None:
    check = EditRules.from_text(text).check(pd.DataFrame(records, columns=names))
    assert check.failing.tolist() == failing


def make_business_survey(n: int) -> pd.DataFrame:
    """Make the true records of section 2.6 of editing-imputation.md."""
    rng = np.random.default_rng(0)
    staff = rng.integers(1, 60, n)
    turnover = np.round(staff * rng.lognormal(4, 0.3, n))
    otherrev = np.round(turnover * rng.uniform(0, 0.1, n))
    totalrev = turnover + otherrev
    staffcosts = np.round(staff * rng.uniform(10, 25, n))
    othercosts = np.round(np.maximum(totalrev * rng.uniform(0.3, 0.7, n), 1))
    totalcosts = staffcosts + othercosts
    vat = np.round(turnover * rng.uniform(0.02, 0.15, n))
    return pd.DataFrame(
        {
            "turnover": turnover,
            "otherrev": otherrev,
            "totalrev": totalrev,
            "staffcosts": staffcosts,
            "othercosts": othercosts,
            "totalcosts": totalcosts,
            "profit": totalrev - totalcosts,
            "staff": staff.astype(float),
            "vat": vat,
        }
    )


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


def test_balances_hold_in_a_true_survey_and_one_unit_breaks_them() -> None:
    true = make_business_survey(1000)
    rules = EditRules.from_text(BUSINESS)
    assert not rules.check(true).failing.any()
    wrong = true.assign(turnover=true["turnover"] + 1)
    check = rules.check(wrong)
    assert check.broken[:, 0].all()
    assert not check.broken[:, 1:3].any()


# --- missing values --------------------------------------------------------------------------


def test_a_linear_rule_with_a_missing_value_is_unknown_never_broken() -> None:
    """methods.md 20."""
    for text in ("x + y == 3", "x + y <= -100", "x + y > 1000", "x + y != 3"):
        assert statuses(text, x=[1, None], y=[np.nan, None]) == [U, U]


@pytest.mark.parametrize(
    ("married", "age", "status"),
    [
        (True, 17, S),
        (True, 16, B),
        (False, 16, S),
        (False, None, S),  # what is known settles it, as in R's validate
        (None, 17, S),
        (None, 16, U),
        (True, None, U),
        (None, None, U),
    ],
)
def test_a_conditional_rule_with_missing_values(married: Any, age: Any, status: int) -> None:
    assert statuses("if married then age >= 17", married=[married], age=[age]) == [status]


def test_of_several_clauses_the_worst_counts() -> None:
    columns = {"x": [1, 1, -1, -1], "y": [1, None, None, 1]}
    assert statuses("x >= 0 and y >= 0", **columns) == [S, U, B, B]


def test_a_blank_that_means_zero() -> None:
    text = "variable other: zero if blank\nturnover + other == total"
    columns = {"turnover": [5, 5, None], "other": [None, None, 1], "total": [5, 6, 2]}
    assert statuses(text, **columns) == [S, B, U]
    frame = pd.DataFrame(columns)
    before = frame.copy()
    check = EditRules.from_text(text).check(frame)
    pd.testing.assert_frame_equal(frame, before)  # the data are left alone
    names = [v.name for v in check.rules.variables]
    assert check.cells[:, names.index("other")].tolist() == [Cell.ZERO, Cell.ZERO, Cell.GIVEN]
    assert check.cells[:, names.index("turnover")].tolist()[2] == Cell.NON_RESPONSE


def test_a_value_that_does_not_apply() -> None:
    text = 'variable wage: applies if job == "paid"\nwage >= 10'
    columns = {
        "job": ["paid", "paid", "none", "none", None, "none"],
        "wage": [12, None, None, 12, None, 3],
    }
    assert statuses(text, **columns) == [S, U, N, S, U, B]
    check = EditRules.from_text(text).check(pd.DataFrame(columns))
    wage = check.cells[:, [v.name for v in check.rules.variables].index("wage")]
    assert wage.tolist() == [0, 2, 3, 0, 2, 0]
    assert check.undecided.tolist() == [False, True, False, False, True, False]
    assert check.matrix().iloc[2, 0] == "not applicable"


def test_skips_follow_from_skips_in_any_order() -> None:
    text = (
        "variable overtime: applies if hours >= 40\nvariable hours: applies if employed\n"
        "overtime >= 0"
    )
    columns = {
        "overtime": [None, None, None, 1],
        "hours": [None, 35, 45, None],
        "employed": [False, True, True, None],
    }
    assert statuses(text, **columns) == [N, N, U, S]


def test_a_missing_value_beside_one_that_does_not_apply() -> None:
    text = "variable x: applies if a\nx + y <= 3 or z <= 0"
    columns = {
        "a": [False] * 4,
        "x": [None] * 4,
        "y": [None, 1, 1, 1],
        "z": [5, 5, None, 0],
    }
    # The sum does not apply, whatever y is; the other atom may still be unknown or true.
    assert statuses(text, **columns) == [N, N, U, S]


def test_all_values_missing() -> None:
    frame = pd.DataFrame({"x": [None, None], "s": [None, None], "m": [None, None]})
    rules = EditRules.from_text('x >= 0\ns == "a"\nm\nif m then x >= 0')
    check = rules.check(frame)
    assert (check.status == U).all()
    assert not check.failing.any()
    assert check.undecided.all()
    assert check.to_frame()["share"].tolist() == [0.0] * 5


# --- tolerance and rounding ------------------------------------------------------------------


def test_a_rounded_balance_within_half_a_unit_each() -> None:
    """methods.md 19: 1.5 units for three variables, at any size of the record."""
    text = "variable a, b, c: unit 1\na + b == c"
    for size in (1, 1e3, 1e9):
        columns = {"a": [size] * 4, "b": [size] * 4, "c": 2 * size + np.array([0, 1, -1.5, 2])}
        assert statuses(text, **columns) == [S, S, S, B]
    without = {"a": [1e9], "b": [1e9], "c": [2e9 + 1]}
    assert statuses("a + b == c", **without) == [B]  # no tolerance relative to the record


def test_a_strict_comparison_has_no_tolerance() -> None:
    text = "variable x: unit 1\n"
    assert statuses(text + "x > 0", x=[0.0, -0.4, 0.1]) == [B, B, S]
    assert statuses(text + "x >= 0", x=[0.0, -0.5, -0.6]) == [S, S, B]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e9])
def test_binary_rounding_breaks_no_rule_and_satisfies_none(scale: float) -> None:
    columns = {"a": [0.1 * scale], "b": [0.2 * scale], "c": [0.3 * scale]}
    assert columns["a"][0] + columns["b"][0] != columns["c"][0] or scale != 1.0
    assert statuses("a + b == c", **columns) == [S]
    assert statuses("a + b <= c", **columns) == [S]
    assert statuses("a + b > c", **columns) == [B]
    assert statuses("a + b != c", **columns) == [B]
    assert statuses("a + b == c", **(columns | {"c": [0.3 * scale * (1 + 1e-12)]})) == [B]


def test_a_large_value_elsewhere_makes_no_record_coarser() -> None:
    columns = {"a": [1e15, 0.0, 0.0], "b": [1e15, 1e-9, -1e-9]}
    assert statuses("a == b", **columns) == [S, B, B]
    assert statuses("a < b", **columns) == [B, S, B]


# --- what columns hold -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, -1, None], dtype="Int64"),
        pd.Series([1, -1, None], dtype="Float32"),
        pd.Series([1, Decimal(-1), None], dtype=object),
        pd.Series([1, -1, pd.NA], dtype=object),
        pd.Series([1, -1, np.nan]),
    ],
)
def test_numbers_of_any_kind(column: pd.Series[Any]) -> None:
    assert statuses("x >= 0", x=column) == [S, B, U]


def test_arrow_columns() -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"x": [1, -1, None], "s": ["a", "b", None], "m": [True, False, None]})
    frame = frame.astype({"x": "float64[pyarrow]", "s": "string[pyarrow]", "m": "bool[pyarrow]"})
    check = EditRules.from_text('x >= 0\ns == "a"\nm').check(frame)
    assert check.status.tolist() == [[S] * 3, [B] * 3, [U] * 3]


def test_unsigned_and_small_integers_do_not_overflow() -> None:
    small = pd.Series([200, 100], dtype="uint8")
    assert statuses("x + y == 300", x=small, y=small) == [B, B]
    assert statuses("x - 250 < 0", x=small) == [S, S]


@pytest.mark.parametrize(
    "column",
    [
        [True, False, None],
        [1, 0, np.nan],
        pd.Series([True, False, None], dtype="boolean"),
        pd.Series(["1", "0", None]).map({"1": True, "0": False}),
    ],
)
def test_truth_values_of_any_kind(column: Any) -> None:
    assert statuses("paid", paid=column) == [S, B, U]
    assert statuses("not paid", paid=column) == [B, S, U]


@pytest.mark.parametrize("dtype", ["str", "category", object, "string"])
def test_text_of_any_kind_and_empty_text_is_missing(dtype: Any) -> None:
    column = pd.Series(["a", "b", None, "", "é"], dtype=object).astype(dtype)
    assert statuses('s in {"a", "é"}', s=column) == [S, B, U, U, S]
    assert statuses('s not in {"a", "é"}', s=column) == [B, S, U, U, B]


def test_names_with_blanks_and_other_scripts() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["other costs", "größe", "売上"])
    rules = EditRules.from_text("`other costs` + größe == 売上")
    assert rules.check(frame).status.tolist() == [[S]]


# --- the result ------------------------------------------------------------------------------


@pytest.fixture
def people() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "married": [True, True, False, None],
            "age": [16, 30, 12, 10],
            "a": [1, 2, None, 4],
            "total": [1, 3, 3, 4],
        },
        index=["p", "q", "r", "r"],
    )


RULES = EditRules.from_text(
    "adult: if married then age >= 17\nbalance: a == total\nyoung: age <= 15 [soft 2.5]"
)


def test_the_matrix_and_what_follows(people: pd.DataFrame) -> None:
    check = RULES.check(people)
    assert check.status.tolist() == [[B, S, B], [S, B, B], [S, U, S], [U, S, S]]
    assert check.broken.tolist() == (check.status == B).tolist()
    assert check.failing.tolist() == [True, True, False, False]
    assert check.undecided.tolist() == [False, False, True, True]
    assert check.penalty.tolist() == [2.5, 2.5, 0, 0]
    matrix = check.matrix()
    assert list(matrix.index) == list(people.index)
    assert matrix["adult"].tolist() == ["broken", "satisfied", "satisfied", "unknown"]
    listed = check.broken_rules()
    assert listed[["record", "rule", "hard"]].to_numpy().tolist() == [
        ["p", "adult", True],
        ["p", "young", False],
        ["q", "balance", True],
        ["q", "young", False],
    ]
    with pytest.raises(ValueError, match="read-only"):
        check.status[0, 0] = S


def test_a_record_that_fails_is_not_undecided_too() -> None:
    check = EditRules.from_text("x >= 0\ny >= 0").check(
        pd.DataFrame({"x": [-1, 1], "y": [None] * 2})
    )
    assert check.failing.tolist() == [True, False]
    assert check.undecided.tolist() == [False, True]


def test_the_report_with_weights(people: pd.DataFrame) -> None:
    weights = [1.0, 2.0, 3.0, 4.0]
    check = RULES.check(people, sample_weight=weights)
    frame = check.to_frame()
    assert frame["rule"].tolist()[::2] == ["any hard rule", "adult", "balance", "young"]
    assert frame["unit"].tolist() == ["records", "population"] * 4
    weighted = frame[frame["unit"] == "population"].set_index("rule")
    assert weighted["share"].tolist() == pytest.approx([0.3, 0.1, 0.2, 0.3])
    assert frame.loc[frame["unit"] == "records", "share"].tolist() == [0.5, 0.25, 0.25, 0.5]
    assert weighted.loc["balance", ["broken", "unknown", "satisfied"]].tolist() == [1, 1, 2]
    assert weighted.loc["any hard rule", ["broken", "unknown", "satisfied"]].tolist() == [2, 2, 0]
    expected = proportion([False, True, False, False], design=Design(weights=weights))
    assert check.estimate("balance") == expected
    assert weighted.loc["balance", "high"] == expected.high
    assert check.estimate("balance", unit="records").value == 0.25
    with pytest.raises(KeyError, match="Did you mean balance"):
        check.estimate("balanc")
    with pytest.raises(ValueError, match="'records', 'population'"):
        check.estimate("balance", unit="people")


def test_the_design_decides_the_interval(people: pd.DataFrame) -> None:
    four = pd.concat([people] * 5)
    clusters = np.repeat([1, 2, 3, 4, 5], 4)
    clustered = RULES.check(four, design=Design(psu=clusters))
    plain = RULES.check(four)
    assert clustered.estimate().standard_error < plain.estimate().standard_error  # all alike
    assert clustered.to_frame()["unit"].unique().tolist() == ["records"]
    weights = np.linspace(1, 2, 20)
    replicates = ReplicateDesign(weights, np.outer(weights, [1.1, 0.9]), df=1)
    assert RULES.check(four, design=replicates).to_frame()["unit"].nunique() == 2


def test_views(people: pd.DataFrame) -> None:
    rules = EditRules.from_text('x: s != "<i>"\nadult: if married then age >= 17')
    check = rules.check(people.assign(s="a"), sample_weight=[1, 2, 3, 4])
    page = check._repr_html_()
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
    assert "share of the population" in page
    assert "not applicable" not in page
    text = repr(check)
    assert "2 rules, 4 records" in text
    assert "10.00%" in text
    assert "valid for independent selection only" in text
    ax = check.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "adult"]
    assert ax.get_xlabel() == "share of the population"
    assert check.plot(ax) is ax
    mpl.pyplot.close("all")


# --- bad input -------------------------------------------------------------------------------

GOOD = {"x": [1.0, 2.0], "s": ["a", "b"], "m": [True, False]}


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"x": ["1", "2"]}, TypeError, "used as a number, but holds '1' in record 0"),
        ({"x": [None, pd.Timestamp("2020-01-01")]}, TypeError, "used as a number"),
        ({"x": pd.Categorical(["1", "2"])}, TypeError, "used as a number"),
        ({"x": [1, "2"]}, TypeError, "1 such values in all"),
        ({"x": [True, False]}, TypeError, "holds True in record 0"),
        ({"x": [1, True]}, TypeError, "1 such values"),
        ({"x": [1 + 2j, 2]}, TypeError, "complex"),
        ({"x": pd.to_datetime(["2020-01-01"] * 2)}, TypeError, "used as a number"),
        ({"x": [[1], [2]]}, TypeError, "used as a number"),
        ({"x": [1, np.inf]}, ValueError, "1 infinite values, the first in record 1"),
        ({"x": [-np.inf, Decimal(3)]}, ValueError, "infinite"),
        ({"s": [1, 2]}, TypeError, "compared with text, but holds 1"),
        ({"s": ["a", 2]}, TypeError, "compared with text, but holds 2"),
        ({"m": ["yes", "no"]}, TypeError, 'm == "yes"'),
        ({"m": [0, 2]}, TypeError, "holds 2"),
        ({"x": []} | {"s": [], "m": []}, ValueError, "no records"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    change: dict[str, Any], error: type[Exception], reason: str
) -> None:
    rules = EditRules.from_text('x >= 0\ns == "a"\nm')
    with pytest.raises(error, match=reason):
        rules.check(pd.DataFrame(GOOD | change))


def test_frames_that_do_not_fit_are_refused() -> None:
    rules = EditRules.from_text("turnover >= 0\nvariable turnover: applies if active")
    with pytest.raises(ValueError, match="no column turnover, active, which the rule rule_1 names"):
        rules.check(pd.DataFrame({"turn over": [1]}))
    with pytest.raises(ValueError, match="which a condition names"):
        rules.check(pd.DataFrame({"turnover": [1]}))
    twice = pd.DataFrame([[1, 2, 3, True]], columns=["turnover", "turnover", "a", "active"])
    with pytest.raises(ValueError, match="more than one column named turnover"):
        rules.check(twice)
    fine = pd.DataFrame([[1, 2, 3, True]], columns=["turnover", "a", "a", "active"])
    assert rules.check(fine).status.tolist() == [[S]]  # other columns are not looked at
    with pytest.raises(TypeError, match="give a pandas DataFrame"):
        rules.check({"turnover": [1]})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no rules"):
        rules.involving("none").check(fine)


def test_weights_that_do_not_fit_are_refused() -> None:
    rules, frame = EditRules.from_text("x >= 0"), pd.DataFrame({"x": [1, 2, 3]})
    for weights in ([1, 2], [1, 2, -1], [1, 2, np.nan], [0, 0, 0]):
        with pytest.raises(ValueError, match="weights"):
            rules.check(frame, sample_weight=weights)
    with pytest.raises(ValueError, match="Both"):
        rules.check(frame, sample_weight=[1, 1, 1], design=Design(weights=[1, 1, 1]))


def test_one_record_has_a_report() -> None:
    check = EditRules.from_text("x >= 0").check(pd.DataFrame({"x": [-1]}))
    assert isinstance(check, RuleCheck)
    assert check.estimate().value == 1
    assert "1 records" in repr(check)


def test_a_column_of_blanks_that_mean_zero() -> None:
    """All None, as an object column: once its zeros could not be written."""
    rules = EditRules.from_text("variable bonus: zero if blank\npaid: bonus + wage >= 1")
    frame = pd.DataFrame({"bonus": pd.Series([None, None], dtype=object), "wage": [0, 5]})
    assert rules.check(frame).failing.tolist() == [True, False]
