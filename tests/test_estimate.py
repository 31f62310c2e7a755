"""Estimates: against R's survey package, against formulas by hand, and fed with faults.

``fixtures/estimate`` holds results of R's survey package, with the script and the versions that
made them. R is not needed here.
"""

from __future__ import annotations

import itertools
import math
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mlkit.estimate import (
    INDEPENDENT_ONLY,
    LONE_UNIT,
    NO_VARIATION,
    SIMPLE_RANDOM,
    Design,
    Estimate,
    ReplicateDesign,
    difference,
    difference_over_splits,
    estimate,
    from_replicates,
    mean,
    mean_by,
    proportion,
    ratio,
    replicate_weights,
    total,
)

FIXTURES = Path(__file__).parent / "fixtures" / "estimate"

DESIGNS = ["cluster_fpc", "cluster", "strata", "weights", "simple_fpc"]
DOMAINS = ["all", "farm", "north"]


@pytest.fixture(scope="module")
def sample() -> pd.DataFrame:
    return pd.read_csv(FIXTURES / "sample.csv")


@pytest.fixture(scope="module")
def by_r() -> Any:
    """Give what R's survey package says, by design, domain, statistic and quantity."""
    pinned = pd.read_csv(FIXTURES / "expected.csv")
    return pinned.set_index(["design", "domain", "statistic", "quantity"])["value"].sort_index()


def make(name: str, rows: pd.DataFrame) -> Design:
    if name == "simple_fpc":
        return Design(np.full(len(rows), 400 / len(rows)), fpc=400)
    options: dict[str, Any] = {}
    if name != "weights":
        options["strata"] = rows["stratum"]
    if name.startswith("cluster"):
        options["psu"] = rows["psu"]
    if name == "cluster_fpc":
        options["fpc"] = rows["fpc"]
    return Design(rows["weight"], **options)


def mask(domain: str, rows: pd.DataFrame) -> pd.Series | None:
    return {
        "all": None,
        "farm": rows["kind"] == "farm",
        "north": rows["stratum"] == "north",
    }[domain]


# --- against R's survey package ----------------------------------------------------------------


@pytest.mark.parametrize("statistic", ["total", "mean", "ratio", "difference"])
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("name", DESIGNS)
def test_as_r_survey(
    name: str, domain: str, statistic: str, sample: pd.DataFrame, by_r: Any
) -> None:
    columns = {
        "total": (total, ["turnover"]),
        "mean": (mean, ["turnover"]),
        "ratio": (ratio, ["turnover", "staff"]),
        "difference": (difference, ["right", "rival"]),
    }
    function, wanted = columns[statistic]
    figure = function(
        *(sample[column] for column in wanted),
        design=make(name, sample),
        domain=mask(domain, sample),
    )
    theirs = by_r[name, domain, statistic]
    assert figure.value == pytest.approx(theirs["value"], rel=1e-12)
    assert figure.standard_error == pytest.approx(theirs["standard_error"], rel=1e-10)
    if agree_on_df(name, domain):
        assert figure.df == theirs["df"]
        assert figure.interval == pytest.approx((theirs["low"], theirs["high"]), rel=1e-9)
    else:
        assert figure.df > theirs["df"]


def agree_on_df(name: str, domain: str) -> bool:
    """Say whether R and mlkit count the same: see Design.df_in for the difference."""
    return (name, domain) != ("strata", "farm")


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("name", DESIGNS)
def test_korn_graubard_as_r_svyciprop(
    name: str, domain: str, sample: pd.DataFrame, by_r: Any
) -> None:
    design, inside = make(name, sample), mask(domain, sample)
    figure = proportion(sample["right"], design=design, domain=inside)
    theirs = by_r[name, domain, "proportion95"]
    assert figure.method == "Korn-Graubard"
    assert figure.value == pytest.approx(theirs["value"], rel=1e-12)
    size = len(sample) if inside is None else int(inside.sum())
    effective = figure.value * (1 - figure.value) / figure.standard_error**2
    effective *= (stats.t.ppf(0.975, size - 1) / stats.t.ppf(0.975, figure.df)) ** 2
    if effective > size:  # R does not cap the effective size at n, as methods.md 4 asks
        assert theirs["low"] < figure.value < theirs["high"]
        assert figure.low < theirs["low"]
        assert figure.high > theirs["high"]
        x = figure.value * size
        assert figure.low == pytest.approx(stats.beta.ppf(0.025, x, size - x + 1))
    elif agree_on_df(name, domain):
        assert figure.interval == pytest.approx((theirs["low"], theirs["high"]), rel=1e-8)
        # A one-sided bound at 95 % is an end of the two-sided interval at 90 %, t's included.
        ends = by_r[name, domain, "proportion90"]
        lower = proportion(sample["right"], design=design, domain=inside, side="lower")
        upper = proportion(sample["right"], design=design, domain=inside, side="upper")
        assert lower.interval == pytest.approx((ends["low"], 1), rel=1e-8)
        assert upper.interval == pytest.approx((0, ends["high"]), rel=1e-8)


def test_the_cap_is_met_and_the_formula_too(sample: pd.DataFrame, by_r: Any) -> None:
    """The test above has both branches: capped designs, and designs as in R."""
    effective = {}
    for name in DESIGNS:
        figure = proportion(sample["right"], design=make(name, sample))
        effective[name] = figure.value * (1 - figure.value) / figure.standard_error**2
    assert effective["simple_fpc"] > len(sample) > effective["cluster"]


@pytest.mark.parametrize("name", ["cluster_fpc", "cluster", "strata", "weights"])
def test_rare_class_as_r_svyciprop(name: str, sample: pd.DataFrame, by_r: Any) -> None:
    figure = proportion(sample["rare"], design=make(name, sample))
    theirs = by_r[name, "all", "rare"]
    if figure.value * (1 - figure.value) / figure.standard_error**2 < len(sample):
        assert figure.interval == pytest.approx((theirs["low"], theirs["high"]), rel=1e-8)
    else:
        assert figure.low <= theirs["low"] < theirs["high"] <= figure.high


@pytest.mark.parametrize("name", DESIGNS)
def test_domains_as_r_svyby(name: str, sample: pd.DataFrame, by_r: Any) -> None:
    table = mean_by(sample["turnover"], sample["kind"], design=make(name, sample))
    assert table.index.tolist() == ["farm", "shop"]
    assert table.index.name == "kind"
    for kind, row in table.iterrows():
        theirs = by_r[name, kind, "by"]
        assert row["value"] == pytest.approx(theirs["value"], rel=1e-12)
        assert row["standard_error"] == pytest.approx(theirs["standard_error"], rel=1e-10)


def test_replicates_as_r_svrepdesign(sample: pd.DataFrame, by_r: Any) -> None:
    """R made the replicate weights; the standard errors from them must be R's."""
    replicates = pd.read_csv(FIXTURES / "replicates.csv.gz", header=None).to_numpy()
    theirs = by_r["cluster", "all", "bootstrap40"]
    design = ReplicateDesign(sample["weight"], replicates, df=14, scale=theirs["scale"])
    y, x = sample["turnover"].to_numpy(float), sample["staff"].to_numpy(float)
    whole = {
        "total": from_replicates(lambda w: w @ y, design=design),
        "mean": from_replicates(lambda w: (w @ y) / w.sum(), design=design),
        "ratio": from_replicates(lambda w: (w @ y) / (w @ x), design=design),
    }
    for statistic, figure in whole.items():
        assert figure.standard_error == pytest.approx(theirs[statistic], rel=1e-7), statistic
    # The same replicates through the linearised door: exact for a total, near for the others.
    assert total(y, design=design).standard_error == pytest.approx(theirs["total"], rel=1e-7)
    assert mean(y, design=design).standard_error == pytest.approx(theirs["mean"], rel=0.1)
    assert ratio(y, x, design=design).standard_error == pytest.approx(theirs["ratio"], rel=0.1)


def test_rescaled_bootstrap_as_r_within_simulation_error(sample: pd.DataFrame, by_r: Any) -> None:
    theirs = by_r["cluster", "all", "bootstrap20000"]
    drawn = make("cluster", sample)
    made = replicate_weights(drawn, replicates=20_000, seed=1)
    design = ReplicateDesign(drawn.weights, made, df=drawn.df)
    y, x = sample["turnover"].to_numpy(float), sample["staff"].to_numpy(float)
    ours = {
        "total": from_replicates(lambda w: w @ y, design=design),
        "mean": from_replicates(lambda w: (w @ y) / w.sum(), design=design),
        "ratio": from_replicates(lambda w: (w @ y) / (w @ x), design=design),
    }
    for statistic, figure in ours.items():
        # Each of the two has a relative standard error of about sqrt(1 / (2 * 20,000)) = .5 %,
        # a little more as the replicates are not normal.
        assert figure.standard_error == pytest.approx(theirs[statistic], rel=0.025), statistic


# --- by hand -----------------------------------------------------------------------------------


def test_formula_of_methods_2_term_by_term() -> None:
    """Compute V = sum_h (1 - f_h) n_h/(n_h - 1) sum_i (e_hi - mean e_h)^2 with plain loops."""
    rng = np.random.default_rng(3)
    stratum, psu = np.repeat([0, 1, 2], [24, 30, 36]), np.arange(90) // 6
    weights, y, a = rng.uniform(1, 4, 90), rng.normal(size=90), rng.random(90) < 0.4
    population = np.array([12, 10, 40])
    whole = sum(weights[a])
    p = sum((weights * y)[a]) / whole
    variance = 0.0
    for h in range(3):
        e = [
            sum(weights[k] * (y[k] - p) / whole for k in range(90) if psu[k] == i and a[k])
            for i in sorted(set(psu[stratum == h]))
        ]
        n, centre = len(e), sum(e) / len(e)
        variance += (1 - n / population[h]) * n / (n - 1) * sum((x - centre) ** 2 for x in e)
    design = Design(weights, strata=stratum, psu=psu, fpc=population[stratum])
    figure = mean(y, design=design, domain=a)
    assert figure.value == pytest.approx(p)
    assert figure.standard_error == pytest.approx(math.sqrt(variance))
    assert design.df == 15 - 3
    assert mean(y, design=design).df == 12


def test_textbook_simple_random_sample() -> None:
    y = np.array([3.0, 4.0, 8.0, 5.0])
    figure = mean(y)
    assert figure.standard_error == pytest.approx(y.std(ddof=1) / 2)
    assert figure.df == 3
    assert figure.interval == pytest.approx(stats.t.interval(0.95, 3, 5, y.std(ddof=1) / 2))
    assert figure.note == SIMPLE_RANDOM
    corrected = mean(y, design=Design(np.ones(4), fpc=16))
    assert corrected.standard_error == pytest.approx(y.std(ddof=1) / 2 * math.sqrt(1 - 4 / 16))


@pytest.mark.parametrize("x", [0, 1, 7, 30])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_clopper_pearson_as_scipy(x: int, confidence: float) -> None:
    """scipy.stats.binomtest is independent software, with a root finder instead of the beta."""
    success = np.arange(30) < x
    sides = {"two-sided": "two-sided", "lower": "greater", "upper": "less"}
    for side, alternative in sides.items():
        figure = proportion(success, confidence=confidence, side=side)
        exact = stats.binomtest(x, 30, alternative=alternative).proportion_ci(confidence)
        assert figure.interval == pytest.approx((exact.low, exact.high), abs=1e-8)
        assert figure.method == "Clopper-Pearson"
        assert figure.value == x / 30


def test_bare_minimum_to_certify_95_percent_is_59_records() -> None:
    """methods.md 6: the bare minimum is 59 records for .95 at 5 %."""
    assert proportion(np.ones(59), side="lower").low >= 0.95
    assert proportion(np.ones(58), side="lower").low < 0.95


@pytest.mark.parametrize(("truth", "records"), [(0.98, 234), (0.97, 601), (0.96, 2698)])
def test_records_to_certify_95_percent_at_80_percent_power(truth: float, records: int) -> None:
    """methods.md 7, with the bound of this module."""

    def power(n: int) -> float:
        passes = stats.binom.ppf(0.001, n, truth)
        while proportion(np.arange(n) < passes, side="lower").low < 0.95:
            passes += 1
        return float(stats.binom.sf(passes - 1, n, truth))

    assert power(records) >= 0.8
    assert power(records - 1) < 0.8


def test_clopper_pearson_in_a_domain_counts_the_domain() -> None:
    success = np.array([1, 1, 0, 1, 0, 0, 1, 1])
    inside = np.array([True] * 5 + [False] * 3)
    assert proportion(success, domain=inside).interval == proportion(success[:5]).interval


def test_korn_graubard_at_the_ends_takes_the_planned_design_effect() -> None:
    """methods.md 4: at p = 0 or 1, n* = n / planned design effect."""
    psu = np.repeat(np.arange(20), 5)
    design = Design(psu=psu)
    for success, side in ((np.ones(100), "lower"), (np.zeros(100), "upper")):
        figure = proportion(success, design=design, side=side, planned_design_effect=2)
        exact = proportion(success[:50], side=side)
        assert figure.interval == pytest.approx(exact.interval)
        assert figure.standard_error == 0
        assert NO_VARIATION in figure.note
        # Without a plan: the worst that clusters can do, all alike inside.
        worst = proportion(success, design=design, side=side)
        assert worst.interval == pytest.approx(proportion(success[:20], side=side).interval)
        assert "design effect of 5" in worst.note
    weights = np.where(np.arange(100) < 50, 1.0, 3.0)
    unplanned = proportion(np.ones(100), design=Design(weights), side="lower")
    kish = weights.sum() ** 2 / (weights @ weights)
    assert unplanned.low == pytest.approx(0.05 ** (1 / kish))
    # A design effect below 1 does not make more of the sample than there is.
    cheered = proportion(np.ones(100), design=design, side="lower", planned_design_effect=0.1)
    assert cheered.low == proportion(np.ones(100), side="lower").low


def test_korn_graubard_between_homogeneous_strata_is_not_certain() -> None:
    """Strata that each agree in themselves have a linearised variance of 0, which is false."""
    stratum = np.repeat(["a", "b"], 10)
    figure = proportion(stratum == "a", design=Design(strata=stratum))
    assert figure.low < 0.3 < 0.7 < figure.high
    assert NO_VARIATION in figure.note


def test_influence_door_gives_any_smooth_statistic() -> None:
    """The logarithm of a ratio has the standard error of the ratio, divided by the ratio."""
    rng = np.random.default_rng(0)
    y, x, design = rng.gamma(3, size=60), rng.gamma(5, size=60), Design(strata=np.arange(60) % 3)
    r = ratio(y, x, design=design)
    influence = (y - r.value * x) / x.sum() / r.value
    figure = estimate(influence, value=math.log(r.value), design=design)
    assert figure.standard_error == pytest.approx(r.standard_error / r.value)
    assert figure.value == math.log(r.value)


def test_the_domain_keeps_the_whole_design() -> None:
    """Cutting the sample to the domain forgets the primary units without it."""
    rng = np.random.default_rng(1)
    psu = np.repeat(np.arange(12), 10)
    inside = (psu < 8) & (rng.random(120) < 0.5)
    y = rng.normal(psu, 1)
    whole = mean(y, design=Design(psu=psu), domain=inside)
    cut = mean(y[inside], design=Design(psu=psu[inside]))
    assert whole.value == pytest.approx(cut.value)
    assert whole.standard_error == pytest.approx(cut.standard_error * math.sqrt(12 / 11 * 7 / 8))
    total_whole = total(np.ones(120), design=Design(psu=psu), domain=inside)
    total_cut = total(np.ones(inside.sum()), design=Design(psu=psu[inside]))
    assert total_whole.standard_error > 1.5 * total_cut.standard_error


def test_degrees_of_freedom_of_a_domain() -> None:
    stratum = np.repeat(np.arange(5), 4)
    design = Design(strata=stratum)
    assert design.df == 15
    assert design.df_in(np.ones(20, bool)) == 15
    assert design.df_in(stratum == 2) == 3  # a stratum counts for itself
    assert design.df_in(stratum < 2) == 6
    first = np.arange(20) % 4 == 0
    assert design.df_in(first) == 4  # five units in all, one of each stratum
    assert Design(np.ones(50)).df_in(np.arange(50) < 7) == 6
    # A unit of weight 0 tells nothing.
    assert Design(np.r_[np.ones(49), 0]).df_in(np.arange(50) >= 45) == 3
    by_psu = Design(strata=np.repeat([0, 1], 6), psu=np.arange(12) // 2)
    assert by_psu.df == 4
    assert by_psu.df_in(np.arange(12) % 2 == 0) == 4  # every primary unit has some


def test_primary_units_are_read_within_strata() -> None:
    numbered_anew = Design(strata=list("aaaabbbb"), psu=[1, 1, 2, 2, 1, 1, 2, 2])
    numbered_on = Design(strata=list("aaaabbbb"), psu=[1, 1, 2, 2, 3, 3, 4, 4])
    assert numbered_anew.n_psus == 4
    y = [1.0, 5, 2, 7, 1, 1, 3, 9]
    assert mean(y, design=numbered_anew) == mean(y, design=numbered_on)


def test_forms_of_the_finite_population_correction() -> None:
    strata, y = ["a", "a", "b", "b", "b"], [1.0, 2, 3, 5, 9]
    sizes = Design(strata=strata, fpc=[20, 20, 10, 10, 10])
    fractions = Design(strata=strata, fpc=[0.1, 0.1, 0.3, 0.3, 0.3])
    assert mean(y, design=sizes).standard_error == pytest.approx(
        mean(y, design=fractions).standard_error
    )
    none = mean(y, design=Design(strata=strata)).standard_error
    assert mean(y, design=Design(strata=strata, fpc=0)).standard_error == none
    immense = Design(strata=strata, fpc=np.full(5, 1e15))
    assert mean(y, design=immense).standard_error == pytest.approx(none)
    everyone = mean(y, design=Design(strata=strata, fpc=1))
    assert everyone.standard_error == 0
    assert everyone.interval == (4, 4)
    assert everyone.note == ""  # nothing is unsure
    one_for_all = mean(y, design=Design(strata=strata, fpc=0.5)).standard_error
    assert one_for_all == pytest.approx(none * math.sqrt(0.5))


def test_a_unit_drawn_with_certainty_may_be_alone_in_its_stratum() -> None:
    fpc = np.array([1, 8, 8, 8])
    design = Design(weights=[1, 2, 2, 4], strata=["giant", "b", "b", "b"], fpc=fpc)
    without = Design(weights=[2, 2, 4], strata=["b"] * 3, fpc=fpc[1:])
    assert total([1e6, 1, 2, 4], design=design).standard_error == pytest.approx(
        total([1, 2, 4], design=without).standard_error
    )
    giant = mean([1e6, 1, 2, 4], design=design, domain=[True, False, False, False])
    assert giant.interval == (1e6, 1e6)
    assert giant.note == ""
    sure = proportion([1, 1, 0, 1], design=design, domain=[True, False, False, False])
    assert sure.interval == (1, 1)


def test_weights_alone_are_labelled() -> None:
    y, weights = [1.0, 2, 4], [1.0, 2, 1]
    assert mean(y, design=Design(weights)).note == INDEPENDENT_ONLY
    assert proportion([1, 0, 1], design=Design(weights)).note == INDEPENDENT_ONLY
    assert mean(y, design=Design(weights, strata=["a"] * 3)).note == ""
    assert Design(weights, psu=[1, 2, 3]).note == ""


def test_scale_of_weights_does_not_matter_for_shares() -> None:
    rng = np.random.default_rng(2)
    weights, success = rng.uniform(1, 9, 80), rng.random(80) < 0.3
    one = proportion(success, design=Design(weights))
    thousand = proportion(success, design=Design(1000 * weights))
    assert one.interval == pytest.approx(thousand.interval)


def test_pairing_beats_two_intervals() -> None:
    """methods.md 5: paired differences, never overlapping intervals."""
    a = np.repeat([1, 1, 0, 0], [700, 90, 60, 150])
    b = np.repeat([1, 0, 1, 0], [700, 90, 60, 150])
    first, second, gap = mean(a), mean(b), difference(a, b)
    assert first.low < second.high  # the intervals overlap,
    assert gap.low > 0  # and yet a is better
    # McNemar: (b - c)^2 / (b + c), here corrected for the mean difference.
    n, up, down = 1000, 90, 60
    mcnemar = math.sqrt((up + down - (up - down) ** 2 / n) / (n * (n - 1)))
    assert gap.standard_error == pytest.approx(mcnemar)


def test_difference_over_splits_by_hand() -> None:
    """methods.md 5: V = (1/J + n_test/n_train) S^2 over J repeats."""
    differences = [0.02, 0.05, -0.01, 0.03, 0.04]
    figure = difference_over_splits(differences, n_train=900, n_test=100)
    variance = (1 / 5 + 100 / 900) * np.var(differences, ddof=1)
    assert figure.standard_error == pytest.approx(math.sqrt(variance))
    assert figure.df == 4
    assert figure.high - figure.value == pytest.approx(
        stats.t.ppf(0.975, 4) * figure.standard_error
    )


# --- many figures at once ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cluster_fpc", "strata", "weights", "replicates", "none"])
def test_mean_by_is_mean_of_each(name: str, sample: pd.DataFrame) -> None:
    design: Any = None if name == "none" else make("cluster_fpc", sample)
    if name == "replicates":
        made = replicate_weights(design, replicates=60, seed=2)
        design = ReplicateDesign(design.weights, made, df=design.df)
    elif name != "none":
        design = make(name, sample)
    by = sample["stratum"].str[0] + sample["staff"].astype(str)
    table = mean_by(sample["turnover"], by, design=design, confidence=0.9)
    assert len(table) > 20
    for label, row in table.iterrows():
        one = mean(sample["turnover"], design=design, domain=by == label, confidence=0.9)
        ours = row[["value", "standard_error", "low", "high"]].to_numpy()
        theirs = [one.value, one.standard_error, one.low, one.high]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
        assert row["n"] == (by == label).sum()
        assert row["df"] == one.df
    assert table["standard_error"].isna().any()  # some domains lie in one primary unit


@pytest.mark.parametrize("name", ["cluster_fpc", "strata", "replicates"])
def test_sparse_variances_are_those_of_the_full_table(name: str, sample: pd.DataFrame) -> None:
    drawn = make("strata" if name == "strata" else "cluster_fpc", sample)
    made = replicate_weights(drawn, replicates=30, seed=2)
    replicates = ReplicateDesign(drawn.weights, made, df=drawn.df)
    design: Any = replicates if name == "replicates" else drawn
    rng = np.random.default_rng(4)
    n, m = len(sample), 500
    units, columns = rng.integers(0, n, m), rng.integers(0, 7, m)  # some twice, column 7 empty
    values = rng.normal(3, 1, m)
    full = np.zeros((n, 8))
    np.add.at(full, (units, columns), values)
    sparse = design.variances(values, columns, 8, units=units)
    np.testing.assert_allclose(sparse, [design.variance(column) for column in full.T], rtol=1e-9)
    assert sparse[7] == 0


def test_a_million_rows_are_quick() -> None:
    rng = np.random.default_rng(0)
    n = 1_000_000
    psu, code = rng.integers(0, 5_000, n), rng.integers(0, 400, n)
    right = rng.random(n) < 0.8
    start = time.perf_counter()
    design = Design(rng.uniform(1, 9, n), strata=psu % 50, psu=psu)
    proportion(right, design=design)
    difference(right, ~right, design=design)
    table = mean_by(right, code, design=design)
    assert len(table) == 400
    assert time.perf_counter() - start < 10  # about 1.5 s; other programs may be running


# --- replicate weights -------------------------------------------------------------------------


def test_rescaled_bootstrap_weights_by_their_definition(sample: pd.DataFrame) -> None:
    """w* = w n/(n - 1) t, with n - 1 draws in every stratum (methods.md 3)."""
    design = make("cluster", sample)
    made = replicate_weights(design, replicates=50, seed=0)
    assert made.shape == (len(sample), 50)
    assert (made >= 0).all()
    factor = pd.DataFrame(made / design.weights[:, None])
    by_psu = factor.groupby([sample["stratum"], sample["psu"]])
    of_psus = by_psu.min()
    np.testing.assert_allclose(of_psus, by_psu.max())
    for _, rows in of_psus.groupby(level=0):
        n = len(rows)
        times = rows * (n - 1) / n
        np.testing.assert_allclose(times, times.round(), atol=1e-9)
        np.testing.assert_allclose(times.sum(), n - 1)
    assert np.array_equal(made, replicate_weights(design, replicates=50, seed=0))
    assert not np.array_equal(made, replicate_weights(design, replicates=50, seed=1))


@pytest.mark.parametrize("name", DESIGNS)
def test_bootstrap_of_a_total_agrees_with_linearisation(name: str, sample: pd.DataFrame) -> None:
    """Both are unbiased for the same variance, correction included."""
    design = make(name, sample)
    made = replicate_weights(design, replicates=10_000, seed=3)
    bootstrap = total(
        sample["turnover"], design=ReplicateDesign(design.weights, made, df=design.df)
    )
    linear = total(sample["turnover"], design=design)
    assert bootstrap.standard_error == pytest.approx(linear.standard_error, rel=0.03)


def test_bootstrap_keeps_units_drawn_with_certainty() -> None:
    design = Design([1, 2, 2], strata=["giant", "b", "b"], fpc=[1, 0.5, 0.5])
    made = replicate_weights(design, replicates=20, seed=0)
    assert (made[0] == 1).all()
    assert len(np.unique(made[1])) > 1


def test_median_by_replicates_is_near_theory() -> None:
    """The standard error of a median of n normal values is about 1.2533 / sqrt(n)."""
    y = stats.norm.ppf((np.arange(401) + 0.5) / 401)
    design = Design(np.ones(401))
    made = replicate_weights(design, replicates=800, seed=5)

    def median(weights: np.ndarray) -> float:
        return float(y[np.searchsorted(np.cumsum(weights), weights.sum() / 2)])

    figure = from_replicates(median, design=ReplicateDesign(design.weights, made, df=400))
    assert figure.value == pytest.approx(0, abs=1e-9)
    assert figure.standard_error == pytest.approx(1.2533 / math.sqrt(401), rel=0.15)


def test_a_replicate_design_is_accepted_everywhere(sample: pd.DataFrame) -> None:
    drawn = make("cluster", sample)
    made = replicate_weights(drawn, replicates=2_000, seed=6)
    design = ReplicateDesign(drawn.weights, made, df=drawn.df)
    inside = mask("farm", sample)
    for function, columns in (
        (total, ["turnover"]),
        (mean, ["turnover"]),
        (ratio, ["turnover", "staff"]),
        (difference, ["right", "rival"]),
        (proportion, ["right"]),
    ):
        given = [sample[column] for column in columns]
        ours = function(*given, design=design, domain=inside)
        linear = function(*given, design=drawn, domain=inside)
        assert ours.value == linear.value
        assert ours.standard_error == pytest.approx(linear.standard_error, rel=0.08)
        assert ours.df == linear.df
    # All succeeded: never more than df + 1 effective units, as nothing is known of clusters.
    perfect = proportion(np.ones(len(sample)), design=design, side="lower")
    assert perfect.low == pytest.approx(0.05 ** (1 / 15))


# --- views -------------------------------------------------------------------------------------


def test_views_round_and_data_do_not() -> None:
    figure = Estimate(1234.56789, 12.3456, 1210.3, 1258.8, 0.95, 40, "linearised", "a <note>")
    assert str(figure) == "1,235 (standard error 12; 95 % interval 1,210 to 1,259)"
    assert figure.interval == (1210.3, 1258.8)
    table = figure.to_frame()
    assert table.loc[0, "value"] == 1234.56789
    assert list(table) == [
        *("value", "standard_error", "low", "high", "confidence", "df", "method", "note")
    ]
    shown = figure._repr_html_()
    assert "1,235" in shown
    assert "a &lt;note&gt;" in shown
    assert "1234.56789" not in shown
    with pytest.raises(AttributeError):
        figure.value = 2.0  # type: ignore[misc]


def test_views_without_a_standard_error() -> None:
    alone = mean([1.0, 2.0, 3.0], domain=[True, False, False])
    assert "nan" in str(alone)
    assert LONE_UNIT in alone._repr_html_()
    perfect = proportion(np.ones(10), design=Design(np.ones(10)))
    assert str(perfect) == "1.00 (standard error 0.00; 95 % interval 0.69 to 1.00)"
    assert "0 " in str(mean([0.0, 0.0, 0.0]))


def test_designs_are_frozen_copies_and_survive_pickling() -> None:
    weights = np.array([1.0, 2, 3])
    design = Design(weights, strata=["a", "a", "a"])
    weights[0] = -1
    assert design.weights.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        design.weights[0] = 5
    with pytest.raises(AttributeError):
        design.weights = weights  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(design))  # noqa: S301 - our own bytes
    assert mean([1, 2, 4], design=again) == mean([1, 2, 4], design=design)
    assert repr(design) == "Design(3 units, 3 primary units, 1 strata, df 2)"


# --- kinds of input ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "int8", "float32", "boolean", "Int64", "int64[pyarrow]"])
def test_numbers_of_every_kind(dtype: str) -> None:
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    values = pd.Series([1, 0, 1, 1], index=[9, 8, 7, 6]).astype(dtype)
    assert mean(values) == mean([1.0, 0.0, 1.0, 1.0])
    assert proportion(values) == proportion([True, False, True, True])


@pytest.mark.parametrize("kind", ["list", "object", "str", "category", "int", "arrow"])
def test_labels_of_every_kind(kind: str) -> None:
    labels: Any = ["a", "a", "b", "b"]
    if kind == "object":
        labels = np.array(labels, dtype=object)
    elif kind in ("str", "category"):
        labels = pd.Series(labels, dtype=kind)
    elif kind == "int":
        labels = [1, 1, 2, 2]
    elif kind == "arrow":
        pytest.importorskip("pyarrow")
        labels = pd.array(labels, dtype="string[pyarrow]")
    assert mean([1, 2, 3, 5], design=Design(strata=labels)).df == 2
    assert len(mean_by([1, 2, 3, 5], labels)) == 2


def test_missing_values_outside_the_domain_do_no_harm() -> None:
    y = [1.0, 2.0, np.nan, 3.0]
    inside = np.array([True, True, False, True])
    assert mean(y, domain=inside).value == 2
    assert ratio(y, y, domain=inside).value == 1
    assert total(y, domain=inside).value == 6
    assert proportion([1, None, 1, 0], domain=[True, False, True, True]).value == 2 / 3


# --- faults ------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Any, str]] = {
    "nothing": (lambda: Design(), "at least one of weights, strata and psu"),
    "fpc alone": (lambda: Design(fpc=0.1), "at least one of weights, strata and psu"),
    "lengths": (lambda: Design([1, 2], strata=["a"] * 3), "Lengths differ: weights 2, strata 3"),
    "negative weight": (lambda: Design([1, -2, 3]), "1 weights are negative, the least -2"),
    "zero weights": (lambda: Design([0, 0, 0]), "All weights are 0"),
    "missing weight": (lambda: Design([1, np.nan]), "weights has 1 missing or infinite"),
    "infinite weight": (lambda: Design([1, np.inf]), "weights has 1 missing or infinite"),
    "empty": (lambda: Design([]), "weights is empty"),
    "table": (lambda: Design(np.ones((3, 2))), r"weights has the shape \(3, 2\)"),
    "missing stratum": (lambda: Design(strata=["a", None, "a"]), "strata has 1 missing values"),
    "stratum not a number": (
        lambda: Design(strata=["a", float("nan"), "a"]),
        "strata has 1 missing",
    ),
    "missing psu": (lambda: Design(psu=pd.array([1, None, 2])), "psu has 1 missing values"),
    "missing fpc": (lambda: Design(np.ones(2), fpc=[0.1, np.nan]), "fpc has 1 missing"),
    "lone unit": (
        lambda: Design(strata=["a", "a", "b"]),
        r"One primary unit in each of 1 of 2 strata \('b'\).*Join such a stratum",
    ),
    "lone cluster": (
        lambda: Design(strata=["a", "a", "b", "b"], psu=[1, 2, 3, 3]),
        "One primary unit in each of 1 of 2 strata",
    ),
    "one cluster": (lambda: Design(psu=[7, 7, 7]), "one primary unit"),
    "one record": (lambda: mean([3.0]), "one primary unit"),
    "fpc forms": (
        lambda: Design(strata=list("aabb"), fpc=[0.5, 0.5, 30, 30]),
        "mixes population sizes",
    ),
    "fpc varies": (lambda: Design(np.ones(3), fpc=[10, 10, 11]), "varies within the stratum"),
    "fpc too small": (lambda: Design(np.ones(3), fpc=2), "2 primary units, but 3 are in the"),
    "fpc negative": (lambda: Design(np.ones(3), fpc=-0.5), "-0.5; allowed are 0 and more"),
    "fpc for many": (lambda: Design(strata=list("aabb"), fpc=50), "one population size for 2"),
    "other units": (lambda: mean([1, 2], design=Design(np.ones(3))), "2 units, but the design"),
    "missing value": (lambda: mean([1, np.nan, 2]), "y has 1 missing or infinite values among 3"),
    "missing truth": (lambda: proportion([True, None, False]), "success has 1 missing"),
    "missing number": (lambda: total(pd.array([1, None])), "y has 1 missing"),
    "masked": (lambda: total(np.ma.masked_equal([1.0, 2, 3], 2)), "y has 1 missing"),
    "no values": (lambda: mean([]), "y is empty"),
    "domain empty": (lambda: mean([1, 2], domain=[False, False]), "No unit with a weight above 0"),
    "domain of weight 0": (
        lambda: mean([1, 2, 3], design=Design([0, 1, 1]), domain=[True, False, False]),
        "No unit with a weight above 0",
    ),
    "domain length": (lambda: mean([1, 2], domain=[True]), "domain has 1 values, but 2"),
    "domain missing": (
        lambda: mean([1, 2], domain=pd.array([True, None], dtype="boolean")),
        "domain has missing values",
    ),
    "not a share": (lambda: proportion([0, 1, 2]), "success has the value 2"),
    "denominator": (lambda: ratio([1, 2], [0, 0]), "denominator's weighted total is 0"),
    "percent": (lambda: mean([1, 2], confidence=95), "confidence=95"),
    "certain": (lambda: proportion([1, 0], confidence=1), "confidence=1"),
    "side": (lambda: proportion([1, 0], side="left"), "side='left'; allowed are 'two-sided'"),  # type: ignore[arg-type]
    "design effect": (
        lambda: proportion([1, 0], design=Design(np.ones(2)), planned_design_effect=0),
        "planned_design_effect=0",
    ),
    "effect without design": (
        lambda: proportion([1, 0], planned_design_effect=2),
        "needs a design",
    ),
    "pairs": (lambda: difference([1, 2, 3], [1, 2]), "b has 2 values, but 3 are needed"),
    "domain label": (lambda: mean_by([1, 2], ["a", None]), "by has 1 missing values"),
    "one split": (lambda: difference_over_splits([0.1], n_train=9, n_test=1), "at least 2 splits"),
    "split sizes": (
        lambda: difference_over_splits([0.1, 0.2], n_train=0, n_test=1),
        "must be 1 or more",
    ),
    "method": (
        lambda: replicate_weights(Design(np.ones(3)), method="jackknife", replicates=9, seed=0),  # type: ignore[arg-type]
        "method='jackknife'",
    ),
    "one replicate": (
        lambda: replicate_weights(Design(np.ones(3)), replicates=1, seed=0),
        "at least 2 are needed",
    ),
    "replicate shape": (lambda: ReplicateDesign([1, 1], np.ones((3, 9)), df=1), "shape"),
    "replicate missing": (
        lambda: ReplicateDesign([1, 1], np.full((2, 3), np.nan), df=1),
        "missing",
    ),
    "replicate df": (lambda: ReplicateDesign([1, 1], np.ones((2, 3)), df=0), "df=0"),
    "replicate scale": (lambda: ReplicateDesign([1, 1], np.ones((2, 3)), df=1, scale=-1), "scale"),
    "statistic": (
        lambda: from_replicates(
            lambda w: math.nan, design=ReplicateDesign([1, 1], np.ones((2, 3)), df=1)
        ),
        "nan for the sample",
    ),
    "statistic of a replicate": (
        lambda: from_replicates(
            lambda w: 1 / w[0] if w[0] else math.inf,
            design=ReplicateDesign([1, 1], np.array([[0, 2.0], [2.0, 0]]), df=1),
        ),
        "infinite for 1 of 2 replicates",
    ),
    "column": (
        lambda: Design(np.ones(3)).variances([1.0, 2, 3], [0, 1, 2], 2),
        "columns runs from 0 to 2; allowed is 0 to 1",
    ),
    "column kind": (
        lambda: Design(np.ones(3)).variances([1.0, 2, 3], [0.0, 1, 1], 2),
        "columns holds float64",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_refused_with_a_reason(fault: str) -> None:
    call, message = FAULTS[fault]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean(["1", "2"]), "y holds <U1 values"),
        (lambda: mean(pd.Series(["1", "2"])), "y holds object values"),
        (lambda: mean([1 + 2j, 2]), "complex128"),
        (lambda: Design(weights=["a", "b"]), "weights holds"),
        (lambda: mean([1, 2], domain=[1, 0]), "True or False"),
        (lambda: mean([1, 2], design={"weights": [1, 2]}), "give a Design"),
        (lambda: mean([1, 2], design=[1, 2]), "give a Design"),
    ],
)
def test_wrong_kinds_are_refused_with_a_reason(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


# --- documented answers ------------------------------------------------------------------------


def test_no_variation_is_noted() -> None:
    for values in ([0.0, 0, 0], [0.1, 0.1, 0.1], [7, 7, 7]):
        figure = mean(values)
        assert figure.standard_error == 0
        assert NO_VARIATION in figure.note
    assert NO_VARIATION in difference([1, 0, 1], [1, 0, 1]).note


def test_a_domain_in_one_primary_unit_has_a_figure_and_no_standard_error() -> None:
    design = Design(psu=[1, 1, 2, 2, 3, 3])
    inside = np.array([True, True, False, False, False, False])
    figure = mean([1.0, 4, 2, 2, 3, 3], design=design, domain=inside)
    assert figure.value == 2.5
    assert all(math.isnan(number) for number in (figure.standard_error, *figure.interval))
    assert LONE_UNIT in figure.note
    # Its total has one: that the other primary units have nothing is information.
    assert total([1.0, 4, 2, 2, 3, 3], design=design, domain=inside).standard_error > 0
    share = proportion([1, 0, 1, 1, 1, 1], design=design, domain=inside)
    assert share.low < 0.1
    assert share.high > 0.9


def test_intervals_grow_with_confidence() -> None:
    y = [1.0, 0, 1, 1, 0, 1, 0, 1]
    widths = [
        (figure.high - figure.low)
        for level in (0.5, 0.9, 0.99)
        for figure in [proportion(y, confidence=level, design=Design(np.ones(8)))]
    ]
    assert all(a < b for a, b in itertools.pairwise(widths))
