"""Blocks of land are held out whole, folds are balanced, buffers kept, and scikit-learn agrees."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate

from mlkit.imagery import SpatialBlocks


def samples(seed: int = 0, size: int = 400) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    places = rng.uniform(-500, 500, (size, 2))
    return rng.normal(size=(size, 3)), rng.integers(0, 3, size), places


def test_each_sample_is_tested_once_and_each_block_by_one_fold() -> None:
    features, _, places = samples()
    splitter = SpatialBlocks(size=100, n_splits=4)
    folds = list(splitter.split(features, groups=places))
    assert len(folds) == splitter.get_n_splits() == 4
    tested = np.concatenate([test for _, test in folds])
    np.testing.assert_array_equal(np.sort(tested), np.arange(400))
    cells = np.floor(places / 100)
    for train, test in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(400))
        assert not {*map(tuple, cells[train])} & {*map(tuple, cells[test])}
        assert 98 <= len(test) <= 102  # 100 blocks of about 4 samples: balanced by samples


def test_folds_are_balanced_by_samples_not_by_blocks() -> None:
    crowd = np.column_stack([np.full(90, 0.5), np.full(90, 0.5)])
    rest = np.column_stack([np.arange(1, 91) + 0.5, np.full(90, 0.5)])
    places = np.concatenate([crowd, rest])
    report = SpatialBlocks(size=1, n_splits=2).report(places)
    assert report.folds["test"].tolist() == [90, 90]
    assert sorted(report.folds["blocks"]) == [1, 90]


def test_the_same_samples_give_the_same_folds() -> None:
    features, _, places = samples()
    first, second = (
        [test.tolist() for _, test in SpatialBlocks(size=90).split(features, groups=places)]
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("buffer", [1.0, 40.0, 75.0])
def test_the_buffer_leaves_out_what_is_near_and_only_that(buffer: float) -> None:
    features, _, places = samples()
    plain = list(SpatialBlocks(size=200, n_splits=3).split(features, groups=places))
    kept = list(SpatialBlocks(size=200, n_splits=3, buffer=buffer).split(features, groups=places))
    for (train, test), (nearer, same) in zip(plain, kept, strict=True):
        np.testing.assert_array_equal(test, same)
        away = cdist(places[train], places[test]).min(axis=1)
        np.testing.assert_array_equal(nearer, train[away > buffer])


def test_a_sample_at_the_distance_of_the_buffer_is_left_out() -> None:
    places = np.array([[0.5, 0], [1.5, 0], [2.5, 0], [3.5, 0]])
    folds = list(SpatialBlocks(size=2, n_splits=2, buffer=1.0).split(places, groups=places))
    assert sorted(len(train) for train, _ in folds) == [1, 1]


def test_polygons_are_never_split() -> None:
    rng = np.random.default_rng(3)
    centres = rng.uniform(0, 1000, (40, 2))
    polygon = np.repeat(np.arange(40), 10)
    places = centres[polygon] + rng.normal(0, 80, (400, 2))
    names = np.array([f"p{one}" for one in polygon], dtype=object)
    groups = pd.DataFrame({"x": places[:, 0], "y": places[:, 1], "polygon": names})
    for given in (np.column_stack([places, polygon]), groups):
        whole = split = 0
        for train, test in SpatialBlocks(size=250, n_splits=4).split(places, groups=given):
            whole += len(np.intersect1d(polygon[train], polygon[test]))
        for train, test in SpatialBlocks(size=250, n_splits=4).split(places, groups=places):
            split += len(np.intersect1d(polygon[train], polygon[test]))
        assert whole == 0
        assert split > 10  # the control: by coordinates alone they are


def test_it_works_in_scikit_learn() -> None:
    features, classes, places = samples()
    model, blocks = LogisticRegression(), SpatialBlocks(size=200, n_splits=3, buffer=10)
    scores = cross_val_score(model, features, classes, groups=places, cv=blocks)
    by_hand = [
        clone(model).fit(features[train], classes[train]).score(features[test], classes[test])
        for train, test in blocks.split(features, classes, places)
    ]
    np.testing.assert_array_equal(scores, by_hand)
    table = pd.DataFrame(places, columns=["x", "y"])
    frame = cross_validate(model, pd.DataFrame(features), classes, groups=table, cv=blocks)
    np.testing.assert_array_equal(frame["test_score"], by_hand)
    search = GridSearchCV(model, {"C": [0.1, 1.0]}, cv=blocks).fit(features, classes, groups=places)
    assert search.n_splits_ == 3
    assert "size=200" in repr(blocks)
    assert "n_splits=3" in repr(blocks)


def test_it_works_with_metadata_routing() -> None:
    features, classes, places = samples()
    model, blocks = LogisticRegression(), SpatialBlocks(size=200, n_splits=3)
    plain = cross_val_score(model, features, classes, groups=places, cv=blocks)
    with sklearn.config_context(enable_metadata_routing=True):
        assert blocks.get_metadata_routing().split.requests == {"groups": True}
        routed = cross_val_score(model, features, classes, params={"groups": places}, cv=blocks)
    np.testing.assert_array_equal(plain, routed)


def test_random_folds_flatter_where_neighbours_are_alike_and_blocks_do_not() -> None:
    """facts/imagery.md A27, in small: random minus true accuracy > .2, |blocked - true| < .1."""
    rng = np.random.default_rng(11)
    patches = rng.uniform(0, 1000, (60, 2))
    number = np.repeat(np.arange(60), 12)
    places = patches[number] + rng.normal(0, 8, (720, 2))
    classes = rng.integers(0, 3, 60)[number]
    shift = rng.normal(0, 2.0, (60, 4))[number]  # soils, growth: common to a patch
    signal = np.eye(3)[classes] @ rng.normal(0, 1.0, (3, 4))
    features = signal + shift + rng.normal(0, 0.3, (720, 4))
    fresh = rng.integers(0, 3, 4000)  # of other patches, one pixel each
    rng_signal = np.linalg.lstsq(np.eye(3)[classes], signal, rcond=None)[0]
    unseen = np.eye(3)[fresh] @ rng_signal + rng.normal(0, 2.0, (4000, 4))
    unseen += rng.normal(0, 0.3, unseen.shape)
    model = RandomForestClassifier(60, random_state=0)
    true = model.fit(features, classes).score(unseen, fresh)
    random = cross_val_score(model, features, classes, cv=KFold(5, shuffle=True, random_state=0))
    blocked = cross_val_score(
        model, features, classes, groups=places, cv=SpatialBlocks(size=100, n_splits=5)
    )
    assert random.mean() - true > 0.2
    assert abs(blocked.mean() - true) < 0.1


def test_the_report_says_what_the_folds_are() -> None:
    _, _, places = samples(size=200)
    classes = np.where(places[:, 0] > 300, "reed", "field")  # reed grows in the east only
    blocks = SpatialBlocks(size=700, n_splits=2, buffer=50)
    report = blocks.report(places, classes)
    folds = list(blocks.split(places, groups=places))
    frame = report.to_frame()
    assert frame["test"].sum() == 200
    assert frame["train"].tolist() == [len(train) for train, _ in folds]
    assert (frame[["test", "train", "left_out"]].sum(axis=1) == 200).all()
    nearest = [cdist(places[train], places[test]).min() for train, test in folds]
    np.testing.assert_allclose(frame["nearest"], nearest)
    assert (frame["nearest"] > 50).all()
    frame.loc[:, "test"] = 0
    assert report.to_frame()["test"].sum() == 200
    assert "within 50 of a test sample" in repr(report)
    assert "<table" in report._repr_html_()
    for fold, (_, test) in enumerate(folds):
        assert (report.fold_of[test] == fold).all()
    ax = report.plot()
    assert ax.get_title(loc="left") + ax.get_title() == "Blocks of 700"
    plt.close(ax.figure)


def test_the_report_names_classes_missing_in_training() -> None:
    places = np.array([[0.5, 0], [1.5, 0], [2.5, 0], [3.5, 0]])
    report = SpatialBlocks(size=1, n_splits=4).report(places, ["a", "a", "b", "a"])
    assert sorted(report.folds["missing_in_training"]) == ["", "", "", "b"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (None, "needs the coordinates of the samples, and none are given"),
        (np.arange(400), r"have the shape \(400,\).*LeaveOneGroupOut or GroupKFold"),
        (np.zeros((400, 4)), r"shape \(400, 4\)"),
        (np.zeros((399, 2)), "399 coordinates, X has 400"),
        (np.full((400, 2), np.nan), "400 of 400 coordinates are missing"),
        (np.full((400, 2), np.inf), "400 of 400 coordinates are missing or infinite"),
        (np.zeros((400, 2)), "give 1 blocks that hold samples, fewer than n_splits=5"),
        (np.column_stack([np.zeros((400, 2)), np.full(400, np.nan)]), "polygon, has missing"),
    ],
)
def test_coordinates_that_cannot_be(groups: Any, message: str) -> None:
    features, _, _ = samples()
    with pytest.raises(ValueError, match=message):
        next(SpatialBlocks(size=100).split(features, groups=groups))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0: give a distance, above 0"),
        ({"size": -1}, "size is -1"),
        ({"size": np.nan}, "size is nan"),
        ({"size": 1, "buffer": -1}, "buffer is -1: give a distance, 0 or more"),
        ({"size": 1, "n_splits": 1}, "n_splits"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpatialBlocks(**options)


def test_a_buffer_that_leaves_nothing_and_lengths_that_differ() -> None:
    features, _, places = samples()
    with pytest.raises(ValueError, match="buffer of 2000 leaves no sample to train on"):
        next(SpatialBlocks(size=100, buffer=2000).split(features, groups=places))
    with pytest.raises(ValueError, match=r"y has the shape \(3,\), groups are 400 samples"):
        SpatialBlocks(size=100).report(places, [1, 2, 3])
    with pytest.raises(ValueError, match="no samples"):
        next(SpatialBlocks(size=100).split([], groups=np.empty((0, 2))))
