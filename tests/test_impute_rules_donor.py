"""Donors are clean, near and of the same class, and the rules hold afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.editing import EditRules
from mlkit.editing._adjust import adjust_to_rules
from mlkit.editing._donor import impute_from_donors

nan = np.nan
RULES = EditRules.from_text("wage <= 100 * hours\nwage >= 0")
WORKERS = pd.DataFrame(
    {
        "hours": [10.0, 38.0, 40.0, 39.0, 9.0, 2.0],
        "age": [30.0, 31.0, 52.0, 50.0, 29.0, 51.0],
        "wage": [500.0, 2000.0, 2600.0, nan, nan, nan],
        "region": ["n", "n", "s", "n", "s", "s"],
    },
    index=list("abcdef"),
)


def test_the_nearest_donor_after_whose_values_the_rules_hold() -> None:
    done = impute_from_donors(WORKERS, RULES, WORKERS.isna(), match_on=["age"])
    # 50 is nearest to 52; 29 to 30; for 51 and 2 hours no wage will do.
    assert done.frame["wage"].tolist()[3:5] == [2600, 500]
    assert done.donor.tolist()[3:5] == ["c", "a"]
    assert done.status.tolist()[3:] == ["imputed", "imputed", "rules broken"]
    assert done.frame["wage"].isna().tolist() == [False] * 5 + [True]
    assert done.left["wage"].tolist() == [False] * 5 + [True]
    # The nearest by age earns too much for 9 hours where he is the only one tried.
    other = WORKERS.assign(age=[60.0, 29.0, 52.0, 50.0, 29.0, 51.0])
    wanted = other.isna() & (other.index == "e")[:, None]
    one = impute_from_donors(other, RULES, wanted, match_on=["age"], most_donors=1)
    assert one.status["e"] == "rules broken"
    more = impute_from_donors(other, RULES, wanted, match_on=["age"])
    assert more.donor["e"] == "a"


def test_classes() -> None:
    done = impute_from_donors(WORKERS, RULES, WORKERS.isna(), match_on=["age"], within=["region"])
    assert done.donor["d"] == "b"
    assert done.status["e"] == "rules broken"
    alone = WORKERS.assign(region=["n", "n", "n", "n", "s", "s"])
    done = impute_from_donors(alone, RULES, alone.isna(), match_on=["age"], within=["region"])
    assert done.status.tolist()[3:] == ["imputed", "no donor", "no donor"]


def test_donors_are_clean() -> None:
    frame = pd.DataFrame(
        {
            "x": [1.0, 1.0, 1.0, 1.0, 9.0, 1.0],
            "y": [5.0, nan, 5.0, -1.0, 2.0, nan],
            "z": [nan, 3.0, 4.0, 3.0, 3.0, 3.0],
        }
    )
    rules = EditRules.from_text("y >= 0\nz >= 0")
    asked = pd.DataFrame({"y": [False, False, True, False, False, True]})
    done = impute_from_donors(frame, rules, asked, match_on=["x"])
    # 0 lacks z, 1 lacks y, 2 is flagged itself, 3 breaks a rule: only 4 is clean.
    assert done.donor.dropna().tolist() == [4, 4]
    # What a flagged cell holds is not looked at, nor what it would match on.
    assert done.frame.loc[2].tolist() == [1, 2, 4]
    by_itself = impute_from_donors(frame, rules, asked, match_on=["y"])
    assert by_itself.status.tolist()[2] == "no match"


def test_all_cells_of_a_record_come_from_one_donor() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.lognormal(3, 1, 300)})
    frame["a"] = np.round(frame["size"] * 2)
    frame["b"] = -frame["a"]
    frame["s"] = rng.choice(["x", "y"], 300)
    asked = pd.DataFrame(False, frame.index, frame.columns)
    asked.loc[:49, ["a", "b", "s"]] = True
    rules = EditRules.from_text('a + b == 0\ns in {"x", "y"}')
    done = impute_from_donors(frame.mask(asked), rules, asked, match_on=["size"])
    assert (done.frame["a"] == -done.frame["b"]).all()
    givers = frame.loc[done.donor[:50].astype(int)].reset_index(drop=True)
    assert done.frame.loc[:49, ["a", "b", "s"]].equals(givers[["a", "b", "s"]])
    assert done.frame["s"].dtype == frame["s"].dtype


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=25),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_ties_go_to_the_smallest_identifier_whatever_the_order(
    rows: Any, most: int, random: Any
) -> None:
    frame = pd.DataFrame(rows, columns=["x", "y"], dtype=float)
    frame["y"] = frame["y"].mask(frame.index % 3 == 0)
    rules = EditRules.from_text("y >= 1")
    done = impute_from_donors(frame, rules, frame.isna(), match_on=["x"], most_donors=most)
    donors = frame[frame["y"] >= 1]
    shares = (donors["x"].rank(method="average") - 0.5) / len(donors)
    for record in frame.index[frame["y"].isna()]:
        if not len(donors):
            assert done.status[record] == "no donor"
            continue
        points = shares.groupby(donors["x"]).first()
        place = np.interp(frame["x"][record], points.index, points)
        distance = (shares - place).abs().round(9)
        assert done.donor[record] == distance.index[distance.argmin()]
    order = list(frame.index)
    random.shuffle(order)
    mixed = frame.loc[order]
    again = impute_from_donors(mixed, rules, mixed.isna(), match_on=["x"], most_donors=most)
    pd.testing.assert_series_equal(again.donor.loc[frame.index], done.donor)


def test_more_donors_are_equally_near_than_are_tried() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(1, 4, (900, 2)), columns=["x", "z"], dtype=float)
    frame["y"] = np.where((rng.random(900) < 0.1) & (frame.index >= 400), nan, 1.0)
    rules = EditRules.from_text("y >= 0")
    match_on = ["x", "z"]
    done = impute_from_donors(frame, rules, frame.isna(), match_on=match_on, most_donors=3)
    first = frame[frame["y"].notna()].reset_index().groupby(match_on)["index"].min()
    alike = pd.MultiIndex.from_frame(frame.loc[frame["y"].isna(), match_on])
    assert done.donor.dropna().tolist() == first.loc[alike].tolist()


def test_balances_by_donors_and_adjustment() -> None:
    """A donor's amounts do not add up to the recipient's total; adjusted ones do."""
    rng = np.random.default_rng(3)
    n = 400
    frame = pd.DataFrame({"staff": rng.integers(1, 60, n).astype(float)})
    frame["home"] = np.round(frame["staff"] * rng.lognormal(4, 0.3, n))
    frame["export"] = np.round(frame["home"] * rng.uniform(0, 1, n))
    frame["turnover"] = frame["home"] + frame["export"]
    rules = EditRules.from_text(
        "balance: home + export == turnover\nhome >= 0\nexport >= 0\nturnover <= 1000 * staff"
    )
    asked = pd.DataFrame(False, frame.index, frame.columns)
    asked.loc[:99, ["home", "export"]] = True
    strict = impute_from_donors(frame.mask(asked), rules, asked, match_on=["turnover", "staff"])
    assert (strict.status[:100] == "rules broken").mean() > 0.9
    loose = impute_from_donors(
        frame.mask(asked), rules.without("balance"), asked, match_on=["turnover", "staff"]
    )
    assert (loose.status[:100] == "imputed").all()
    assert rules.check(loose.frame).failing.sum() > 90
    done = adjust_to_rules(loose.frame, rules, asked)
    assert not rules.check(done.frame).failing.any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"match_on": []}, ValueError, "is empty"),
        ({"match_on": ["z"]}, ValueError, "'z'"),
        ({"match_on": ["region"]}, TypeError, "needs numbers"),
        ({"match_on": "age"}, TypeError, "give a list"),
        ({"within": ["z"]}, ValueError, "'z'"),
        ({"within": ["wage"]}, ValueError, "missing or to be imputed"),
        ({"most_donors": 0}, ValueError, "at least one"),
        ({"most_donors": 2.5}, TypeError, "whole number"),
        ({"impute": WORKERS.isna().iloc[:2]}, ValueError, "other records"),
        ({"frame": WORKERS.set_axis([1, "a", 2, 3, 4, 5])}, ValueError, "other records"),
        ({"frame": WORKERS.set_axis(list("aabcde"))}, ValueError, "identifiers"),
        ({"frame": WORKERS.assign(wage="x")}, TypeError, "is used as a number"),
        ({"rules": EditRules.from_text("wage >= 1\nwage <= 0")}, ValueError, "contradict"),
    ],
)
def test_bad_input(change: dict[str, Any], error: type, message: str) -> None:
    given = {"frame": WORKERS, "rules": RULES, "impute": WORKERS.isna(), "match_on": ["age"]}
    with pytest.raises(error, match=message):
        impute_from_donors(**given | change)


def test_identifiers_without_an_order_are_refused() -> None:
    mixed = WORKERS.set_axis([1, "a", 2, 3, 4, 5])
    with pytest.raises(TypeError, match="cannot be put in order"):
        impute_from_donors(mixed, RULES, mixed.isna(), match_on=["age"])
