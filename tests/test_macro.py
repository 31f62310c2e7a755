"""Macro editing: totals against last period, contributions that add up, births, deaths, moves."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from mlkit.editing import TotalsComparison, compare_totals, hidiroglou_berthelot

mpl.use("agg")

PREVIOUS = pd.DataFrame(
    {
        "sector": ["food", "food", "toys", "toys", "toys"],
        "region": ["n", "s", "n", "s", "s"],
        "turnover": [100.0, 200, 50, 60, 40],
        "staff": [1.0, 2, 3, 4, np.nan],
        "weight": [1.0, 1, 2, 2, 1],
    },
    index=list("abcde"),
)
# b moves to toys, c has a thousand-error, d dies, e answers for staff, f is born.
CURRENT = pd.DataFrame(
    {
        "sector": ["toys", "food", "toys", "food", "toys"],
        "region": ["n", "s", "s", "n", "n"],
        "turnover": [52_000.0, 110, 45, 30, 205],
        "staff": [3.0, 1, 5, np.nan, 2],
        "weight": [2.0, 1, 1, 3, 1],
    },
    index=list("caefb"),
)


def make_periods(n: int = 3_000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make two periods with births, deaths, moves, missing values and changing weights."""
    rng = np.random.default_rng(seed)
    index = [f"F{i:05d}" for i in range(n)]
    previous = pd.DataFrame(
        {
            "sector": rng.choice(list("ABCDEFGHIJKLMNO"), n),
            "region": rng.integers(0, 4, n),
            "turnover": rng.lognormal(5, 1.5, n),
            "profit": rng.normal(10, 50, n),
            "weight": rng.uniform(1, 20, n),
        },
        index=index,
    )
    current = previous.copy()
    current["turnover"] *= rng.lognormal(0.03, 0.1, n)
    current["profit"] += rng.normal(0, 5, n)
    current["weight"] *= rng.uniform(0.9, 1.1, n)
    current.loc[rng.random(n) < 0.05, "sector"] = "A"
    current.loc[rng.random(n) < 0.03, "turnover"] = np.nan
    previous.loc[rng.random(n) < 0.03, "turnover"] = np.nan
    current = current.drop(current.index[rng.random(n) < 0.1])
    previous = previous.drop(previous.index[rng.random(n) < 0.1])
    return current.sample(frac=1, random_state=seed), previous


# --- by hand ---------------------------------------------------------------------------------


def test_totals_by_hand() -> None:
    found = compare_totals(
        CURRENT, PREVIOUS, "turnover", by=["sector"], weights="weight", tolerance=0.5
    )
    table = found.to_frame().set_index("cell")
    assert table["previous"].to_dict() == {"all": 560, "food": 300, "toys": 260}
    assert table["current"].to_dict() == {"all": 104_450, "food": 200, "toys": 104_250}
    assert table["change"].to_dict() == pytest.approx(
        {"all": 103_890 / 560, "food": -1 / 3, "toys": 103_990 / 260}
    )
    assert table["share"].to_dict() == pytest.approx(
        {"all": 1, "food": 200 / 104_450, "toys": 104_250 / 104_450}
    )
    assert table["previous_share"]["food"] == pytest.approx(300 / 560)
    assert table["births"].to_dict() == {"all": 1, "food": 1, "toys": 0}
    assert table["deaths"].to_dict() == {"all": 1, "food": 0, "toys": 1}
    assert table["moved"].to_dict() == {"all": 0, "food": 1, "toys": 1}
    assert table["records"].to_dict() == {"all": 6, "food": 3, "toys": 4}
    assert table["status"].to_dict() == {"all": "flagged", "food": "inside", "toys": "flagged"}
    assert found.flagged()["cell"].to_list() == ["toys", "all"]


def test_drill_down_by_hand() -> None:
    found = compare_totals(CURRENT, PREVIOUS, "turnover", by=["sector"], weights="weight")
    toys = found.drill_down(level="sector", cell="toys")
    records = toys.to_frame()
    assert records["contribution"].to_dict() == {"c": 103_900, "b": 205, "d": -120, "e": 5}
    assert records["status"].to_dict() == {
        "c": "stayed",
        "b": "moved in",
        "d": "death",
        "e": "stayed",
    }
    assert records.loc[
        "c", ["previous", "current", "previous_weight", "current_weight"]
    ].to_list() == [
        50,
        52_000,
        2,
        2,
    ]
    assert np.isnan(records.loc["b", "previous"])
    assert toys.difference == 103_990
    assert records["share"].sum() == pytest.approx(1)
    food = found.drill_down(level="sector", cell="food").to_frame()
    assert food["contribution"].to_dict() == {"b": -200, "f": 90, "a": 10}
    assert food["status"].to_dict() == {"b": "moved out", "f": "birth", "a": "stayed"}
    parts = toys.by_status().set_index("status")
    assert parts["contribution"].to_dict() == {"stayed": 103_905, "moved in": 205, "death": -120}
    assert parts["records"].to_dict() == {"stayed": 2, "moved in": 1, "death": 1}


def test_missing_values_add_nothing_and_are_named() -> None:
    found = compare_totals(CURRENT, PREVIOUS, ["turnover", "staff"])
    row = found.to_frame().set_index("variable").loc["staff"]
    assert (row["previous"], row["current"], row["missing"]) == (10, 11, 2)
    records = found.drill_down("staff").to_frame()
    assert records.loc["e", "status"] == "no value before"
    assert records.loc["e", "contribution"] == 5
    assert records.loc["f", "status"] == "birth"  # and its value is missing
    assert records.loc["f", "contribution"] == 0
    gone = compare_totals(CURRENT.mask(CURRENT["staff"] == 3), PREVIOUS, "staff")
    assert gone.drill_down().to_frame().loc["c", "status"] == "no value now"


# --- in general ------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, "weight"])
def test_contributions_add_up_in_every_cell_of_every_level(weights: str | None) -> None:
    current, previous = make_periods()
    found = compare_totals(
        current,
        previous,
        ["turnover", "profit"],
        by=["sector", "region", ["sector", "region"]],
        weights=weights,
    )
    assert found.levels == ("all", "sector", "region", "sector x region")
    for row in found.to_frame().iloc[::7].itertuples():
        drill = found.drill_down(row.variable, level=row.level, cell=row.cell)
        records = drill.records
        scale = records["contribution"].abs().sum()
        assert records["contribution"].sum() == pytest.approx(row.difference, abs=1e-11 * scale)
        assert records.index.is_unique
        assert len(records) == row.records
        assert (records["status"] == "birth").sum() == row.births
        assert (records["status"] == "death").sum() == row.deaths
        assert records["status"].isin(["moved in", "moved out"]).sum() == row.moved
        assert (records["contribution"].abs().diff().dropna() <= 0).all()


def test_totals_against_pandas_and_cells_add_up_to_all() -> None:
    current, previous = make_periods(seed=1)
    found = compare_totals(current, previous, "turnover", by=["sector"], weights="weight")
    table = found.to_frame().set_index("cell")
    for frame, name in ((current, "current"), (previous, "previous")):
        amounts = frame["turnover"] * frame["weight"]
        expected = amounts.groupby(frame["sector"]).sum()
        assert table.loc[expected.index, name].to_list() == pytest.approx(expected.to_list())
        assert table.loc["all", name] == pytest.approx(amounts.sum())
        shares = "share" if name == "current" else "previous_share"
        assert table[shares].drop("all").sum() == pytest.approx(1)


def test_order_of_rows_does_not_matter_and_inputs_are_not_touched() -> None:
    current, previous = make_periods(500)
    copies = current.copy(), previous.copy()
    one = compare_totals(current, previous, "turnover", by=["sector"])
    other = compare_totals(current.iloc[::-1], previous, "turnover", by=["sector"])
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())
    pd.testing.assert_frame_equal(current, copies[0])
    pd.testing.assert_frame_equal(previous, copies[1])


def test_a_death_in_the_last_row_is_a_death_beside_a_birth() -> None:
    previous = PREVIOUS.loc[list("abced")]
    table = compare_totals(CURRENT, previous, "turnover", by=["sector"]).to_frame()
    assert table.set_index("cell")["deaths"].to_dict() == {"all": 1, "food": 0, "toys": 1}


def test_flags_are_those_of_hidiroglou_and_berthelot_among_cells() -> None:
    current, previous = make_periods()
    current.iloc[3, current.columns.get_loc("turnover")] = 1e6
    found = compare_totals(current, previous, ["turnover", "profit"], by=["sector"], c=5)
    table = found.to_frame().query("level == 'sector' and variable == 'turnover'")
    alone = hidiroglou_berthelot(table["current"], table["previous"], c=5)
    assert (table["status"] == "flagged").tolist() == alone.outside.tolist()
    # A is where units move to, and 1e6 sits in another sector.
    sector = current["sector"].iloc[3]
    assert sector in found.flagged()["cell"].to_list()
    assert found.to_frame().query("level == 'all'")["status"].eq("not judged").all()


def test_too_few_cells_are_not_judged_but_a_tolerance_always_judges() -> None:
    current, previous = make_periods(400)
    found = compare_totals(current, previous, "turnover", by=["region"])
    assert (found.to_frame()["status"] == "not judged").all()
    judged = compare_totals(current, previous, "turnover", by=["region"], tolerance=0.01)
    assert set(judged.to_frame()["status"]) <= {"flagged", "inside"}


def test_cells_that_begin_or_end() -> None:
    current = pd.DataFrame({"cell": ["a", "b", "z"], "y": [1.0, 2, 0]}, index=[1, 2, 4])
    previous = pd.DataFrame({"cell": ["a", "c", "z"], "y": [1.0, 5, 0]}, index=[1, 3, 4])
    found = compare_totals(current, previous, "y", by=["cell"], tolerance=0.5)
    table = found.to_frame().set_index("cell")
    assert table["status"].to_dict() == {
        "all": "inside",
        "a": "inside",
        "b": "flagged",
        "c": "flagged",
        "z": "inside",
    }
    assert np.isnan(table["change"]["b"])
    assert table["change"]["c"] == -1
    ended = found.drill_down(level="cell", cell="c")
    assert ended.to_frame()["status"].to_dict() == {3: "death"}
    still = found.drill_down(level="cell", cell="z").to_frame()
    assert still["share"].isna().all()


def test_negative_totals_change_by_their_size() -> None:
    current = pd.DataFrame({"y": [-50.0]}, index=["a"])
    previous = pd.DataFrame({"y": [-100.0]}, index=["a"])
    found = compare_totals(current, previous, "y", tolerance=0.1)
    assert found.to_frame()["change"].to_list() == [0.5]


def test_macro_editing_finds_the_one_record_that_moves_the_total() -> None:
    current, previous = make_periods(seed=4)
    culprit = current.index[17]
    current.loc[culprit, "turnover"] = 300_000
    found = compare_totals(current, previous, "turnover", by=["sector"], weights="weight")
    worst = found.flagged().iloc[0]
    assert worst["cell"] == current.loc[culprit, "sector"]
    records = found.drill_down(level="sector", cell=worst["cell"]).to_frame()
    assert records.index[0] == culprit


# --- views, figures --------------------------------------------------------------------------


def test_views() -> None:
    found = compare_totals(
        CURRENT, PREVIOUS, ["turnover", "staff"], by=["sector", ["sector", "region"]], tolerance=0.3
    )
    assert isinstance(found, TotalsComparison)
    assert "flagged" in repr(found)
    assert "toys / n" in found._repr_html_()
    drill = found.drill_down("turnover")
    assert "turnover, all: from 450 to 52,390, +51,940" in repr(drill)
    assert "<table" in drill._repr_html_()
    current, previous = make_periods()
    many = compare_totals(current, previous, "profit", by=[["sector", "region"]], tolerance=0.01)
    assert "more flagged" in repr(many)
    assert "other records" in repr(many.drill_down())
    with pytest.raises(AttributeError):
        found.table = None  # type: ignore[misc]


def test_figures() -> None:
    import matplotlib.pyplot as plt

    current, previous = make_periods()
    found = compare_totals(current, previous, ["turnover", "profit"], by=["sector"], tolerance=0.05)
    _, given = plt.subplots()
    assert found.plot(given, variable="turnover") is given
    assert "flagged" in [text.get_text() for text in given.get_legend().get_texts()]
    found.plot(variable="profit")
    bars = found.drill_down("turnover").plot()
    assert bars.get_yticklabels()[10].get_text().endswith("others")
    small = compare_totals(CURRENT, PREVIOUS, "turnover").drill_down().plot()
    assert "f (birth)" in [label.get_text() for label in small.get_yticklabels()]
    with pytest.raises(KeyError, match="name one of turnover, profit"):
        found.plot()
    plt.close("all")


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"current": CURRENT.iloc[:0]}, ValueError, "current has no records"),
        ({"previous": PREVIOUS["turnover"]}, TypeError, "previous is a Series"),
        ({"current": CURRENT.set_axis(list("aabcd"))}, ValueError, "such as 'a'"),
        ({"values": []}, ValueError, "names no column"),
        ({"values": ["turnover", "turnover"]}, ValueError, "a column twice"),
        ({"values": "income"}, ValueError, "no column 'income'"),
        ({"values": "sector"}, TypeError, "used as a number"),
        (
            {"current": pd.concat([CURRENT, CURRENT[["staff"]]], axis=1), "values": "staff"},
            ValueError,
            "more than one column 'staff'",
        ),
        ({"current": CURRENT.assign(turnover=np.inf)}, ValueError, "infinite"),
        ({"current": CURRENT.assign(turnover=np.nan)}, ValueError, "All 5 values"),
        ({"current": CURRENT.assign(weight=np.nan)}, ValueError, "All 5 values of weight"),
        ({"current": CURRENT.assign(weight=[1, 1, 1, 1, np.nan])}, ValueError, "1 missing values"),
        ({"previous": PREVIOUS.assign(weight=-1.0)}, ValueError, "5 negative values"),
        ({"previous": PREVIOUS.assign(weight=0.0)}, ValueError, "All weights of previous are 0"),
        ({"by": ["industry"]}, ValueError, "no column 'industry'"),
        ({"by": ["sector", "sector"]}, ValueError, "each level once"),
        ({"by": [[]]}, ValueError, "each level once"),
        ({"previous": PREVIOUS.assign(sector=None)}, ValueError, "5 of 10 records have no sector"),
        ({"previous": PREVIOUS.assign(sector="x")}, ValueError, "No cell of sector is in both"),
        ({"tolerance": -0.1}, ValueError, "tolerance=-0.1"),
        ({"c": 0}, ValueError, "c=0"),
        ({"u": 2}, ValueError, "u=2"),
        ({"a": -1}, ValueError, "a=-1"),
    ],
)
def test_compare_totals_refuses(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    given: dict[str, Any] = {
        "current": CURRENT,
        "previous": PREVIOUS,
        "values": "turnover",
        "by": ["sector"],
        "weights": "weight",
    }
    with pytest.raises(error, match=message):
        compare_totals(**(given | options))


def test_drill_down_refuses() -> None:
    found = compare_totals(CURRENT, PREVIOUS, ["turnover", "staff"], by=["sector"])
    with pytest.raises(KeyError, match="name one of turnover, staff"):
        found.drill_down()
    with pytest.raises(KeyError, match="name one of all, sector"):
        found.drill_down("staff", level="region")
    with pytest.raises(KeyError, match="'food', 'toys'"):
        found.drill_down("staff", level="sector", cell="steel")
    with pytest.raises(KeyError, match="without its level"):
        found.drill_down("staff", cell="food")
