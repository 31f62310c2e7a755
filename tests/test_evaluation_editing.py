"""Detection of errors: the worked example, brute force, coverage, and bad input."""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from mlkit.estimate import Design, ReplicateDesign, proportion, replicate_weights
from mlkit.evaluation.editing import DetectionReport, detection_report

mpl.use("agg")

TRUTH = [5, 7, 9, 10, 3, 4, 6, 5]
OBSERVED = [5, 7, 9, 100, 3, 8, 6, 50]
FLAGS = [False, True, False, True, False, False, False, True]


def value(report: DetectionReport, measure: str, **where: Any) -> float:
    return report.estimate(measure, **where).value


def survey(
    n: int = 400, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Make numbers and categories with errors, flags that find most, and missing cells."""
    rng = np.random.default_rng(seed)
    truth = pd.DataFrame(
        {
            "turnover": rng.lognormal(4, 1, n).round(),
            "staff": rng.integers(1, 50, n),
            "kind": rng.choice(["farm", "shop", "mill"], n),
            "open": rng.random(n) < 0.7,
        },
        index=[f"firm {number}" for number in range(n)],
    )
    observed = truth.copy().astype({"staff": float, "kind": object, "open": object})
    wrong = rng.random((n, 4)) < 0.15
    observed.loc[wrong[:, 0], "turnover"] *= 1000
    observed.loc[wrong[:, 1], "staff"] += 1
    observed.loc[wrong[:, 2], "kind"] = "bank"
    observed.loc[wrong[:, 3], "open"] = ~truth["open"][wrong[:, 3]]
    observed = observed.mask(rng.random((n, 4)) < 0.1)
    flags = (wrong & (rng.random((n, 4)) < 0.7)) | (rng.random((n, 4)) < 0.05)
    weights = rng.choice([1.0, 3.0, 10.0], n)
    return truth, observed, pd.DataFrame(flags, truth.index, truth.columns), weights


# --- worked example --------------------------------------------------------------------------


def test_worked_example() -> None:
    """editing-imputation.md, A20: detection."""
    report = detection_report(TRUTH, OBSERVED, FLAGS)
    one = {"variable": "value"}
    assert value(report, "alpha", **one) == pytest.approx(1 / 3)
    assert value(report, "beta", **one) == pytest.approx(0.2)
    assert value(report, "delta", **one) == pytest.approx(0.25)
    assert value(report, "RAE", **one) == pytest.approx(0.0816327, abs=5e-8)
    assert value(report, "RRASE", **one) == pytest.approx(0.0816327, abs=5e-8)
    assert value(report, "RER", **one) == pytest.approx(1.4545455, abs=5e-8)
    assert value(report, "RER (not 0)", **one) == 0  # methods.md, 24: unsettled
    assert "unsettled" in report.estimate("RER", **one).note
    for level in ("cells", "records"):  # one variable: all the same
        assert value(report, "alpha", level=level) == pytest.approx(1 / 3)
        assert value(report, "beta", level=level) == pytest.approx(0.2)
        assert value(report, "delta", level=level) == pytest.approx(0.25)
    assert (report.records, report.errors, report.missing) == (8, 3, 0)


def test_rrase_shrinks_with_the_square_root_of_the_number_of_records() -> None:
    """methods.md, 24."""
    four_times = detection_report(TRUTH * 4, OBSERVED * 4, FLAGS * 4)
    once = detection_report(TRUTH, OBSERVED, FLAGS)
    names = {"variable": "value"}
    assert value(four_times, "RAE", **names) == pytest.approx(value(once, "RAE", **names))
    assert value(four_times, "RRASE", **names) == pytest.approx(value(once, "RRASE", **names) / 2)


# --- brute force -----------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["records", "population"])
def test_figures_by_brute_force(unit: str) -> None:
    truth, observed, flags, weights = survey()
    report = detection_report(truth, observed, flags, sample_weight=weights)
    used = weights if unit == "population" else np.ones(len(truth))
    sums: dict[Any, dict[str, float]] = {}
    for record, weight in zip(truth.index, used, strict=True):
        any_of = {"given": False, "wrong": False, "flagged": False}
        for name in truth:
            seen, true = observed.loc[record, name], truth.loc[record, name]
            if pd.isna(seen):
                continue
            found = {
                "given": True,
                "wrong": bool(seen != true),
                "flagged": bool(flags.loc[record, name]),
            }
            any_of = {key: any_of[key] or found[key] for key in found}
            keys = [name, "all variables"]
            for key in keys:
                add(sums.setdefault(key, {}), weight, **found)
            if name in ("turnover", "staff"):
                left = 0.0 if found["flagged"] else seen - true
                sums[name]["D"] = sums[name].get("D", 0) + weight * left
                sums[name]["D2"] = sums[name].get("D2", 0) + weight * left**2
                sums[name]["Y"] = sums[name].get("Y", 0) + weight * true
        add(sums.setdefault("records", {}), weight, **any_of)
    for key, s in sums.items():
        where = {"variable": "all variables" if key == "records" else key, "unit": unit}
        where["level"] = "records" if key == "records" else "cells"
        assert value(report, "alpha", **where) == pytest.approx(s["missed"] / s["wrong"])
        assert value(report, "beta", **where) == pytest.approx(s["alarm"] / s["correct"])
        assert value(report, "delta", **where) == pytest.approx(
            (s["missed"] + s["alarm"]) / (s["wrong"] + s["correct"])
        )
    for name in ("turnover", "staff"):
        s = sums[name]
        assert value(report, "RAE", variable=name, unit=unit) == pytest.approx(s["D"] / s["Y"])
        assert value(report, "RRASE", variable=name, unit=unit) == pytest.approx(
            math.sqrt(s["D2"]) / s["Y"]
        )
    s = sums["kind"]
    assert value(report, "Dcat", variable="kind", unit=unit) == pytest.approx(
        s["missed"] / (s["wrong"] + s["correct"])
    )
    assert report.missing == int(observed.isna().to_numpy().sum())


def add(sums: dict[str, float], weight: float, *, given: bool, wrong: bool, flagged: bool) -> None:
    if not given:
        return
    kind = "wrong" if wrong else "correct"
    sums[kind] = sums.get(kind, 0) + weight
    mistake = "missed" if wrong and not flagged else "alarm" if flagged and not wrong else "right"
    sums[mistake] = sums.get(mistake, 0) + weight


def test_shares_of_a_variable_have_the_intervals_of_proportions() -> None:
    truth, observed, flags, weights = survey()
    design = Design(weights, strata=np.arange(400) % 4, psu=np.arange(400) // 5)
    report = detection_report(truth, observed, flags, design=design)
    wrong = observed["staff"].notna() & (observed["staff"] != truth["staff"])
    expected = proportion(
        ~flags["staff"].to_numpy(), design=design, domain=wrong.to_numpy(), confidence=0.95
    )
    assert report.estimate("alpha", variable="staff") == expected


def test_intervals_of_cells_know_that_cells_come_in_records() -> None:
    """Eight copies of one column say no more than one: the interval may not shrink."""
    truth, observed, flags, _ = survey()
    names = [f"copy {number}" for number in range(8)]
    copies = [
        pd.DataFrame(dict.fromkeys(names, frame["staff"])) for frame in (truth, observed, flags)
    ]
    once = detection_report(truth[["staff"]], observed[["staff"]], flags[["staff"]])
    eight = detection_report(*copies)
    errors = [report.estimate("alpha").standard_error for report in (once, eight)]
    assert errors[1] == pytest.approx(errors[0])
    cells = eight.figures[0].judged * 8
    share = value(eight, "alpha")
    assert errors[1] > 2 * math.sqrt(share * (1 - share) / cells)


def test_perfect_detection_keeps_an_interval() -> None:
    truth, observed, _, _ = survey()
    perfect = observed.notna() & (observed.astype(object) != truth.astype(object))
    report = detection_report(truth, observed, perfect)
    found = report.estimate("alpha")
    assert found.value == 0
    assert found.low == 0 < found.high < 0.05
    assert value(report, "RAE", variable="turnover") == 0
    nothing = detection_report(truth, observed, perfect & False)
    assert nothing.estimate("alpha").value == 1
    assert nothing.estimate("alpha").low > 0.95
    assert nothing.estimate("beta").value == 0


def test_without_errors_alpha_does_not_exist() -> None:
    truth, _, flags, _ = survey()
    report = detection_report(truth, truth, flags)
    assert math.isnan(value(report, "alpha"))
    assert "no errors" in report.estimate("alpha").note
    assert 0 < value(report, "beta") < 0.5
    all_missing = detection_report([1.0, 2.0], [np.nan, np.nan], [True, False])
    assert math.isnan(value(all_missing, "delta"))
    assert math.isnan(value(all_missing, "RER", variable="value"))


def test_a_value_that_is_no_category_is_an_error_like_others() -> None:
    truth = pd.Series(pd.Categorical(["low", "high", "low"], ["low", "high"], ordered=True))
    report = detection_report(truth, ["low", "hihg", "low"], [False, True, False])
    assert report.errors == 1
    assert value(report, "Dcat", variable="value") == 0


def test_one_record() -> None:
    report = detection_report([1.0], [2.0], [False])
    assert value(report, "alpha") == 1
    assert value(report, "RAE", variable="value") == 1


def test_coverage_of_the_share_of_missed_cells() -> None:
    """Errors come in records: clusters of up to four, missed together half of the time."""
    rng = np.random.default_rng(11)
    draws, truth_of_alpha, covered = 300, 0.3, 0
    for _ in range(draws):
        n = 250
        wrong = (rng.random((n, 1)) < 0.3) & (rng.random((n, 4)) < 0.6)
        together = rng.random((n, 1)) < truth_of_alpha
        missed = np.where(rng.random((n, 1)) < 0.5, together, rng.random((n, 4)) < truth_of_alpha)
        columns = list("abcd")
        truth = pd.DataFrame(np.ones((n, 4)), columns=columns)
        observed = truth + wrong
        flags = pd.DataFrame(wrong & ~missed, columns=columns)
        found = detection_report(truth, observed, flags).estimate("alpha")
        covered += found.low <= truth_of_alpha <= found.high
    assert abs(covered / draws - 0.95) <= 3 * math.sqrt(0.0475 / draws)


# --- design, inputs, views -------------------------------------------------------------------


def test_replicate_designs_and_equal_weights() -> None:
    truth, observed, flags, weights = survey()
    design = Design(weights)
    columns = replicate_weights(design, replicates=300, seed=0)
    replicates = ReplicateDesign(weights, columns, df=design.df)
    a, b = (
        detection_report(truth, observed, flags, design=one).estimate("delta")
        for one in (design, replicates)
    )
    assert a.value == b.value
    assert a.standard_error == pytest.approx(b.standard_error, rel=0.2)
    same = detection_report(truth, observed, flags, sample_weight=np.full(400, 7.0))
    assert same.units == ("records",)


def test_flags_choose_the_variables_and_inputs_stay() -> None:
    truth, observed, flags, weights = survey()
    before = [one.copy() for one in (truth, observed, flags)]
    report = detection_report(truth, observed, flags[["staff"]], sample_weight=weights)
    assert report.variables == ("staff",)
    for one, kept in zip((truth, observed, flags), before, strict=True):
        pd.testing.assert_frame_equal(one, kept)
    series = detection_report(truth["staff"], observed["staff"], flags["staff"])
    assert series.variables == ("staff",)


def test_table_view_and_figure() -> None:
    truth, observed, flags, weights = survey()
    report = detection_report(truth, observed, flags, sample_weight=weights)
    frame = report.to_frame()
    assert list(frame["measure"].unique()) == [
        *("alpha", "beta", "delta", "RAE", "RRASE", "RER", "RER (not 0)", "Dcat")
    ]
    assert len(frame) == 2 * (2 * 7 + 2 * 4 + 3 + 3)
    text = repr(report)
    assert "unsettled" in text
    assert "not observed" in text
    assert "square root" in text
    assert "<table" in report._repr_html_()
    ax = report.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == [*truth, "all variables"]
    with pytest.raises(KeyError, match="The variables are"):
        report.estimate("alpha", variable="profit")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t, o, f: (t, o.iloc[::-1], f), ValueError, "not the same ones in the same order"),
        (lambda t, o, f: (t, o.iloc[:9], f), ValueError, "400 records and observed 9"),
        (lambda t, o, f: (t.iloc[:0], o.iloc[:0], f.iloc[:0]), ValueError, "at least one record"),
        (lambda t, o, f: (t, o, f.astype(int)), TypeError, "True or False for every cell"),
        (lambda t, o, f: (t, o, f.iloc[:, :0]), ValueError, "at least one record and one column"),
        (lambda t, o, f: (t.drop(columns="kind"), o, f), ValueError, "'kind', but truth has not"),
        (lambda t, o, f: (t, o.drop(columns="kind"), f), ValueError, "'kind', but observed has"),
        (lambda t, o, f: (t, o, f.rename(columns={"kind": "kin"})), ValueError, "'kin', but truth"),
        (lambda t, o, f: (t.set_axis(list("aabc"), axis=1), o, f), ValueError, "more than one col"),
        (lambda t, o, f: (t.set_axis([0] * 400), o, f), ValueError, "the record 0 more than once"),
        (lambda t, o, f: (t, o.assign(staff="many"), f), TypeError, "numbers in truth and texts"),
        (lambda t, o, f: (t, o.assign(staff=np.inf), f), ValueError, "400 infinite values"),
        (lambda t, o, f: (t.assign(staff=np.nan), o, f), ValueError, "truth has .* missing values"),
        (lambda t, o, f: (t, o.assign(staff=pd.Timestamp(0)), f), TypeError, "holds datetime"),
        (lambda t, o, f: (t.to_numpy(), o, f), TypeError, "give a DataFrame with a row per record"),
    ],
)
def test_bad_input_is_refused(change: Any, error: type[Exception], message: str) -> None:
    truth, observed, flags, _ = survey()
    with pytest.raises(error, match=message):
        detection_report(*change(truth, observed, flags))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0] * 7, "lengths differ"),
        ([-1.0] * 8, "negative"),
        ([np.nan] * 8, "missing or infinite"),
        ([0.0] * 8, "zero"),
    ],
)
def test_bad_weights_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detection_report(TRUTH, OBSERVED, FLAGS, sample_weight=weights)


def test_lengths_of_arrays_and_two_designs() -> None:
    with pytest.raises(ValueError, match="lengths differ: truth 8, observed 7, flags 8"):
        detection_report(TRUTH, OBSERVED[:7], FLAGS)
    with pytest.raises(ValueError, match="Both sample_weight and design"):
        detection_report(TRUTH, OBSERVED, FLAGS, sample_weight=[1] * 8, design=Design([1] * 8))
    with pytest.raises(ValueError, match="confidence"):
        detection_report(TRUTH, OBSERVED, FLAGS, confidence=95)
