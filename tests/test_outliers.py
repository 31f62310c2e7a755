"""Outliers by quartiles and by Hidiroglou and Berthelot: Banff's figures, edges, bad input."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from mlkit.editing import (
    OutlierStatus,
    QuartileOutliers,
    RatioOutliers,
    hidiroglou_berthelot,
    quartile_outliers,
)

mpl.use("agg")

FIRST = [2, 19, 9, 1, -8, 5, 7, 9, 2, -3, 17, 2, 14, 3, -1]
SECOND = [4, 1, -12, 3, 0, 7, 1, -6, 18, 18, 11, 7, -1, 16, 10]

# Seventeen records, of which Banff 3.1.3 computed the figures below.
PREVIOUS = [420, 4, 83, 31, 35, 44, 7, 43, 23, 1515, 68, 38, 41, 28, 19, 37, 88]
CURRENT = [443, 5, 88, 340, 53, 7, 7, 46, 28, 2466, 71, 40, 55, 26, 20, 49, 109]


def found_by_value(found: QuartileOutliers) -> dict[float, str]:
    flagged = found.flagged()
    return dict(zip(flagged["value"], flagged["status"], strict=True))


# --- quartiles, against Banff ----------------------------------------------------------------


def test_a15_first_example_of_banff_outlier01() -> None:
    found = quartile_outliers(FIRST, exclusion=2.5, imputation=4, minimum_distance=0.05)
    row = found.to_frame().iloc[0]
    assert (row["q1"], row["median"], row["q3"]) == (1, 3, 9)
    assert (row["exclude_low"], row["exclude_high"]) == (-2, 18)
    assert (row["impute_low"], row["impute_high"]) == (-5, 27)
    assert found_by_value(found) == {-8: "impute", -3: "exclude", 19: "exclude"}
    assert FIRST[int(np.flatnonzero(found.to_impute)[0])] == -8
    assert int(found.to_exclude.sum()) == 2


def test_a15_second_example_of_banff_outlier01() -> None:
    found = quartile_outliers(SECOND, exclusion=2.5, imputation=4, minimum_distance=0.05)
    row = found.to_frame().iloc[0]
    assert (row["median"], row["q3"]) == (4, 11)
    assert (row["exclude_low"], row["exclude_high"]) == (-6, 21.5)
    assert (row["impute_low"], row["impute_high"]) == (-12, 32)
    # -12 lies on the bound of imputation and -6 on that of exclusion: both lie inside it.
    assert found_by_value(found) == {-12: "exclude"}


@pytest.mark.parametrize(
    ("n", "quartiles"),
    [
        # Percentiles that Banff 3.1.3 printed for 10, 20, ..., 10 n.
        (3, (10, 20, 30)),
        (4, (12.5, 25, 37.5)),
        (5, (15, 30, 45)),
        (8, (22.5, 45, 67.5)),
        (13, (35, 70, 105)),
        (100, (252.5, 505, 757.5)),
        (102, (257.5, 515, 772.5)),
    ],
)
def test_quartiles_are_those_of_banff(n: int, quartiles: tuple[float, ...]) -> None:
    values = np.random.default_rng(n).permutation(np.arange(1, n + 1) * 10)
    row = quartile_outliers(values, imputation=2).to_frame().iloc[0]
    assert (row["q1"], row["median"], row["q3"]) == pytest.approx(quartiles)


def test_minimum_distance_keeps_a_class_without_spread_as_banff_does() -> None:
    found = quartile_outliers([5] * 8 + [6, 7], exclusion=2, imputation=4)
    assert found_by_value(found) == {6: "exclude", 7: "impute"}
    bare = quartile_outliers([5] * 9 + [5.1], imputation=4, minimum_distance=0)
    assert found_by_value(bare) == {5.1: "impute"}
    assert found_by_value(quartile_outliers([5] * 9 + [5.1], imputation=4)) == {}
    assert "no distance on either side" in bare.to_frame()["note"].iloc[0]


def test_a_median_of_zero_has_no_minimum_and_says_so() -> None:
    found = quartile_outliers([0] * 8 + [6, -7], exclusion=2, imputation=4)
    assert found_by_value(found) == {6: "impute", -7: "impute"}
    assert "no distance on either side" in repr(found)


def test_values_times_weights_are_banffs_weighted_run() -> None:
    weights = np.array([1, 1, 1, 1, 1, 1, 1, 1, 9, 1])
    values = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 100])
    found = quartile_outliers(weights * values, exclusion=2, imputation=4)
    row = found.to_frame().iloc[0]
    assert (row["q1"], row["median"], row["q3"]) == (2.75, 5.5, 26.25)
    assert (row["impute_low"], row["impute_high"]) == (-5.5, 88.5)
    assert found_by_value(found) == {81: "exclude", 100: "impute"}


def test_missing_values_are_left_out_as_banff_does() -> None:
    values = pd.Series([1, 2, None, 4, 5, 6, 7, 8, 9, 100])
    found = quartile_outliers(values, exclusion=2, imputation=4)
    row = found.to_frame().iloc[0]
    assert (row["records"], row["q1"], row["median"], row["q3"]) == (9, 3, 6, 8.5)
    assert found.status[2] == OutlierStatus.NOT_JUDGED
    assert np.isnan(found.distance[2])
    assert found_by_value(found) == {100: "impute"}


def test_a_value_on_a_bound_that_binary_cannot_write_lies_inside() -> None:
    # Median 0.3, left distance 0.1, multiplier 3: the bound is 0, but 0.3 - 3 * 0.1 is -5e-17,
    # and on the right 0.3 + 3 * 0.1 falls short of 0.6000000000000001 = 3 * 0.2.
    values = [0.0, 0.2, 0.3, 0.3, 0.3, 0.4, 3 * 0.2]
    found = quartile_outliers(values, imputation=3)
    assert found.to_frame()["impute"].iloc[0] == 0


def test_classes_are_judged_by_themselves_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([FIRST, np.array(SECOND) + 1000.0])
    labels = np.repeat(["one", "two"], 15)
    order = rng.permutation(30)
    found = quartile_outliers(values[order], by=labels[order], exclusion=2.5, imputation=4)
    alone = [quartile_outliers(x, exclusion=2.5, imputation=4) for x in (FIRST, SECOND)]
    assert found.to_frame().loc["one"].to_list()[:-1] == alone[0].to_frame().iloc[0].to_list()[:-1]
    status = np.empty(30, dtype=int)
    status[order] = found.status
    assert status[:15].tolist() == alone[0].status.tolist()
    crossed = pd.DataFrame({"a": labels, "b": np.tile(["x", "y", "z"], 10)})
    both = quartile_outliers(values, by=crossed, imputation=4)
    assert both.to_frame().index[0] == ("one", "x")
    assert len(both.to_frame()) == 6


def test_against_numpy_in_many_classes() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 40, 2_000)
    values = rng.normal(0, 1, 2_000)
    values[rng.random(2_000) < 0.1] = np.nan
    table = quartile_outliers(values, by=labels, imputation=3).to_frame()
    for label in range(40):
        inside = values[(labels == label) & ~np.isnan(values)]
        expected = np.quantile(inside, [0.25, 0.5, 0.75], method="weibull")
        assert table.loc[label, ["q1", "median", "q3"]].to_list() == pytest.approx(list(expected))


@pytest.mark.parametrize("classes", [300, 70_000])
def test_many_classes(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(classes), 3))
    values = labels * 10.0 + rng.random(3 * classes)
    table = quartile_outliers(values, by=labels, imputation=3).to_frame()
    expected = pd.Series(values).groupby(labels).agg(["min", "median", "max"])
    assert np.array_equal(table[["q1", "median", "q3"]], expected)


def test_small_classes_are_not_judged_and_few_values_are_noted() -> None:
    values = [1, 2, 1000, *range(12), 500]
    found = quartile_outliers(values, by=["s"] * 3 + ["b"] * 13, imputation=4, min_records=5)
    assert found.to_frame().loc["s", "note"] == "fewer than 5 values: not judged"
    assert (found.status[:3] == OutlierStatus.NOT_JUDGED).all()
    assert found.to_frame().loc["b", "impute"] == 1
    few = quartile_outliers([1, 2, 3, 900], imputation=4)
    assert few.to_frame()["note"].iloc[0] == "fewer than 10 values"
    empty = quartile_outliers([1, 2, 3, np.nan], by=list("aaab"), imputation=4)
    assert empty.to_frame().loc["b", "note"] == "fewer than 3 values: not judged"


def test_index_and_name_are_kept_and_the_input_is_not_touched() -> None:
    values = pd.Series(FIRST, index=[f"F{i}" for i in range(15)], name="turnover", dtype=float)
    before = values.copy()
    found = quartile_outliers(values, exclusion=2.5, imputation=4)
    assert found.to_impute.index.equals(values.index)
    assert found.to_impute.name == "turnover"
    assert found.flagged()["record"].to_list() == ["F4", "F9", "F1"]
    pd.testing.assert_series_equal(values, before)


# --- ratios, against Banff -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("u", "quartiles", "bounds", "outside"),
    [
        # Banff 3.1.3, method HISTORIC, mii = 4, exponent = u: values it calls FTI.
        (0.0, (-0.02042, 0, 0.24597), (-0.08169, 0.98386), {5, 13, 3}),
        (0.5, (-0.19579, 0, 1.77461), (-0.78317, 7.09846), {5, 13, 9, 3}),
        (1.0, (-1.26744, 0, 15.58750), (-5.06977, 62.34998), {5, 0, 9, 3}),
    ],
)
def test_effects_bounds_and_outliers_are_those_of_banff(
    u: float, quartiles: tuple[float, ...], bounds: tuple[float, ...], outside: set[int]
) -> None:
    found = hidiroglou_berthelot(CURRENT, PREVIOUS, u=u, c=4)
    row = found.to_frame().iloc[0]
    assert row["median_ratio"] == pytest.approx(1.06977, abs=5e-6)
    assert row[["q1", "median", "q3"]].to_list() == pytest.approx(list(quartiles), abs=5e-6)
    assert row[["low", "high"]].to_list() == pytest.approx(list(bounds), abs=5e-6)
    assert set(np.flatnonzero(found.outside)) == outside


def test_banffs_narrow_interval_and_effects() -> None:
    found = hidiroglou_berthelot(CURRENT, PREVIOUS, u=0, c=2)
    assert set(np.flatnonzero(found.outside)) == {5, 13, 6, 9, 3}
    assert found.effect[[5, 13, 6, 9, 3]] == pytest.approx(
        [-5.724252, -0.152057, -0.069767, 0.521567, 9.252454], abs=5e-7
    )


def test_zeros_and_missing_values_are_left_out_as_banff_does_and_named() -> None:
    current, previous = [0, *CURRENT[1:]], [420, 0, np.nan, *PREVIOUS[3:]]
    found = hidiroglou_berthelot(current, previous, u=0.5, c=4)
    row = found.to_frame().iloc[0]
    assert row["records"] == 14
    assert row["median_ratio"] == pytest.approx(1.14358, abs=5e-6)
    assert row[["q1", "median", "q3"]].to_list() == pytest.approx(
        [-0.61050, -0.01917, 1.55246], abs=5e-6
    )
    assert row[["low", "high"]].to_list() == pytest.approx([-2.38449, 6.26733], abs=5e-6)
    assert set(np.flatnonzero(found.outside)) == {5, 9, 3}
    assert found.not_judged.to_dict() == {0: "zero now", 1: "zero before", 2: "missing before"}


def test_every_reason_not_to_judge() -> None:
    current = [10, 0, 5, 0, -3, np.nan, np.nan, 5, *range(10, 22)]
    previous = [10, 5, 0, 0, 5, 5, np.nan, -1, *range(10, 22)]
    found = hidiroglou_berthelot(current, previous)
    assert found.not_judged.to_list() == [
        "zero now",
        "zero before",
        "zero in both",
        "negative",
        "missing now",
        "missing in both",
        "negative",
    ]
    assert "Not judged: 7 of 20 records" in repr(found)
    small = hidiroglou_berthelot([1, 2, 3], [1, 2, 3], by=["a", "a", "b"])
    assert set(small.not_judged) == {"small class"}


def test_half_and_double_are_as_far_from_the_median() -> None:
    previous = np.full(21, 100.0)
    current = 100 * np.geomspace(0.5, 2, 21)
    # max(previous, current) differs on both sides, so size must not count.
    found = hidiroglou_berthelot(current, previous, u=0)
    assert found.effect == pytest.approx(-found.effect[::-1])
    assert found.effect[[0, -1]].tolist() == pytest.approx([-1, 1])


def test_the_same_ratio_is_flagged_in_a_large_record_only() -> None:
    rng = np.random.default_rng(0)
    previous = np.concatenate([rng.lognormal(4, 1, 200), [1e5, 10.0]])
    current = previous * np.concatenate([rng.lognormal(0, 0.1, 200), [1.5, 1.5]])
    found = hidiroglou_berthelot(current, previous, u=0.5, c=10)
    assert found.outside[200]
    assert not found.outside[201]
    flat = hidiroglou_berthelot(current, previous, u=0, c=10)
    assert flat.outside[200] == flat.outside[201]


def test_flagged_ratios_lie_outside_the_ratio_bounds_and_the_others_inside() -> None:
    rng = np.random.default_rng(1)
    previous = rng.lognormal(4, 1.5, 500)
    current = previous * rng.lognormal(0.1, 0.3, 500) * np.where(rng.random(500) < 0.05, 10, 1)
    found = hidiroglou_berthelot(current, previous, by=rng.integers(0, 3, 500), u=0.4)
    flagged = found.flagged()
    assert len(flagged) > 10
    assert ((flagged["ratio"] < flagged["low"]) | (flagged["ratio"] > flagged["high"])).all()
    inside = np.flatnonzero(found.status == OutlierStatus.INSIDE)
    low, high = found._ratio_bounds(np.maximum(previous, current)[inside], found.groups[inside])
    ratio = (current / previous)[inside]
    assert ((ratio >= low) & (ratio <= high)).all()
    assert (flagged["distance"].abs().diff().dropna() <= 0).all()


def test_when_most_repeat_last_period_every_change_is_outside_and_it_is_said() -> None:
    previous = np.full(20, 10.0)
    current = np.where(np.arange(20) < 18, 10.0, 10.1)
    found = hidiroglou_berthelot(current, previous)
    assert int(found.outside.sum()) == 2
    assert "no distance on either side" in found.to_frame()["note"].iloc[0]


# --- views, figures --------------------------------------------------------------------------


def test_views_round_and_name_what_was_found() -> None:
    found = quartile_outliers(FIRST, exclusion=2.5, imputation=4)
    assert "1 to impute, 2 to exclude, of 15 values" in repr(found)
    assert "<table" in found._repr_html_()
    only = quartile_outliers(FIRST, imputation=4)
    assert "exclude outside" not in repr(only)
    many = quartile_outliers(np.arange(400.0), by=np.arange(400) % 40, imputation=4)
    assert "10 more classes" in repr(many)
    ratios = hidiroglou_berthelot(CURRENT, PREVIOUS)
    assert "4 outside of 17 ratios" in repr(ratios)
    assert "<table" in ratios._repr_html_()


def test_figures() -> None:
    import matplotlib.pyplot as plt

    found = quartile_outliers(np.array([*FIRST, 1e6]), exclusion=2.5, imputation=4)
    ax = found.plot()
    assert ax.get_xscale() == "symlog"
    assert quartile_outliers(FIRST, imputation=4).plot().get_xscale() == "linear"
    _, given = plt.subplots()
    ratios = hidiroglou_berthelot(CURRENT, PREVIOUS)
    assert ratios.plot(given) is given
    assert "outside (4)" in [text.get_text() for text in given.get_legend().get_texts()]
    several = hidiroglou_berthelot(CURRENT, PREVIOUS, by=["a"] * 8 + ["b"] * 9)
    assert several.plot(group="b").get_title(loc="left") or several.plot(group="b").get_title()
    with pytest.raises(KeyError, match="name one of the 2 classes: 'a', 'b'"):
        several.plot()
    nothing = hidiroglou_berthelot([1, 2, 3, 0], [1, 2, 3, 0], by=list("aaab"))
    with pytest.raises(ValueError, match="No record of b was judged"):
        nothing.plot(group="b")
    plt.close("all")


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "error", "message"),
    [
        ([], {}, ValueError, "no records"),
        ([np.nan, np.nan], {}, ValueError, "All 2 values of value are missing"),
        ([1, np.inf, 2], {}, ValueError, "infinite"),
        (["a", "b"], {}, TypeError, "used as a number"),
        ([True, False], {}, TypeError, "used as a number"),
        ([[1, 2], [3, 4]], {}, ValueError, "shape"),
        (pd.DataFrame({"a": [1.0]}), {}, TypeError, "data frame"),
        (pd.Series([1, 2], index=["a", "a"]), {}, ValueError, "'a'"),
        ([1, 2, 3], {"imputation": None}, ValueError, "at least one multiplier"),
        ([1, 2, 3], {"imputation": -1}, ValueError, "imputation=-1"),
        ([1, 2, 3], {"imputation": np.nan}, ValueError, "imputation=nan"),
        ([1, 2, 3], {"exclusion": 4}, ValueError, "larger multiplier"),
        ([1, 2, 3], {"minimum_distance": -0.1}, ValueError, "minimum_distance"),
        ([1, 2, 3], {"min_records": 2}, ValueError, "at least 3"),
        ([1, 2, 3], {"by": ["a", "b"]}, ValueError, "2 labels for 3 records"),
        ([1, 2, 3], {"by": ["a", None, "b"]}, ValueError, "1 of 3 records have no by"),
        ([1, 2, 3], {"by": pd.Series(list("abc"), index=[2, 1, 0])}, ValueError, "order"),
        ([1, 2, 3], {"by": pd.DataFrame(index=range(3))}, ValueError, "no columns"),
    ],
)
def test_quartile_outliers_refuse(
    values: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        quartile_outliers(values, **({"imputation": 4} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"u": 1.5}, "u=1.5"),
        ({"a": -1}, "a=-1"),
        ({"c": 0}, "c=0"),
        ({"min_records": 1}, "at least 3"),
        ({"previous": [1, 2]}, "3 and 2 records"),
        ({"previous": pd.Series([1, 2, 3], index=[3, 4, 5])}, "other identifiers"),
        ({"previous": [np.nan] * 3}, "All 3 values of previous"),
        ({"current": [1, np.inf, 3]}, "infinite"),
    ],
)
def test_hidiroglou_berthelot_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hidiroglou_berthelot(**({"current": [1, 2, 3], "previous": [1, 2, 3]} | options))


def test_labels_of_several_types_and_results_are_frozen() -> None:
    found = quartile_outliers([1, 2, 3, 4, 5, 6], by=["a", 1, "a", 1, "a", 1], imputation=4)
    assert list(found.to_frame().index) == [1, "a"]
    assert isinstance(hidiroglou_berthelot(CURRENT, PREVIOUS), RatioOutliers)
    with pytest.raises(AttributeError):
        found.status = None  # type: ignore[misc]
