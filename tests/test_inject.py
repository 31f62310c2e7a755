"""Errors and missing values for any data frame: rates, mechanisms, masks and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlkit.datasets import inject_errors, inject_missing
from mlkit.datasets._damage import chances, logistic_chances, ranks

N = 20_000


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "turnover": np.round(rng.lognormal(5, 1, N)) + 1,
            "rate": rng.random(N),
            "staff": rng.integers(1, 500, N),
            "region": pd.array(rng.choice(["n", "e", "s"], N), dtype="str"),
            "exporter": rng.random(N) < 0.4,
        },
        index=pd.Index(rng.permutation(N) + 10, name="id"),
    )


def near(share: float, rate: float, n: int = N) -> bool:
    return abs(share - rate) < 4 * np.sqrt(rate * (1 - rate) / n)


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unit", "sign", "random"])
def test_errors_are_where_the_mask_says(frame: pd.DataFrame, kind: Any) -> None:
    before = frame.copy()
    wrong, mask = inject_errors(frame, kind=kind, rate=0.1, seed=1, columns=["turnover", "rate"])
    pd.testing.assert_frame_equal(frame, before)
    assert wrong.index.equals(frame.index)
    assert (wrong.dtypes == frame.dtypes).all()
    assert mask.dtypes.map(pd.api.types.is_bool_dtype).all()
    pd.testing.assert_frame_equal(mask, wrong != frame)
    assert not mask[["staff", "region", "exporter"]].to_numpy().any()
    for name in ("turnover", "rate"):
        hit = mask[name]
        assert near(hit.mean(), 0.1) or kind == "random"
        ratio = wrong.loc[hit, name] / frame.loc[hit, name]
        if kind == "unit":
            np.testing.assert_allclose(ratio, 1000)
        elif kind == "sign":
            assert (ratio == -1).all()
        else:
            assert ratio[frame["turnover"] > 20].between(0.05, 10.05).all()
            assert 0.4 < (ratio < 1).mean() < 0.6  # as likely below as above
    # Cells are hit independently of each other.
    assert near((mask["turnover"] & mask["rate"]).mean(), 0.01) or kind == "random"
    again = inject_errors(frame, kind=kind, rate=0.1, seed=1, columns=["turnover", "rate"])
    pd.testing.assert_frame_equal(again[0], wrong)
    other = inject_errors(frame, kind=kind, rate=0.1, seed=2, columns=["turnover", "rate"])
    assert not other[1].equals(mask)


def test_whole_numbers_stay_whole(frame: pd.DataFrame) -> None:
    wrong, mask = inject_errors(frame, kind="random", rate=0.5, seed=1)
    assert wrong["staff"].dtype == frame["staff"].dtype
    assert (wrong["turnover"] == wrong["turnover"].round()).all()
    assert not (wrong["rate"] == wrong["rate"].round()).all()
    assert mask["staff"].any()


def test_categories_and_truth_values_become_others(frame: pd.DataFrame) -> None:
    columns = ["region", "exporter"]
    wrong, mask = inject_errors(frame, kind="random", rate=0.2, seed=1, columns=columns)
    assert near(mask["region"].mean(), 0.2)
    assert near(mask["exporter"].mean(), 0.2)
    assert set(wrong["region"]) == {"n", "e", "s"}
    into = wrong.loc[mask["region"] & (frame["region"] == "n"), "region"]
    assert 0.4 < (into == "e").mean() < 0.6
    assert (wrong.dtypes == frame.dtypes).all()


def test_a_whole_record(frame: pd.DataFrame) -> None:
    _, mask = inject_errors(
        frame, kind="unit", rate=0.1, seed=1, columns=["turnover", "rate"], whole_record=True
    )
    assert mask["turnover"].equals(mask["rate"])
    assert near(mask["turnover"].mean(), 0.1)


def test_a_swap(frame: pd.DataFrame) -> None:
    frame.loc[frame.index[:5_000], "rate"] = np.nan
    pair = ["turnover", "rate"]
    wrong, mask = inject_errors(frame, kind="swap", rate=0.3, seed=1, columns=pair)
    hit = mask["turnover"]
    assert hit.equals(mask["rate"])
    assert not hit[:5_000].any()
    assert near(hit[5_000:].mean(), 0.3, N - 5_000)
    assert (wrong.loc[hit, "turnover"] == frame.loc[hit, "rate"]).all()
    assert (wrong.loc[hit, "rate"] == frame.loc[hit, "turnover"]).all()


def test_missing_values_and_zeros_stay() -> None:
    frame = pd.DataFrame({"x": [0.0, np.nan, 5.0], "c": pd.array(["a", None, "b"], dtype="str")})
    for kind in ("unit", "sign", "random"):
        wrong, mask = inject_errors(frame, kind=kind, rate=1.0, seed=1)  # type: ignore[arg-type]
        assert mask["x"].tolist() == [False, False, True]
        assert wrong["x"].isna().tolist() == [False, True, False]
        assert mask["c"].tolist() == ([True, False, True] if kind == "random" else [False] * 3)


def test_large_whole_numbers_stay_exact_where_nothing_is_changed() -> None:
    exact = 2**53 + 1
    frame = pd.DataFrame({"x": [exact] * 100})
    wrong, mask = inject_errors(frame, kind="sign", rate=0.5, seed=0)
    assert (wrong.loc[~mask["x"], "x"] == exact).all()
    with pytest.raises(ValueError, match=r"'x' \(int64\) cannot hold the wrong values"):
        inject_errors(frame * 1000, kind="unit", rate=0.5, seed=0)


def test_errors_that_grow_with_size(frame: pd.DataFrame) -> None:
    _, mask = inject_errors(
        frame, kind="sign", rate=0.1, seed=1, columns=["rate"], propensity=frame["staff"]
    )
    assert near(mask["rate"].mean(), 0.1)
    large = frame["staff"] > 250
    assert mask.loc[large, "rate"].mean() > 2.5 * mask.loc[~large, "rate"].mean()


def test_chances_by_hand() -> None:
    """Weights 1, 1, 8 and a mean of .5: 8/10 of 1.5 exceeds 1, so it is 1 and .25 each stay."""
    np.testing.assert_allclose(chances(np.array([1.0, 1.0, 8.0]), 0.5), [0.25, 0.25, 1.0])
    np.testing.assert_allclose(chances(np.array([1.0, 3.0]), 0.5), [0.25, 0.75])
    np.testing.assert_allclose(chances(np.array([0.0, 3.0]), 0.9), [0.0, 1.0])
    assert chances(np.array([1.0, 2.0]), 0.0).tolist() == [0.0, 0.0]
    rng = np.random.default_rng(0)
    for rate in (0.001, 0.3, 0.99):
        found = chances(rng.lognormal(0, 3, 1_000), rate)
        assert found.mean() == pytest.approx(rate)
        assert found.max() <= 1


# --- missing values ---------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["mcar", "mar", "mnar"])
def test_missing_values_are_where_the_mask_says(frame: pd.DataFrame, mechanism: Any) -> None:
    before = frame.copy()
    known = "staff" if mechanism == "mar" else None
    seen, mask = inject_missing(frame, mechanism=mechanism, rate=0.2, seed=1, depends_on=known)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(seen.isna(), mask)
    assert seen.index.equals(frame.index)
    for name in frame.columns.drop("staff" if known else []):
        assert near(mask[name].mean(), 0.2)
        kept = ~mask[name]
        assert (seen.loc[kept, name] == frame.loc[kept, name]).all()
    if known:
        assert not mask["staff"].any()
        assert seen["staff"].dtype == frame["staff"].dtype
    assert seen["exporter"].dtype == "boolean"
    again = inject_missing(frame, mechanism=mechanism, rate=0.2, seed=1, depends_on=known)
    pd.testing.assert_frame_equal(again[0], seen)
    # The values themselves are smaller where the mechanism depends on them, and only there.
    gap = frame.loc[mask["rate"], "rate"].mean() - frame["rate"].mean()
    assert (gap > 0.05) if mechanism == "mnar" else abs(gap) < 0.02
    gap = frame.loc[mask["rate"], "staff"].mean() - frame["staff"].mean()
    assert (gap > 30) if mechanism == "mar" else abs(gap) < 10


def test_strength_is_the_difference_of_log_odds() -> None:
    score = np.linspace(-0.5, 0.5, 1001)
    for strength in (-4.0, 0.0, 2.0):
        chance = logistic_chances(score, 0.3, strength)
        assert chance.mean() == pytest.approx(0.3)
        odds = np.log(chance / (1 - chance))
        assert odds[-1] - odds[0] == pytest.approx(strength)
    assert logistic_chances(score, 0.0).tolist() == [0.0] * 1001
    assert logistic_chances(score, 1.0).tolist() == [1.0] * 1001


def test_ranks_by_hand() -> None:
    """Three known values: (1 - .5) / 3 - .5 and so on; a tie in the middle of its places."""
    found = ranks(pd.Series([10.0, np.nan, 30.0, 1e9]))
    np.testing.assert_allclose(found, [-1 / 3, np.nan, 0, 1 / 3])
    found = ranks(pd.Series(["b", "a", "b", None], dtype="str"))
    np.testing.assert_allclose(found, [1 / 6, -1 / 3, 1 / 6, np.nan])


def test_what_was_missing_before_is_not_in_the_mask() -> None:
    frame = pd.DataFrame({"x": [1.0, np.nan] * 500})
    for mechanism in ("mcar", "mnar"):
        seen, mask = inject_missing(frame, mechanism=mechanism, rate=0.5, seed=0)  # type: ignore[arg-type]
        assert not mask["x"][frame["x"].isna()].any()
        assert near(mask["x"][frame["x"].notna()].mean(), 0.5, 500)
        assert seen["x"].isna().equals(mask["x"] | frame["x"].isna())


def test_nothing_and_everything(frame: pd.DataFrame) -> None:
    seen, mask = inject_missing(frame, mechanism="mcar", rate=0.0, seed=0)
    pd.testing.assert_frame_equal(seen, frame)
    assert not mask.to_numpy().any()
    seen, mask = inject_missing(frame, mechanism="mnar", rate=1.0, seed=0)
    assert mask.to_numpy().all()


# --- refusals ---------------------------------------------------------------------------------

SMALL = pd.DataFrame({"x": [1.0, 2.0], "y": [3, 4], "c": ["a", "b"]})
TWICE = pd.concat([SMALL, SMALL["x"]], axis=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"frame": [1, 2]}, TypeError, "frame is a list; give a pandas DataFrame"),
        ({"frame": SMALL.iloc[:0]}, ValueError, "no records"),
        ({"frame": TWICE}, ValueError, "more than one column 'x'"),
        ({"frame": SMALL.set_axis([7, 7])}, ValueError, "has 7 more than once"),
        ({"columns": ["xx"]}, ValueError, "names 'xx', which frame does not have. Did you mean"),
        ({"columns": ["x", "x"]}, ValueError, "names 'x' twice"),
        ({"columns": "x"}, TypeError, "give a list of column names"),
        ({"columns": []}, ValueError, "columns is empty"),
        ({"frame": SMALL.assign(x=np.nan)}, ValueError, "'x' has no value at all"),
        ({"frame": SMALL.assign(x=np.inf)}, ValueError, "'x' is infinite in record 0"),
        ({"rate": 1.5}, ValueError, "rate is 1.5; give a share from 0 to 1"),
        ({"rate": float("nan")}, ValueError, "rate is nan"),
        ({"rate": "5%"}, TypeError, "rate is '5%'"),
        ({"rate": True}, TypeError, "rate is True"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": 0.5}, TypeError, "seed is 0.5"),
    ],
)
def test_refusals_of_both(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"frame": SMALL, "rate": 0.5, "seed": 0} | arguments
    frame = given.pop("frame")
    with pytest.raises(error, match=message):
        inject_errors(frame, kind="unit", **given)
    with pytest.raises(error, match=message):
        inject_missing(frame, mechanism="mcar", **given)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "units"}, ValueError, "allowed are 'unit', 'sign', 'swap', 'random'"),
        ({"columns": ["c"]}, TypeError, "'c' holds no numbers"),
        ({"frame": SMALL[["c"]]}, ValueError, "no column of numbers"),
        ({"kind": "swap", "columns": ["x"]}, ValueError, "a swap needs the two columns"),
        ({"whole_record": "yes"}, TypeError, "whole_record is 'yes'"),
        ({"propensity": [1.0]}, ValueError, r"shape \(1,\); give one number for each of the 2"),
        ({"propensity": [1.0, np.nan]}, ValueError, "missing or infinite"),
        ({"propensity": [1.0, -1.0]}, ValueError, "negative"),
        ({"propensity": [0.0, 0.0]}, ValueError, "0 for every record"),
        ({"propensity": ["a", "b"]}, TypeError, "give one number per record"),
    ],
)
def test_refusals_of_errors(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"frame": SMALL, "kind": "unit", "rate": 0.5, "seed": 0} | arguments
    with pytest.raises(error, match=message):
        inject_errors(given.pop("frame"), **given)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mechanism": "MAR"}, ValueError, "allowed are 'mcar', 'mar' and 'mnar'"),
        ({"mechanism": "mar"}, ValueError, "depends_on is None; 'mar' needs a column"),
        ({"depends_on": "x"}, ValueError, "'mcar' and depends_on is 'x'"),
        (
            {"mechanism": "mar", "depends_on": "z"},
            ValueError,
            "depends_on names 'z', which frame does not have",
        ),
        (
            {"mechanism": "mar", "depends_on": "x", "columns": ["x"]},
            ValueError,
            "is among columns",
        ),
        (
            {
                "frame": SMALL.assign(x=[1.0, np.nan]),
                "mechanism": "mar",
                "depends_on": "x",
                "columns": ["y"],
            },
            ValueError,
            "has missing values, and 'mar'",
        ),
        ({"strength": 50}, ValueError, "strength is 50"),
        ({"strength": "2"}, TypeError, "strength is '2'"),
    ],
)
def test_refusals_of_missing_values(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"frame": SMALL, "mechanism": "mcar", "rate": 0.5, "seed": 0} | arguments
    with pytest.raises(error, match=message):
        inject_missing(given.pop("frame"), **given)
