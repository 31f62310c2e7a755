"""Simulated surveys: true data satisfy the rules, masks tell the truth, designs estimate."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlkit.datasets import Survey, dataset_card, make_business_survey, make_household_survey
from mlkit.datasets._business import SIMPLE, _allocate
from mlkit.datasets._household import _sample
from mlkit.editing import EditRules
from mlkit.estimate import Design, mean, total

ROOT = Path(__file__).resolve().parents[1]
MANY = 200_000
MAKERS = [make_business_survey, make_household_survey]
Maker = Callable[..., Survey]


@pytest.fixture(scope="module")
def business() -> Survey:
    return make_business_survey(40_000, seed=1)


@pytest.fixture(scope="module")
def household() -> Survey:
    return make_household_survey(40_000, seed=1)


@pytest.fixture(scope="module", params=["business", "household"])
def survey(request: pytest.FixtureRequest) -> Survey:
    made: Survey = request.getfixturevalue(request.param)
    return made


# --- the published generator -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "true", "failing"), [(1_000, 0, 214), (20_000, 1, 4_389), (MANY, 2, 44_026)]
)
def test_simple_is_the_published_generator(n: int, true: int, failing: int) -> None:
    """Section 2.6 and example A12 of the facts on editing and imputation."""
    survey = make_business_survey(n, seed=0, setting="simple")
    rules = EditRules.from_text(survey.rules)
    assert rules.check(survey.truth).failing.sum() == true
    assert rules.check(survey.observed).failing.sum() == failing
    # The same with the tolerance of the facts, 1e-6 of the largest value of the record.
    assert fails(survey.truth).sum() == true
    assert fails(survey.observed).sum() == failing
    # What is hit and stays as it is, such as a zero, is no error.
    pd.testing.assert_frame_equal(survey.errors, survey.observed != survey.truth)
    assert ((survey.kinds != "none") == survey.errors).all(axis=None)


def fails(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    s, t, o, tr, sc, oc, tc, p, v = (frame[name].to_numpy() for name in SIMPLE)
    excess = np.column_stack(
        [
            *(abs(t + o - tr), abs(sc + oc - tc), abs(tr - tc - p)),
            *(-s, -t, -o, -tr, -sc, -oc, -tc, -v),
            *(t - 550 * s, sc - 40 * s, abs(p) - 0.9 * tr, v - 0.3 * t),
        ]
    )
    found: np.ndarray[Any, Any] = excess.max(axis=1) > 1e-6 * frame.abs().max(axis=1).to_numpy()
    return found


def test_simple_keeps_the_order_of_draws() -> None:
    """Section 2.6, written again cell by cell."""
    n = 300
    rng = np.random.default_rng(5)
    staff = rng.integers(1, 60, n)
    turnover = np.round(staff * rng.lognormal(4, 0.3, n))
    otherrev = np.round(turnover * rng.uniform(0, 0.1, n))
    staffcosts = np.round(staff * rng.uniform(10, 25, n))
    othercosts = np.round(np.maximum((turnover + otherrev) * rng.uniform(0.3, 0.7, n), 1))
    vat = np.round(turnover * rng.uniform(0.02, 0.15, n))
    mask, kind = rng.random((n, 9)) < 0.03, rng.integers(0, 3, (n, 9))
    factor = rng.uniform(0.1, 10, (n, 9))

    made = make_business_survey(n, seed=5, setting="simple")
    assert tuple(made.truth.columns) == SIMPLE
    for name, values in {
        "staff": staff,
        "turnover": turnover,
        "otherrev": otherrev,
        "staffcosts": staffcosts,
        "othercosts": othercosts,
        "vat": vat,
        "totalrev": turnover + otherrev,
        "totalcosts": staffcosts + othercosts,
        "profit": turnover + otherrev - staffcosts - othercosts,
    }.items():
        np.testing.assert_array_equal(made.truth[name], values)
    true, given = made.truth.to_numpy(), made.observed.to_numpy()
    errors = made.errors.to_numpy()
    for i, j in np.ndindex(n, 9):
        x = true[i, j]
        wrong = (x * 1000, -x, np.round(x * factor[i, j]))[kind[i, j]] if mask[i, j] else x
        assert given[i, j] == wrong
        assert errors[i, j] == (wrong != x)
    assert not made.missing.to_numpy().any()


def test_simple_takes_no_other_settings() -> None:
    for name, value in {
        "error_level": 1.0,
        "nonresponse": 0.1,
        "mechanism": "mar",
        "errors_by_size": 0.1,
    }.items():
        with pytest.raises(ValueError, match=f"{name} is .* errors of its own"):
            make_business_survey(10, seed=0, setting="simple", **{name: value})  # type: ignore[arg-type]


# --- form -------------------------------------------------------------------------------------


def test_form(survey: Survey) -> None:
    n = len(survey.truth)
    assert list(survey.truth.columns) == list(survey.card.columns)
    for frame in (survey.observed, survey.errors, survey.missing, survey.kinds):
        assert list(frame.columns) == list(survey.truth.columns)
    for frame in (survey.design, survey.paradata, survey.previous, survey.observed, survey.kinds):
        assert frame.index.equals(pd.RangeIndex(n))
    for mask in (survey.errors, survey.missing):
        assert mask.dtypes.map(pd.api.types.is_bool_dtype).all()
    assert (survey.observed.dtypes == survey.truth.dtypes).all()
    with pytest.raises(FrozenInstanceError):
        survey.rules = ""  # type: ignore[misc]
    assert survey.card.kind == "simulated"


@pytest.mark.parametrize("maker", MAKERS)
def test_true_data_satisfy_every_hard_rule(maker: Maker) -> None:
    for n, seed in ((1_000, 0), (1_000, 7), (MANY, 0)):
        made = maker(n, seed=seed)
        rules = EditRules.from_text(made.rules)
        check = rules.check(made.truth)
        assert not check.failing.any()
        assert not check.undecided.any()
    assert rules.check_consistency().consistent
    soft = [rule.name for rule in rules if not rule.hard]
    assert len(soft) == 3
    for rule, broken in zip(rules, check.broken.T, strict=True):
        if not rule.hard:  # rare, not impossible
            assert 0 < broken.mean() < 0.05
    assert 0.05 < rules.check(made.observed).failing.mean() < 0.25


def test_every_hard_rule_but_redundant_ones_is_broken_by_errors(survey: Survey) -> None:
    heavy = make_business_survey if "vat" in survey.truth else make_household_survey
    made = heavy(40_000, seed=3, error_level=5.0)
    rules = EditRules.from_text(made.rules)
    broken = dict(zip(rules.names, rules.check(made.observed).broken.sum(axis=0), strict=True))
    never = {name for name, count in broken.items() if not count}
    # Categories and signs that no error of these touches; bounds for the localiser.
    assert never <= {
        *("sexes", "maritals", "statuses", "occupations", "ages", "somebody"),
        *(name for name in rules.names if name.endswith("_sign")),
        *("exports_told", "no_exports"),
    }


def test_masks_tell_the_truth(survey: Survey) -> None:
    for name in survey.truth:
        true, given = survey.truth[name], survey.observed[name]
        errors, missing = survey.errors[name], survey.missing[name]
        assert not (errors & missing).any()
        assert given[missing].isna().all()
        assert true[missing].notna().all()
        blank = given.isna() & ~missing
        assert (true[blank].isna() | (true[blank] == 0)).all()
        differs = given.notna() & (true.isna() | (given != true).fillna(value=False))
        assert differs.equals(errors)
        assert ((survey.kinds[name] != "none") == errors).all()


def test_blanks_that_mean_zero_are_read_as_zero(survey: Survey) -> None:
    rules = EditRules.from_text(survey.rules)
    zero = [variable.name for variable in rules.variables if variable.zero_if_blank]
    assert zero
    for name in zero:
        blank = survey.observed[name].isna()
        assert blank.any()
        assert (survey.truth.loc[blank, name] == 0).all()
        assert not survey.missing[name].any()
    assert survey.observed.drop(columns=zero).isna().sum().sum() > 0


def test_skipped_questions_are_not_applicable(household: Survey) -> None:
    working = household.truth["status"].isin(["employee", "self-employed"])
    for name in ("hours", "occupation"):
        assert household.truth[name].notna().equals(working)
        assert not household.missing[name][~working].any()
    skipped = household.kinds["hours"] == "skip"
    assert skipped.any()
    assert not working[skipped].any()
    check = EditRules.from_text(household.rules).check(household.observed)
    broken = check.broken[:, check.rules.names.index("hours_skipped")]
    assert broken[(skipped & ~household.errors["status"] & ~household.missing["hours"])].all()


def test_another_process_makes_the_same() -> None:
    code = (
        "import pandas as pd; from mlkit.datasets import make_business_survey as b, "
        "make_household_survey as h\n"
        "for made in (b(300, seed=7), h(300, seed=7)):\n"
        "    frames = (made.observed, made.truth, made.kinds.astype('str'), made.paradata)\n"
        "    print(sum(int(pd.util.hash_pandas_object(f).sum()) for f in frames))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for maker, printed in zip(MAKERS, run.stdout.split(), strict=True):
        made = maker(300, seed=7)
        frames = (made.observed, made.truth, made.kinds.astype("str"), made.paradata)
        assert int(printed) == sum(int(pd.util.hash_pandas_object(f).sum()) for f in frames)
        assert not made.truth.equals(maker(300, seed=8).truth)


@pytest.mark.parametrize("maker", MAKERS)
def test_results_are_not_shared(maker: Maker) -> None:
    made = maker(300, seed=0)
    before = made.population.copy(), made.truth.copy(), made.observed.copy()
    made.population.iloc[:] = -1.0
    made.truth["profit" if "profit" in made.truth else "net"] = -1.0
    again = maker(300, seed=0)
    pd.testing.assert_frame_equal(again.population, before[0])
    pd.testing.assert_frame_equal(again.truth, before[1])
    pd.testing.assert_frame_equal(made.observed, before[2])


@pytest.mark.parametrize("maker", MAKERS)
def test_truth_stays_whatever_happens_to_it(maker: Maker) -> None:
    usual = maker(500, seed=4)
    for other in (
        maker(500, seed=4, error_level=0.0, nonresponse=0.0),
        maker(500, seed=4, error_level=5.0, nonresponse=0.5, mechanism="mnar"),
    ):
        pd.testing.assert_frame_equal(usual.truth, other.truth)
        pd.testing.assert_frame_equal(usual.design, other.design)
    clean = maker(500, seed=4, error_level=0.0, nonresponse=0.0)
    assert not clean.errors.to_numpy().any()
    assert not clean.missing.to_numpy().any()
    everything = maker(500, seed=4, nonresponse=1.0)
    assert everything.missing.to_numpy().any(axis=1).mean() > 0.8


def test_views(survey: Survey) -> None:
    text = repr(survey)
    assert text.startswith(survey.card.title)
    assert "Simulated: for claims about methods" in text
    assert "<table" in survey._repr_html_()
    table = survey.to_frame()
    assert list(table["column"]) == list(survey.truth.columns)
    assert table["errors"].sum() == survey.errors.to_numpy().sum()
    assert table["missing"].sum() == survey.missing.to_numpy().sum()
    weights = survey.design["weights"]
    name = "turnover" if "turnover" in survey.truth else "income"
    row = table.set_index("column").loc[name]
    assert row["true_total"] == pytest.approx((weights * survey.truth[name]).sum())
    assert row["observed_total"] == pytest.approx((weights * survey.observed[name]).sum())


@pytest.mark.parametrize("name", ["business_survey", "household_survey"])
def test_the_cards(name: str) -> None:
    card = dataset_card(name)
    assert card.kind == "simulated"
    assert "for claims\nabout methods" in card.about or "for claims about methods" in card.about
    assert card.licence == "MIT License"
    if name == "business_survey":
        assert any("0 of 1,000, 1 of 20,000 and 2 of 200,000 true" in d for d in card.defects)
        assert any("214 of 1,000, 4,389 of 20,000 and 44,026" in d for d in card.defects)


# --- errors and missing values ------------------------------------------------------------------


def test_rates_of_business_errors_are_those_of_the_card(business: Survey) -> None:
    rates, n = business.card.settings["errors"], len(business.truth)
    full = make_business_survey(40_000, seed=1, nonresponse=0.0)
    for kind in ("unit_record", "unit", "sign", "swap"):
        share = (full.kinds == kind).to_numpy().any(axis=1).mean()
        # Kinds give way to those before them, and what stays as it is does not count.
        assert 0.5 * rates[kind] < share < rates[kind] + 4 * np.sqrt(rates[kind] / n), kind
    five = make_business_survey(40_000, seed=1, nonresponse=0.0, error_level=5.0)
    assert (five.kinds == "unit_record").to_numpy().any(axis=1).mean() > 4.5 * rates["unit_record"]


def test_business_errors_are_what_their_kind_says() -> None:
    made = make_business_survey(40_000, seed=2, nonresponse=0.0)
    true, given, kinds = made.truth, made.observed, made.kinds
    for name in ("turnover", "staffcosts", "profit"):
        for kind in ("unit_record", "unit"):
            rows = kinds[name] == kind
            assert rows.any()
            assert (given.loc[rows, name] == 1000 * true.loc[rows, name]).all()
        if name != "turnover":
            rows = kinds[name] == "sign"
            assert rows.any()
            assert (given.loc[rows, name] == -true.loc[rows, name]).all()
    for one, two in (("staffcosts", "othercosts"), ("turnover", "totalrev")):
        rows = kinds[one] == "swap"
        assert rows.any()
        assert (kinds[two] == "swap").equals(rows)
        assert (given.loc[rows, one] == true.loc[rows, two]).all()
        assert (given.loc[rows, two] == true.loc[rows, one]).all()
    # All amounts of a record are wrong by the same factor, but for zeros.
    rows = (kinds == "unit_record").any(axis=1)
    amounts = ["turnover", "totalrev", "staffcosts", "othercosts", "totalcosts", "profit"]
    zero = true.loc[rows, amounts] == 0
    assert ((kinds.loc[rows, amounts] == "unit_record") | zero).all(axis=None)


def test_errors_by_size() -> None:
    def slope(by_size: float) -> tuple[float, float]:
        made = make_business_survey(40_000, seed=3, errors_by_size=by_size, nonresponse=0.0)
        hit = (made.kinds == "unit_record").to_numpy().any(axis=1)
        size = np.log(made.truth["staff"])
        return float(size[hit].mean() - size[~hit].mean()), float(hit.mean())

    none, same = slope(0.0)
    more, rate = slope(0.5)
    less, _ = slope(-0.5)
    assert abs(none) < 0.2
    assert more > 0.5
    assert less < -0.5
    assert rate == pytest.approx(same, abs=0.005)


def logit_slope(hit: Any, x: Any) -> float:
    """Compare the upper with the lower half of x: the difference of the log-odds of a hit."""
    x, hit = np.asarray(x, dtype=float), np.asarray(hit, dtype=bool)
    high = x > np.median(x)
    p, q = hit[high].mean(), hit[~high].mean()
    return float(np.log(p / (1 - p)) - np.log(q / (1 - q)))


@pytest.mark.parametrize(
    ("mechanism", "known", "own"), [("mcar", 0, 0), ("mar", 1, 0), ("mnar", 0, 1)]
)
def test_mechanisms_of_non_response(mechanism: str, known: int, own: int) -> None:
    """Each mechanism depends on what it says and, given that, on nothing else."""
    firms = make_business_survey(MANY, seed=4, mechanism=mechanism, nonresponse=0.1)  # type: ignore[arg-type]
    hit, size = firms.missing["turnover"], firms.truth["size_class"]
    small = size == "1-9"
    assert hit.mean() == pytest.approx(0.1, abs=0.004)
    if known:
        assert hit[small].mean() > 1.5 * hit[size == "250+"].mean()
    inside = logit_slope(hit[small], firms.truth.loc[small, "turnover"])
    assert (inside > 0.3) if own else abs(inside) < 0.12

    people = make_household_survey(MANY, seed=4, mechanism=mechanism, nonresponse=0.1)  # type: ignore[arg-type]
    employed = people.truth["wage"] > 0
    hit, truth = people.missing["wage"][employed], people.truth[employed]
    assert hit.mean() == pytest.approx(0.1, abs=0.004)
    assert not people.missing["wage"][~employed].any()
    degree = truth["education"] == "degree"
    if known:
        assert hit[degree].mean() > 2 * hit[truth["education"] == "none"].mean()
    inside = logit_slope(hit[degree], truth.loc[degree, "wage"])
    assert (inside > 0.3) if own else abs(inside) < 0.12


def test_a_clerk_changes_wrong_records_mostly(survey: Survey) -> None:
    wrong = survey.errors.to_numpy().any(axis=1)
    changed = survey.paradata["clerk_changed"].to_numpy()
    assert changed[wrong].mean() > 0.75
    assert 0.01 < changed[~wrong].mean() < 0.03


def test_paradata_tell_of_errors(business: Survey, household: Survey) -> None:
    wrong = business.errors.to_numpy().any(axis=1)
    assert (
        business.paradata["days_late"][wrong].mean()
        > business.paradata["days_late"][~wrong].mean() + 0.5
    )
    before = business.paradata["changed_before"]
    assert before[wrong].mean() > before[~wrong].mean() + 0.02
    assert not before[business.paradata["new_respondent"]].any()
    wrong = household.errors.to_numpy().any(axis=1)
    assert household.paradata["proxy"][wrong].mean() > household.paradata["proxy"][~wrong].mean()


def test_the_year_before_resembles_this_one(business: Survey) -> None:
    before, true = business.previous, business.truth
    known = before["turnover"].notna()
    assert 0.9 < known.mean() < 1
    assert known.equals(~business.paradata["new_respondent"])
    growth = np.log(true.loc[known, "turnover"] / before.loc[known, "turnover"])
    assert growth.median() == pytest.approx(0.03, abs=0.01)
    assert growth.std() < 0.2
    balance = before["totalrev"] - before["totalcosts"] - before["profit"]
    assert (balance[known] == 0).all()


def test_turnover_has_a_heavy_tail(business: Survey) -> None:
    """The largest 1 % of enterprises have more than a third of the turnover."""
    weights, turnover = business.design["weights"], business.truth["turnover"]
    order = np.argsort(-turnover.to_numpy())
    above = np.cumsum(weights.to_numpy()[order]) <= 0.01 * weights.sum()
    part = (weights * turnover).to_numpy()[order]
    assert part[above].sum() > part.sum() / 3


# --- designs and what they estimate ---------------------------------------------------------------


def test_the_business_design() -> None:
    made = make_business_survey(1_000, seed=0)
    design = made.design
    groups = design.groupby("strata")
    assert len(groups) == 28
    np.testing.assert_allclose(groups["weights"].sum(), groups["fpc"].first())
    largest = made.truth["size_class"] == "250+"
    assert (make_business_survey(4_000, seed=0).design["weights"] == 1).any()
    assert design.loc[largest, "weights"].max() < design.loc[~largest, "weights"].min()
    found = Design(**design)  # type: ignore[arg-type]
    assert (found.n_strata, found.df) == (28, 972)


def test_a_larger_sample_comes_from_a_larger_population() -> None:
    assert make_business_survey(40_000, seed=0).design["weights"].sum() == pytest.approx(120_000)
    assert make_business_survey(40_001, seed=0).design["weights"].sum() == pytest.approx(240_000)


def test_allocation() -> None:
    """By hand: proportional 10:10:80, but stratum three has 20, and the rest is shared."""
    counts, sizes = np.array([100.0, 100.0, 20.0]), np.array([1.0, 1.0, 40.0])
    assert _allocate(100, counts, sizes).tolist() == [40, 40, 20]
    assert _allocate(6, counts, sizes).tolist() == [2, 2, 2]
    assert _allocate(220, counts, sizes).tolist() == [100, 100, 20]
    rng = np.random.default_rng(0)
    for _ in range(200):
        counts = rng.integers(2, 500, 12).astype(float)
        n = int(rng.integers(24, counts.sum() + 1))
        taken = _allocate(n, counts, rng.lognormal(0, 2, 12))
        assert taken.sum() == n
        assert (taken >= 2).all()
        assert (taken <= counts).all()


def test_no_enterprise_is_drawn_twice() -> None:
    made = make_business_survey(40_000, seed=0)
    big = made.truth["size_class"] == "250+"
    both = pd.concat([made.truth[big], made.previous[big]], axis=1, keys=["now", "before"])
    assert big.sum() > 100
    assert not both.duplicated().any()


def test_the_business_survey_estimates_its_population() -> None:
    """Unbiased: the mean of 200 samples is within four standard errors of the truth."""
    names = ["staff", "turnover", "profit", "exports"]
    found, true = [], None
    for seed in range(200):
        made = make_business_survey(500, seed=seed, error_level=0.0, nonresponse=0.0)
        found.append(made.design["weights"].to_numpy() @ made.truth[names].to_numpy())
        true = made.population.loc["all", names].to_numpy(dtype=float)
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert true is not None
    assert (abs(np.mean(found, axis=0) - true) < 4 * error).all()
    population = made.population
    np.testing.assert_allclose(population.drop("all").sum(), population.loc["all"])
    assert len(population) == 8


def test_the_household_design() -> None:
    made = make_household_survey(1_000, seed=0)
    design = made.design
    assert design["weights"].sum() == pytest.approx(8_000_000)
    assert Design(**design).n_strata == 12  # type: ignore[arg-type]
    assert design.groupby("psu")["strata"].nunique().max() == 1
    assert design.groupby("psu").size().between(7, 13).all()
    assert design["weights"].max() > 1.5 * design["weights"].min()
    assert made.truth["region"].value_counts().between(160, 173).all()


def test_the_household_survey_estimates_its_population() -> None:
    """Expected means by region are right: within four standard errors in a large sample."""
    made = make_household_survey(MANY, seed=9)
    design = Design(**made.design)  # type: ignore[arg-type]
    names = made.population.columns
    for name in names:
        for region, expected in made.population[name].items():
            inside = (
                np.ones(MANY, dtype=bool) if region == "all" else made.truth["region"] == region
            )
            weights = np.where(inside, made.design["weights"], 0.0)
            domain = Design(weights, made.design["strata"], made.design["psu"])
            found = mean(made.truth[name], design=domain)
            assert abs(found.value - expected) < 4.5 * found.standard_error, (name, region)
    assert design.n_psus == 20_000
    income = made.population["income"]
    assert income["capital"] / income["north"] == pytest.approx(2.0)


def test_the_factors_of_amounts_have_the_mean_of_their_region() -> None:
    """One factor per municipality, log-normal with mean 1, times those of region and area."""
    settings = dataset_card("household_survey").settings
    n = 400_000
    place, design, factor = _sample(n, settings, np.random.default_rng(0))
    weighted = pd.Series(factor * design["weights"]).groupby(place["region"]).sum()
    found = weighted / design["weights"].groupby(place["region"]).sum()
    expected = pd.Series(settings["region_factors"], index=settings["regions"])
    error = settings["psu_sd"] / np.sqrt(n / len(expected) / settings["persons_per_psu"])
    assert ((found / expected - 1).abs() < 4 * error).all()


@pytest.mark.parametrize("maker", MAKERS)
def test_errors_move_the_total_and_truth_does_not(maker: Maker) -> None:
    """A negative control: the raw data miss the total by far, the true data do not."""
    made = maker(4_000, seed=5, nonresponse=0.0)
    name = "profit" if maker is make_business_survey else "spending"
    design = Design(**made.design)  # type: ignore[arg-type]
    true, raw = (total(frame[name], design=design) for frame in (made.truth, made.observed))
    assert abs(raw.value - true.value) > 5 * true.standard_error


@pytest.mark.soak
@pytest.mark.parametrize(
    ("maker", "n", "name"),
    [(make_business_survey, 1_000, "turnover"), (make_household_survey, 1_000, "income")],
)
def test_coverage_of_true_totals(maker: Maker, n: int, name: str) -> None:
    """95 % intervals from true data cover the population in 95 % of 2,000 samples."""
    repeats, covered = 2_000, 0
    for seed in range(repeats):
        made = maker(n, seed=seed, error_level=0.0, nonresponse=0.0)
        design = Design(**made.design)  # type: ignore[arg-type]
        estimator = total if maker is make_business_survey else mean
        found = estimator(made.truth[name], design=design)
        covered += found.low <= made.population.loc["all", name] <= found.high
    assert abs(covered / repeats - 0.95) <= 3 * np.sqrt(0.0475 / repeats)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 20}, ValueError, "n is 20; give a whole number, [13]00 or more"),
        ({"n": 1000.0}, TypeError, "n is 1000.0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": None}, TypeError, "seed is None"),
        ({"error_level": -0.1}, ValueError, "error_level is -0.1; give a number from 0 to 5"),
        ({"error_level": float("nan")}, ValueError, "error_level is nan"),
        ({"error_level": "high"}, TypeError, "error_level is 'high'"),
        ({"error_level": True}, TypeError, "error_level is True"),
        ({"nonresponse": 1.1}, ValueError, "nonresponse is 1.1; give a share from 0 to 1"),
        ({"nonresponse": "5%"}, TypeError, "nonresponse is '5%'"),
        ({"mechanism": "MAR"}, ValueError, "allowed are 'mcar', 'mar' and 'mnar'"),
    ],
)
def test_refusals(
    maker: Maker, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"n": 1000, "seed": 0} | arguments
    with pytest.raises(error, match=message):
        maker(**given)


def test_refusals_of_the_business_survey() -> None:
    with pytest.raises(ValueError, match="allowed are 'full' and 'simple'"):
        make_business_survey(1000, seed=0, setting="banff")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="errors_by_size is 3"):
        make_business_survey(1000, seed=0, errors_by_size=3)
    with pytest.raises(ValueError, match="n is 0"):
        make_business_survey(0, seed=0, setting="simple")
