"""Accuracy and area: published examples, formulas by hand, identities, edge cases, bad input.

A21 and A22 are table 8 and section 5 of Olofsson et al. 2014 (doi 10.1016/j.rse.2014.02.015), A25
is the example of Stehman 2014 (IJRS 35, 4923-4939). Their figures, to the digits given here, come
from the formulas of the papers and equal the documented examples of the R package mapaccuracy.
Coverage is simulated in test_area_simulation.py.
"""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mlkit.estimate import Design
from mlkit.evaluation import totals
from mlkit.evaluation.area import (
    MapAccuracy,
    direct_area,
    map_accuracy,
    map_accuracy_from_counts,
    plan_reference_sample,
    prediction_powered_area,
    regression_area,
    stratified_design,
)

mpl.use("agg")

CLASSES = ["deforestation", "gain", "forest", "other"]
CELLS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = dict(zip(CLASSES, [200_000, 150_000, 3_200_000, 6_450_000], strict=True))
WEIGHTS = np.array([0.02, 0.015, 0.32, 0.645])
COUNTS = pd.DataFrame(CELLS, CLASSES, CLASSES)
MAPPED = np.repeat(np.repeat(CLASSES, 4), CELLS.ravel())
REFERENCE = np.repeat(np.tile(CLASSES, 4), CELLS.ravel())

A25_MAP = list("AAAAAAABBBABBBBBBBBBBBCCCCCCBBDDDDDDDDDD")
A25_REFERENCE = list("AAAAACBABCABBBBBAABBCCCCCDDBBADDDDDDDCCB")
A25_STRATA = np.repeat(list("ABCD"), 10)
A25_SIZES = {"A": 40_000, "B": 30_000, "C": 20_000, "D": 10_000}


def olofsson(**options: Any) -> MapAccuracy:
    return map_accuracy(REFERENCE, MAPPED, PIXELS, pixel_area=0.09, **options)


def stehman(**options: Any) -> MapAccuracy:
    options = {"fpc": True, **options}
    return map_accuracy(A25_REFERENCE, A25_MAP, A25_SIZES, strata=A25_STRATA, **options)


def close(found: Any, expected: Any, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(np.asarray(found, dtype=float), expected, rtol=0, atol=tolerance)


# --- A21: Olofsson et al. 2014 -----------------------------------------------------------------


def test_a21_confusion_in_shares_of_area() -> None:
    expected = [
        [0.0176, 0, 0.0013333, 0.0010667],
        [0, 0.0110, 0.0016, 0.0024],
        [0.0019394, 0, 0.2967273, 0.0213333],
        [0.0039692, 0.0019846, 0.0178615, 0.6211846],
    ]
    close(olofsson().confusion, expected, 5e-8)


@pytest.mark.parametrize("from_counts", [False, True])
def test_a21_areas(from_counts: bool) -> None:
    options: dict[str, Any] = {"interval": "normal"}
    found = olofsson(**options)
    if from_counts:
        found = map_accuracy_from_counts(COUNTS, PIXELS, pixel_area=0.09, **options)
    frame = found.areas.to_frame()
    close(frame["share"], [0.0235086, 0.0129846, 0.3175221, 0.6459846], 5e-8)
    close(frame["standard_error"], [0.0034907, 0.0021292, 0.0087924, 0.0092300], 5e-8)
    close(frame["pixels"], [235_086.247, 129_846.154, 3_175_221.445, 6_459_846.154], 1e-3)
    close(frame["area"], [21_157.762, 11_686.154, 285_769.930, 581_386.154], 1e-3)
    half = [6_157.521, 3_755.757, 15_509.551, 16_281.357]
    close(frame["area_high"] - frame["area"], half, 1e-3)
    close(frame["area"] - frame["area_low"], half, 1e-3)


def test_a21_accuracies() -> None:
    found = olofsson(interval="normal")
    users, producers = found.users.values(), found.producers.values()
    close([f.value for f in users], [0.88, 0.7333333, 0.9272727, 0.9630769], 5e-8)
    close([f.high - f.value for f in users], [0.0740, 0.1008, 0.0397, 0.0205], 5e-5)
    close([f.value for f in producers], [0.7486614, 0.8471564, 0.9345089, 0.9616090], 5e-8)
    close([f.high - f.value for f in producers], [0.2133, 0.2544, 0.0343, 0.0184], 5e-5)
    close(found.overall.value, 0.9465119, 5e-8)
    close(found.overall.standard_error, 0.0094304, 5e-8)
    close(found.overall.high - found.overall.value, 0.0184836)


def test_a21_counting_pixels_understates_deforestation() -> None:
    frame = olofsson().areas.to_frame()
    close(frame["mapped_area"], [18_000, 13_500, 288_000, 580_500])
    assert frame["bias"][0] / frame["share"][0] == pytest.approx(-0.149, abs=5e-4)


def test_published_formulas_by_hand() -> None:
    """Olofsson et al. 2014: V(UA), V(OA), V(PA), the last with mapped pixels N_j."""
    n = CELLS.sum(axis=1)
    q = CELLS / n[:, None]
    u = np.diag(q)
    per_cell = q * (1 - q) / (n - 1)[:, None]
    area = WEIGHTS @ q
    pa = WEIGHTS * u / area
    own = (WEIGHTS * (1 - pa)) ** 2 * u * (1 - u) / (n - 1)
    off = WEIGHTS[:, None] ** 2 * per_cell * (1 - np.eye(4))
    found = olofsson()
    close([f.standard_error for f in found.users.values()], np.sqrt(u * (1 - u) / (n - 1)), 1e-12)
    close(found.overall.standard_error, np.sqrt(WEIGHTS**2 @ (u * (1 - u) / (n - 1))), 1e-12)
    expected = np.sqrt(own + pa**2 * off.sum(axis=0)) / area
    close([f.standard_error for f in found.producers.values()], expected, 1e-12)
    wrong = np.sqrt((area * (1 - pa)) ** 2 * u * (1 - u) / (n - 1) + pa**2 * off.sum(axis=0)) / area
    assert abs(wrong - expected).max() > 1e-4  # with estimated pixels: mapaccuracy 0.1.0's error
    cells = np.where(CELLS > 0, WEIGHTS[:, None] * np.sqrt(per_cell), np.nan)
    close(found.confusion_standard_error, cells, 1e-12)


def test_shares_give_the_same_as_pixels() -> None:
    by_share = map_accuracy(REFERENCE, MAPPED, dict(zip(CLASSES, WEIGHTS, strict=True)))
    pd.testing.assert_frame_equal(by_share.to_frame(), olofsson().to_frame())
    assert "pixels" not in by_share.areas.to_frame()


# --- A25: Stehman 2014 -------------------------------------------------------------------------


def test_a25_strata_that_are_not_the_map_classes() -> None:
    found = stehman()
    areas = found.areas.to_frame()
    close(areas["share"], [0.35, 0.34, 0.20, 0.11], 1e-12)
    close(areas["standard_error"], [0.0822478, 0.0758531, 0.0642798, 0.0307222], 5e-8)
    close([found.overall.value, found.overall.standard_error], [0.63, 0.0846422], 5e-8)
    users, producers = found.users["B"], found.producers["B"]
    close([users.value, users.standard_error], [0.5744681, 0.1247822], 5e-8)
    close([producers.value, producers.standard_error], [0.7941176, 0.1165479], 5e-8)
    assert found.confusion_frame().loc["B", "C"] == pytest.approx(0.08, abs=1e-12)


def test_a25_without_the_correction_errors_are_larger() -> None:
    ratio = stehman(fpc=False).overall.standard_error / stehman().overall.standard_error
    assert 1 < ratio < 1.001


def test_map_totals_show_what_counting_pixels_says() -> None:
    totals_of_map = {"A": 31_000, "B": 47_000, "C": 12_000, "D": 10_000}
    found = stehman(map_totals=totals_of_map, pixel_area=0.01)
    close(found.areas.to_frame()["mapped_area"], [310, 470, 120, 100])
    assert np.isnan(stehman().areas.mapped).all()


# --- other designs ------------------------------------------------------------------------------


def test_a_design_gives_what_sizes_give() -> None:
    by_design = map_accuracy(
        REFERENCE, MAPPED, design=stratified_design(MAPPED, PIXELS), map_totals=PIXELS
    )
    pd.testing.assert_frame_equal(
        by_design.to_frame()[["value", "standard_error"]],
        olofsson().to_frame()[["value", "standard_error"]],
    )
    assert by_design.areas.pixels[0] == 10_000_000


def test_clusters_widen() -> None:
    points = np.arange(len(MAPPED)) // 5
    clustered = map_accuracy(REFERENCE, MAPPED, design=Design(psu=points))
    alone = map_accuracy(REFERENCE, MAPPED)
    assert clustered.overall.value == pytest.approx(alone.overall.value)
    assert clustered.overall.standard_error > 1.2 * alone.overall.standard_error


def test_simple_random_sample_without_totals() -> None:
    found = map_accuracy(["a", "a", "b", "b", "b"], ["a", "b", "b", "b", "a"])
    assert found.overall.value == pytest.approx(0.6)
    assert found.overall.standard_error == pytest.approx(math.sqrt(0.6 * 0.4 / 4))
    assert "simple random" in found.note


# --- edge cases ---------------------------------------------------------------------------------


def test_class_only_on_the_map() -> None:
    found = map_accuracy([1, 1, 2, 2, 2, 2], [1, 1, 2, 2, 3, 3], {1: 30, 2: 50, 3: 20})
    assert found.users[3].value == 0
    assert math.isnan(found.producers[3].value)
    assert "reference" in found.producers[3].note
    area = found.areas.estimate(3)
    assert area.value == 0
    assert math.isnan(area.standard_error)
    assert area.high > 0.3  # six points hide much


def test_class_only_in_the_reference() -> None:
    found = map_accuracy([1, 1, 4, 2, 2, 2], [1, 1, 1, 2, 2, 2], {1: 40, 2: 60})
    assert found.classes == (1, 2, 4)
    assert math.isnan(found.users[4].value)
    assert found.producers[4].value == 0
    assert found.producers[4].high == 0  # the map has none of it: known, not estimated
    assert found.areas.estimate(4).value == pytest.approx(0.4 / 3)
    assert found.areas.mapped[0, 2] == 0


def test_cell_without_a_point_has_a_bound_not_zero() -> None:
    """methods.md 28: W_i (1 - a^(1/n_i))."""
    found = olofsson()
    bound = found.confusion_frame("bound")
    assert bound.loc["forest", "gain"] == pytest.approx(0.32 * (1 - 0.05 ** (1 / 165)), abs=1e-12)
    assert np.isnan(found.confusion_frame("standard_error").loc["forest", "gain"])
    assert np.isnan(bound.loc["forest", "forest"])
    wider = olofsson(confidence=0.99).confusion_frame("bound")
    assert wider.loc["forest", "gain"] == pytest.approx(0.32 * (1 - 0.01 ** (1 / 165)), abs=1e-12)
    unseen = found.areas.to_frame()["unseen"]
    assert unseen[0] == pytest.approx(0.015 * (1 - 0.05 ** (1 / 75)), abs=1e-12)  # gain alone
    assert unseen.tolist()[2:] == [0, 0]


def test_unseen_share_of_several_strata_is_the_largest_that_chance_allows() -> None:
    """Brute force over a grid: max W1 q1 + W2 q2 with (1-q1)^n1 (1-q2)^n2 >= .05."""
    found = map_accuracy(
        np.repeat(["a", "b", "c"], [20, 40, 10]),
        np.repeat(["a", "b", "c"], [20, 40, 10]),
        {"a": 0.3, "b": 0.59, "c": 0.11},
    )
    q = np.linspace(0, 0.3, 3001)
    q = q[(1 - q) ** 20 >= 0.05]
    best = (0.3 * q + 0.59 * (1 - (0.05 / (1 - q) ** 20) ** (1 / 40))).max()
    assert found.areas.unseen[0, 2] == pytest.approx(best, abs=1e-6)


def test_figure_without_variation_has_an_interval_but_no_standard_error() -> None:
    found = map_accuracy([1] * 20 + [2] * 20, [1] * 20 + [2] * 20, {1: 100_000, 2: 900_000})
    for figure in (found.overall, found.users[1], found.producers[1], found.areas.estimate(1)):
        assert math.isnan(figure.standard_error)
        assert figure.high - figure.low > 0.02
        assert figure.low <= figure.value <= figure.high
    assert "no variation" in found.overall.note
    normal = map_accuracy([1, 1, 2, 2], [1, 1, 2, 2], {1: 0.1, 2: 0.9}, interval="normal")
    assert math.isnan(normal.overall.low)


ONE_POINT = (["a", "a", "b", "b", "c", "a"], ["a", "a", "b", "b", "b", "c"])
ONE_POINT_SIZES = {"a": 500, "b": 400, "c": 100}


def test_one_point_in_a_stratum_has_no_standard_error_and_says_how_to_collapse() -> None:
    found = map_accuracy(*ONE_POINT, ONE_POINT_SIZES)
    assert math.isnan(found.overall.standard_error)
    assert math.isnan(found.users["c"].standard_error)
    assert np.isnan(found.areas.standard_error).all()
    assert found.users["b"].standard_error == pytest.approx(math.sqrt(2 / 9 / 2))  # its own stratum
    assert "collapse={'c':" in found.note
    assert 0 < found.overall.low < found.overall.value


def test_collapsed_strata_keep_the_estimates() -> None:
    found = map_accuracy(*ONE_POINT, ONE_POINT_SIZES, collapse={"c": "b"})
    alone = map_accuracy(*ONE_POINT, ONE_POINT_SIZES)
    close(found.areas.share, alone.areas.share, 1e-15)
    # by hand: values w (y - p) / N of the joined stratum around their mean
    weights = np.array([400 / 3] * 3 + [100.0]) / 1000
    moved = weights * (np.array([0, 0, 0, 1]) - found.areas.share[0, 0])
    expected = math.sqrt(4 / 3 * ((moved - moved.mean()) ** 2).sum())
    assert found.areas.standard_error[0, 0] == pytest.approx(expected)
    assert math.isnan(found.users["c"].standard_error)
    assert "joined" in found.note


def test_strata_drawn_in_full_add_nothing() -> None:
    reference, mapped = ["a", "b", "a", "b", "b", "a"], ["a", "a", "b", "b", "b", "b"]
    found = map_accuracy(reference, mapped, {"a": 2, "b": 400}, fpc=True)
    assert found.users["a"].standard_error == 0
    assert found.users["a"].interval == (0.5, 0.5)
    everything = map_accuracy(reference, mapped, {"a": 2, "b": 4}, fpc=True)
    assert everything.overall.standard_error == 0
    assert everything.overall.interval == (0.5, 0.5)
    assert everything.areas.unseen.sum() == 0
    single = map_accuracy(["a", "b", "a"], ["a", "b", "b"], {"a": 1, "b": 400}, fpc=True)
    assert single.overall.standard_error > 0  # one point, but there are no more


def test_score_interval_of_one_stratum_is_wilsons() -> None:
    """8 of 10: .490 to .943, as Wilson's formula gives."""
    found = map_accuracy([1] * 8 + [2] * 2 + [2] * 9 + [1], [1] * 10 + [2] * 10, {1: 0.5, 2: 0.5})
    z, p, n = 1.959963984540054, 0.8, 10
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    close(found.users[1].interval, np.array([centre - half, centre + half]) / (1 + z**2 / n), 1e-9)
    close(found.users[1].interval, [0.490, 0.943], 1e-3)


def test_score_interval_of_a_share_squares_and_adds() -> None:
    from scipy.stats import binomtest

    found = olofsson()
    column, n = CELLS[:, 1], CELLS.sum(axis=1)
    wilson = np.array(
        [
            binomtest(int(x), int(size)).proportion_ci(method="wilson")
            for x, size in zip(column, n, strict=True)
        ]
    )
    margins = WEIGHTS[:, None] * (wilson - (column / n)[:, None])
    area = found.areas.estimate("gain")
    close(area.value - area.low, math.sqrt((margins[:, 0] ** 2).sum()), 1e-9)
    close(area.high - area.value, math.sqrt((margins[:, 1] ** 2).sum()), 1e-9)


@pytest.mark.parametrize("interval", ["score", "logit", "t", "normal"])
def test_intervals_hold_their_estimate(interval: Any) -> None:
    frame = olofsson(interval=interval).to_frame()
    assert (frame["low"] < frame["value"]).all()
    assert (frame["value"] < frame["high"]).all()
    if interval in ("score", "logit"):
        assert frame["low"].min() > 0
        assert frame["high"].max() < 1


def test_inputs_are_not_changed_and_order_does_not_matter() -> None:
    reference, mapped = pd.Series(REFERENCE), pd.Series(MAPPED)
    copies = reference.copy(), mapped.copy()
    order = np.random.default_rng(1).permutation(len(reference))
    first = map_accuracy(reference, mapped, PIXELS).to_frame()
    second = map_accuracy(reference[order], mapped[order], pd.Series(PIXELS)).to_frame()
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_series_equal(reference, copies[0])
    pd.testing.assert_series_equal(mapped, copies[1])


def test_legend_sets_the_order() -> None:
    found = olofsson(classes=[*CLASSES[::-1], "water"])
    assert found.classes == (*CLASSES[::-1], "water")
    assert found.areas.estimate("gain", of="area").value == pytest.approx(11_686.154, abs=1e-3)
    assert math.isnan(found.users["water"].value)


# --- the map as auxiliary -----------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [regression_area, prediction_powered_area])
def test_three_ways_are_one_when_strata_are_the_map_classes(estimator: Any) -> None:
    """methods.md 27: design-weighted PPI with f the map label is Olofsson's estimator, on A21."""
    design = stratified_design(MAPPED, PIXELS)
    found = estimator(REFERENCE, MAPPED, PIXELS, design=design, pixel_area=0.09)
    expected = olofsson().areas
    close(found.share, expected.share, 1e-12)
    close(found.standard_error, expected.standard_error, 1e-12)
    close(found.to_frame()["area"], expected.to_frame()["area"], 1e-6)


def test_direct_estimator_is_olofssons_too() -> None:
    design = stratified_design(MAPPED, PIXELS)
    found = direct_area(REFERENCE, design=design, pixels=1e7, classes=CLASSES)
    close(found.standard_error, olofsson().areas.standard_error, 1e-12)


def test_negative_control_unweighted_ppi_gives_a_negative_forest_gain() -> None:
    """methods.md 27: without the design weights the gain is -1.5 %."""
    found = prediction_powered_area(REFERENCE, MAPPED, PIXELS)
    assert found.estimate("gain").value == pytest.approx(-0.0146875)


def test_two_pixels_carry_a_sixth_of_the_deforestation() -> None:
    """methods.md 27: in A21 two points of 325 carry 17 %."""
    found = olofsson()
    carried = found.confusion[3, 0] / found.areas.share[0, 0]
    assert carried == pytest.approx(0.169, abs=5e-4)


def simple_sample(n: int = 400, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mapped = rng.choice(["a", "b", "c"], n, p=[0.2, 0.3, 0.5])
    wrong = rng.random(n) < 0.2
    reference = np.where(wrong, rng.choice(["a", "b", "c"], n), mapped)
    return reference, mapped, rng.choice(["north", "south"], n, p=[0.3, 0.7])


def test_estimators_agree_with_class_totals() -> None:
    """The same estimators for coded records, in mlkit.evaluation.totals."""
    reference, mapped, _ = simple_sample()
    counts = {"a": 2_300, "b": 2_700, "c": 5_000}
    target = totals.Target.from_counts(counts)
    drawn = Design(weights=np.full(400, 25.0))
    audit = totals.Audit(reference, mapped, drawn_from="target", design=drawn)
    powered = totals.prediction_powered_estimator(audit, target)
    calibrated = totals.calibration_estimator(audit, target)
    close(prediction_powered_area(reference, mapped, counts).share, powered.share, 1e-12)
    found = prediction_powered_area(reference, mapped, counts, design=drawn)
    close(found.standard_error, powered.standard_error, 1e-12)
    found = regression_area(reference, mapped, counts)
    close(found.share, calibrated.share, 1e-12)
    # both linearised, theirs with the g-weights too: c_h / W_h
    close(found.standard_error, calibrated.standard_error, 1e-12)


def test_poststratified_simple_sample_is_the_regression_estimator() -> None:
    reference, mapped, _ = simple_sample()
    counts = {"a": 2_300, "b": 2_700, "c": 5_000}
    conditional = map_accuracy(reference, mapped, counts).areas
    found = regression_area(reference, mapped, counts)
    close(found.share, conditional.share, 1e-12)
    close(found.standard_error / conditional.standard_error, 1, 0.01)


def test_certain_probabilities_are_labels() -> None:
    reference, mapped, region = simple_sample()
    certain = pd.DataFrame({name: (mapped == name).astype(float) for name in "cab"})
    counts = pd.DataFrame(
        {"a": [800, 1_500], "b": [700, 2_000], "c": [1_500, 3_500]}, index=["north", "south"]
    )
    for estimator in (regression_area, prediction_powered_area):
        one = estimator(reference, mapped, counts, domain=region).to_frame()
        two = estimator(reference, certain, counts, domain=region).to_frame()
        pd.testing.assert_frame_equal(one, two)


def test_regression_is_linearised_rightly() -> None:
    """Each influence value against the change of the estimate when its weight changes."""
    reference, mapped, region = simple_sample(60)
    rng = np.random.default_rng(8)
    shares = 0.7 * np.column_stack([mapped == name for name in "abc"]) + 0.3 * rng.dirichlet(
        [1, 1, 1], 60
    )
    probability = pd.DataFrame(shares, columns=list("abc"))
    totals_of_map = pd.DataFrame(
        {"a": [90.0, 160.0], "b": [80.0, 200.0], "c": [160.0, 310.0]}, index=["north", "south"]
    )
    weights = np.full(60, 1000 / 60) * rng.uniform(0.5, 1.5, 60)

    def shares_at(w: np.ndarray) -> np.ndarray:
        return regression_area(
            reference, probability, totals_of_map, domain=region, design=Design(weights=w)
        ).share

    step = 1e-4
    influence = np.array(
        [
            (shares_at(weights + step * unit) - shares_at(weights - step * unit)) / (2 * step)
            for unit in np.eye(60)
        ]
    )
    design = Design(weights=weights)
    found = regression_area(reference, probability, totals_of_map, domain=region, design=design)
    for row in range(2):
        for column in range(3):
            expected = math.sqrt(design.variance(influence[:, row, column]))
            assert found.standard_error[row, column] == pytest.approx(expected, rel=1e-6)


def test_domains() -> None:
    reference, mapped, region = simple_sample()
    region = region.astype(object)
    region[:3] = "island"
    counts = pd.DataFrame(
        {"a": [30, 800, 1_500, 5], "b": [40, 700, 2_000, 5], "c": [30, 1_500, 3_390, 10]},
        index=["island", "north", "south", "sea"],
    )
    for estimator in (regression_area, prediction_powered_area):
        found = estimator(reference, mapped, counts, domain=region, pixel_area=0.01)
        frame = found.to_frame()
        assert found.domains == ("island", "north", "south", "sea")
        assert found.few_points.tolist() == [True, False, False, True]
        close(frame.groupby("domain", sort=False)["share"].sum(), np.ones(4), 1e-9)
        cv = 100 * frame["standard_error"] / frame["share"]
        close(frame["cv_percent"][3:9], cv[3:9], 1e-12)
        assert np.isnan(found.standard_error[3]).all()  # no point in the sea
        assert "fewer than 2 points" in found.note
        assert "fewer than 30" in found.note
        with pytest.raises(ValueError, match="name the class"):
            found.plot()


def test_ppi_of_a_domain_by_hand() -> None:
    reference, mapped, region = simple_sample()
    counts = pd.DataFrame(
        {"a": [800, 1_500], "b": [700, 2_000], "c": [1_500, 3_500]}, ["north", "south"]
    )
    found = prediction_powered_area(reference, mapped, counts, domain=region)
    north = region == "north"
    weight = 10_000 / 400
    error = ((reference == "a").astype(float) - (mapped == "a")) * north
    assert found.share[0, 0] == pytest.approx((800 + weight * error.sum()) / 3_000)
    spread = weight * math.sqrt(400 * error.var(ddof=1)) / 3_000
    assert found.standard_error[0, 0] == pytest.approx(spread)


def test_direct_domain_is_a_mean_in_it() -> None:
    reference, _, region = simple_sample()
    found = direct_area(reference, domain=region, pixels={"north": 3_000, "south": 7_000})
    north = reference[region == "north"] == "a"
    assert found.estimate("a", domain="north").value == pytest.approx(north.mean())
    n = len(north)
    spread = math.sqrt(400 / 399 * north.var() / n)
    assert found.estimate("a", domain="north").standard_error == pytest.approx(spread)
    assert found.estimate("a", domain="north", of="pixels").value == pytest.approx(
        3_000 * north.mean()
    )


# --- planning: A22 ------------------------------------------------------------------------------

SHARES = dict(zip(CLASSES, WEIGHTS, strict=True))
EXPECTED = dict(zip(CLASSES, [0.70, 0.60, 0.90, 0.95], strict=True))


def test_a22_sample_size() -> None:
    """Olofsson et al. 2014, section 5."""
    plan = plan_reference_sample(SHARES, EXPECTED, target_se=0.01)
    assert plan.needed == pytest.approx(640.54, abs=5e-3)
    assert plan.n == 641
    close(plan.unrounded, [12.8, 9.6, 205.1, 413.4], 0.05)
    assert plan.points.tolist() == [13, 10, 205, 413]


@pytest.mark.parametrize(
    ("least", "others"), [(100, [146, 295]), (75, [163, 328]), (50, [179, 362])]
)
def test_a22_fixed_points_in_rare_strata(least: int, others: list[int]) -> None:
    plan = plan_reference_sample(SHARES, EXPECTED, target_se=0.01, minimum=least)
    assert plan.points.tolist() == [least, least, *others]
    named = plan_reference_sample(
        SHARES, EXPECTED, target_se=0.01, minimum={"deforestation": least, "gain": least}
    )
    assert named.allocation == plan.allocation


def test_expected_errors_are_those_of_the_sample_to_come() -> None:
    """With A21's own rates and points, the plan expects A21's errors (n in place of n - 1)."""
    n = CELLS.sum(axis=1)
    rates = pd.DataFrame(CELLS / n[:, None], CLASSES, CLASSES)
    least = dict(zip(CLASSES, n.tolist(), strict=True))
    plan = plan_reference_sample(PIXELS, rates, n=640, minimum=least)
    assert plan.points.tolist() == n.tolist()
    close(plan.area_standard_error / olofsson().areas.standard_error[0], 1, 0.01)
    close(plan.overall_standard_error / olofsson().overall.standard_error, 1, 0.01)
    close(plan.to_frame()["area_share"], olofsson().areas.share[0], 1e-12)


def test_neyman_allocation_meets_the_target_and_is_best() -> None:
    rates = pd.DataFrame(CELLS / CELLS.sum(axis=1, keepdims=True), CLASSES, CLASSES)
    for aim in (None, "deforestation"):
        target = 0.01 if aim is None else 0.003
        plan = plan_reference_sample(
            PIXELS, rates, target_se=target, area_of=aim, allocation="neyman"
        )

        def error(found: Any, aim: Any = aim) -> float:
            return found.overall_standard_error if aim is None else found.area_standard_error[0]

        assert error(plan) == pytest.approx(target, rel=0.01)
        for allocation in ("proportional", "equal"):
            other = plan_reference_sample(
                PIXELS, rates, n=plan.n, area_of=aim, allocation=allocation
            )
            assert error(other) > error(plan)


def test_a_missed_target_says_how_many_points_reach_it() -> None:
    plan = plan_reference_sample(SHARES, EXPECTED, target_se=0.01)
    assert "about 673 points" in plan.note
    errors = [
        plan_reference_sample(SHARES, EXPECTED, n=n).overall_standard_error for n in (671, 673)
    ]
    assert errors[1] < 0.01 < errors[0]
    assert (
        "not 0.01"
        not in plan_reference_sample(SHARES, EXPECTED, target_se=0.01, allocation="neyman").note
    )


@pytest.mark.parametrize("n", [11, 50, 641, 642, 643])
def test_points_sum_to_n(n: int) -> None:
    for allocation in ("proportional", "neyman", "equal"):
        plan = plan_reference_sample(SHARES, EXPECTED, n=n, allocation=allocation)
        assert plan.n == n
        assert plan.points.min() >= 2


# --- bad input ----------------------------------------------------------------------------------

GOOD = {"reference": ["a", "a", "b", "b"], "mapped": ["a", "b", "b", "a"]}
TWO = {"a": 60, "b": 40}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"mapped": ["a", "b"]}, ValueError, "lengths differ"),
        ({"reference": [], "mapped": []}, ValueError, "at least one record"),
        ({"reference": ["a", None, "b", "b"]}, ValueError, "no code in reference"),
        ({"reference": [1, 1, 2, 2]}, TypeError, "Mixed types"),
        ({"sizes": {"a": 60}}, ValueError, "no pixels"),
        ({"sizes": {"a": 60, "b": 0}}, ValueError, "no pixels"),
        ({"sizes": {"a": 60, "b": 40, "c": 5}}, ValueError, "No point in 'c'"),
        ({"sizes": {"a": 60, "b": -1}}, ValueError, "negative"),
        ({"sizes": {"a": 60, "b": math.nan}}, ValueError, "missing"),
        ({"sizes": {"a": 0.6, "b": 0.5}}, ValueError, "sum to 1.1"),
        ({"sizes": [60, 40]}, TypeError, "dict or Series"),
        ({"sizes": {"a": "many", "b": 1}}, TypeError, "numbers"),
        ({"sizes": {}}, ValueError, "empty"),
        ({"sizes": {"a": 1.5, "b": 40}}, ValueError, "A pixel counts once"),
        ({"sizes": {"a": 0.6, "b": 0.4}, "fpc": True}, ValueError, "pixels, not shares"),
        ({"sizes": {"a": 0.6, "b": 0.4}, "pixel_area": 0.09}, ValueError, "not shares"),
        ({"sizes": TWO, "pixel_area": -1}, ValueError, "pixel_area"),
        ({"sizes": TWO, "classes": ["a", "c"]}, ValueError, "not in the legend"),
        ({"sizes": TWO, "collapse": {"x": "a"}}, ValueError, "no stratum"),
        ({"sizes": TWO, "collapse": {"a": "a"}}, ValueError, "to itself"),
        ({"sizes": TWO, "confidence": 95}, ValueError, "between 0 and 1"),
        ({"sizes": TWO, "interval": "wald"}, ValueError, "interval"),
        ({"sizes": TWO, "map_totals": TWO}, ValueError, "leave out map_totals"),
        ({"map_totals": TWO}, ValueError, "poststratifies"),
        ({"strata": [1, 1, 2, 2]}, ValueError, "strata needs sizes"),
        ({"fpc": True}, ValueError, "fpc needs sizes"),
        ({"sizes": TWO, "strata": ["a", "b"]}, ValueError, "lengths differ"),
        ({"sizes": TWO, "design": Design(weights=[1, 1, 1, 1])}, ValueError, "Both sizes"),
        ({"design": [1, 1, 1, 1]}, TypeError, "give a Design"),
        ({"design": Design(weights=[1, 1])}, ValueError, "design 2"),
        ({"design": Design(weights=[1] * 4), "interval": "score"}, ValueError, "stratum by"),
    ],
)
def test_refusals(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        map_accuracy(**{**GOOD, **change})


@pytest.mark.parametrize(
    ("counts", "error"),
    [
        (CELLS, TypeError),
        (COUNTS - 1.0, ValueError),
        (COUNTS / 2, ValueError),
        (COUNTS * math.nan, ValueError),
        (COUNTS * 0, ValueError),
        (COUNTS.map(lambda _: "x"), TypeError),
        (pd.concat([COUNTS, COUNTS]), ValueError),
    ],
)
def test_bad_counts(counts: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        map_accuracy_from_counts(counts, PIXELS)


PROBABILITIES = pd.DataFrame({"a": [0.9, 0.2, 0.1, 0.7], "b": [0.1, 0.8, 0.9, 0.3]})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"map_totals": {"a": 60}}, ValueError, "has no pixels"),
        ({"map_totals": {"a": 60, "b": 40, "c": 3}}, ValueError, "No point has the map class"),
        ({"map_totals": [60, 40]}, TypeError, "dict or Series"),
        ({"domain": ["n", "n", "s", "s"]}, TypeError, "DataFrame"),
        ({"map_totals": pd.DataFrame([TWO], ["n"])}, ValueError, "no domain"),
        (
            {"map_totals": pd.DataFrame([TWO], ["n"]), "domain": ["n", "n", "s", "s"]},
            ValueError,
            "domain 's'",
        ),
        ({"auxiliary": PROBABILITIES.rename(columns={"b": "c"})}, ValueError, "columns"),
        ({"auxiliary": PROBABILITIES * 2}, ValueError, "sum to 1"),
        ({"auxiliary": PROBABILITIES - 0.5}, ValueError, "negative"),
        ({"auxiliary": PROBABILITIES * math.nan}, ValueError, "missing"),
        ({"auxiliary": PROBABILITIES[:2]}, ValueError, "lengths differ"),
        ({"design": [1, 1, 1, 1]}, TypeError, "stratified_design"),
        ({"design": Design(weights=[1, 1])}, ValueError, "lengths differ"),
        ({"confidence": 0}, ValueError, "between 0 and 1"),
        ({"classes": ["a"]}, ValueError, "not in the legend"),
        ({"map_totals": {"a": 0.6, "b": 0.4}, "pixel_area": 1}, ValueError, "not shares"),
    ],
)
def test_refusals_of_the_regression(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"reference": GOOD["reference"], "auxiliary": GOOD["mapped"], "map_totals": TWO}
    with pytest.raises(error, match=message):
        regression_area(**{**given, **change})


def test_refusals_of_the_direct_estimator() -> None:
    with pytest.raises(ValueError, match="number of pixels"):
        direct_area(["a", "b"], pixels=-3)
    with pytest.raises(TypeError, match="dict or Series"):
        direct_area(["a", "b"], pixels=10, domain=["n", "s"])
    with pytest.raises(ValueError, match="no totals"):
        direct_area(["a", "b"], pixels={"n": 10}, domain=["n", "s"])


def test_stratified_design_refuses_one_point() -> None:
    with pytest.raises(ValueError, match="Draw a second one"):
        stratified_design(["a", "a", "b"], {"a": 50, "b": 50})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"target_se": None}, ValueError, "either target_se"),
        ({"n": 100}, ValueError, "either target_se"),
        ({"target_se": -0.01}, ValueError, "above 0"),
        ({"target_se": math.nan}, ValueError, "above 0"),
        ({"target_se": None, "n": 3}, ValueError, "minima need 8 points"),
        ({"target_se": None, "n": 0}, ValueError, "whole number"),
        ({"minimum": 1}, ValueError, "2 points and more"),
        ({"minimum": 400}, ValueError, "minima need 1600"),
        ({"minimum": {"water": 50}}, ValueError, "minimum names 'water'"),
        ({"allocation": "optimal"}, ValueError, "allocation"),
        ({"area_of": "water"}, ValueError, "no class"),
        ({"expected": {**EXPECTED, "gain": 60}}, ValueError, "not per cent"),
        ({"expected": {"gain": 0.6}}, ValueError, "same classes"),
        ({"expected": [0.7, 0.6, 0.9, 0.95]}, TypeError, "expected is a list"),
        ({"expected": COUNTS}, ValueError, "sum to 1"),
        ({"sizes": {**SHARES, "gain": 0}}, ValueError, "sum to"),
        ({"sizes": {**PIXELS, "gain": 0}}, ValueError, "no pixels"),
        ({"sizes": {**PIXELS, "gain": 5}, "minimum": 50}, ValueError, "more points than"),
    ],
)
def test_refusals_of_the_plan(change: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"sizes": SHARES, "expected": EXPECTED, "target_se": 0.01}
    with pytest.raises(error, match=message):
        plan_reference_sample(**{**given, **change})


# --- views --------------------------------------------------------------------------------------


def test_views_round_and_data_do_not() -> None:
    found = olofsson()
    html = found._repr_html_()
    assert "21,158" in html
    assert "0.947 (" in repr(found)
    assert "unseen, at most" in html
    assert found.areas.to_frame()["area"][0] != 21_158
    plan = plan_reference_sample(SHARES, EXPECTED, target_se=0.01)
    assert "641 points" in plan._repr_html_()
    assert "CV of area" in repr(plan)
    reference, mapped, region = simple_sample()
    table = pd.DataFrame(
        {"a": [800, 1_500], "b": [700, 2_000], "c": [1_500, 3_500]}, ["north", "south"]
    )
    by_region = regression_area(reference, mapped, table, domain=region)
    assert "north" in repr(by_region)
    assert "<table" in by_region._repr_html_()


def test_plots_name_what_they_show() -> None:
    ax = olofsson().plot()
    assert ax.get_xlabel() == "area, ha"
    assert [text.get_text() for text in ax.get_yticklabels()] == CLASSES
    assert ax.get_legend() is not None
    plan = plan_reference_sample(SHARES, EXPECTED, target_se=0.01).plot()
    assert "641" in plan.get_title(loc="left") + plan.get_title()
    shares = map_accuracy(REFERENCE, MAPPED, SHARES).plot()
    assert shares.get_xlabel() == "share of the map"
    plt.close("all")


def test_lookup_errors() -> None:
    found = olofsson()
    with pytest.raises(KeyError, match="water"):
        found.areas.estimate("water")
    with pytest.raises(KeyError, match="domain"):
        found.areas.estimate("gain", domain="north")
    with pytest.raises(ValueError, match="allowed"):
        found.areas.estimate("gain", of="hectares")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="allowed"):
        found.confusion_frame("sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pixel"):
        map_accuracy(REFERENCE, MAPPED, PIXELS).areas.estimate("gain", of="area")
