"""Scores of segmentations: against scikit-learn, in windows, with absent classes and gaps."""

from __future__ import annotations

import pickle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

pytest.importorskip("rasterio")

from rasterio.windows import Window

from mlkit.imagery import SegmentationCounts, segmentation_report

CODES = [2, 5, 7, 40]


def maps(seed: int = 0, shape: tuple[int, int] = (60, 80)) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    reference = rng.choice(CODES, shape, p=[0.6, 0.25, 0.1, 0.05]).astype("uint8")
    wrong = rng.random(shape) < 0.3
    return reference, np.where(wrong, rng.choice(CODES, shape), reference).astype("uint8")


def test_scores_are_those_of_scikit_learn() -> None:
    reference, predicted = maps()
    counts = SegmentationCounts(CODES)
    counts.update(reference, predicted)
    r, p = reference.ravel(), predicted.ravel()
    np.testing.assert_array_equal(counts.matrix, confusion_matrix(r, p, labels=CODES))
    report = segmentation_report(counts)
    np.testing.assert_allclose(report.table["iou"], jaccard_score(r, p, average=None))
    np.testing.assert_allclose(report.table["f1"], f1_score(r, p, average=None))
    assert report.mean_iou == pytest.approx(jaccard_score(r, p, average="macro"), abs=1e-12)
    assert report.mean_f1 == pytest.approx(f1_score(r, p, average="macro"), abs=1e-12)
    assert report.weighted_iou == pytest.approx(jaccard_score(r, p, average="weighted"), abs=1e-12)
    assert report.weighted_f1 == pytest.approx(f1_score(r, p, average="weighted"), abs=1e-12)
    assert report.accuracy == pytest.approx(accuracy_score(r, p), abs=1e-12)


def test_windows_add_up_and_the_mean_of_tiles_does_not() -> None:
    reference, predicted = maps()
    for one in (reference, predicted):
        one[:, :40][one[:, :40] == 40] = 2  # a class that the left tiles do not have
    whole, parts, tiles = SegmentationCounts(CODES), SegmentationCounts(CODES), []
    whole.update(reference, predicted)
    for top in range(0, 60, 20):
        for left in range(0, 80, 40):
            part = slice(top, top + 20), slice(left, left + 40)
            parts.update(reference[part], predicted[part], window=Window(left, top, 40, 20))
            tile = SegmentationCounts(CODES)
            tile.update(reference[part], predicted[part])
            tiles.append(segmentation_report(tile).mean_iou)
    np.testing.assert_array_equal(whole.matrix, parts.matrix)
    assert segmentation_report(whole).mean_iou == segmentation_report(parts).mean_iou
    assert abs(np.mean(tiles) - segmentation_report(whole).mean_iou) > 0.02  # negative control


def test_a_window_that_overlaps_is_refused_and_not_counted() -> None:
    reference, predicted = maps()
    counts = SegmentationCounts(CODES)
    counts.update(reference[:20, :20], predicted[:20, :20], window=Window(0, 0, 20, 20))
    counts.update(reference[:20, 20:40], predicted[:20, 20:40], window=Window(20, 0, 20, 20))
    before = counts.matrix.copy()
    with pytest.raises(ValueError, match=r"row 10, column 39 overlaps .* at row 0, column 20"):
        counts.update(reference[:5, :5], predicted[:5, :5], window=Window(39, 10, 5, 5))
    np.testing.assert_array_equal(counts.matrix, before)
    counts.update(reference[:5, :5], predicted[:5, :5], window=Window(40, 10, 5, 5))
    with pytest.raises(ValueError, match=r"window has 4 x 5 pixels, the arrays have \(5, 5\)"):
        counts.update(reference[:5, :5], predicted[:5, :5], window=Window(70, 10, 5, 4))


def test_a_faulty_window_can_be_given_again() -> None:
    reference, predicted = maps()
    counts = SegmentationCounts(CODES)
    with pytest.raises(ValueError, match="predicted holds"):
        counts.update(reference, predicted + 1, window=Window(0, 0, 80, 60))
    assert counts.matrix.sum() == 0
    counts.update(reference, predicted, window=Window(0, 0, 80, 60))
    assert counts.matrix.sum() == 4800


def test_a_class_in_neither_has_no_score_and_is_in_no_mean() -> None:
    counts = SegmentationCounts({1: "water", 2: "forest", 3: "ice", 4: "field"})
    counts.update([[1, 1, 2, 2]], [[1, 1, 2, 4]])
    report = segmentation_report(counts)
    assert report.absent == ("ice",)
    assert np.isnan(report.table["iou"][2])
    assert np.isnan(report.table["f1"][2])
    assert report.table["iou"][3] == 0  # predicted, but not there
    assert report.mean_iou == pytest.approx((1 + 0.5 + 0) / 3)
    assert report.mean_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert report.weighted_iou == pytest.approx((2 * 1 + 2 * 0.5) / 4)
    assert "In neither, so without score: ice" in repr(report)


def test_gaps_of_the_prediction_count_as_missed_and_of_the_reference_do_not() -> None:
    counts = SegmentationCounts([1, 2], nodata=0)
    counts.update([[1, 1, 1, 2, 0, 0]], [[1, 1, 0, 2, 1, 0]])
    assert counts.unlabelled == 2
    assert counts.unpredicted.tolist() == [1, 0]
    report = segmentation_report(counts)
    assert report.table["iou"].tolist() == [2 / 3, 1]
    assert report.accuracy == 3 / 4
    assert report.pixels == 4
    assert "1 pixels without a prediction count as missed" in repr(report)
    masked = SegmentationCounts([1, 2])
    masked.update(
        np.ma.array([1, 1, 1, 2, 9, 9], mask=[0, 0, 0, 0, 1, 1]),
        np.ma.array([1, 1, 77, 2, 1, 77], mask=[0, 0, 1, 0, 0, 1]),
    )
    np.testing.assert_array_equal(masked.matrix, counts.matrix)
    assert masked.unlabelled == 2


def test_inputs_are_not_changed_and_counts_are_pickled() -> None:
    reference, predicted = maps()
    before = reference.copy()
    reference.setflags(write=False)
    counts = SegmentationCounts(CODES, nodata=0)
    counts.update(reference, predicted)
    np.testing.assert_array_equal(reference, before)
    again = pickle.loads(pickle.dumps(counts))  # noqa: S301
    again.update(reference, predicted)
    np.testing.assert_array_equal(again.matrix, 2 * counts.matrix)


def test_legends_are_ordered_by_code() -> None:
    counts = SegmentationCounts({7: "b", 2: "a"}, nodata=-1)
    counts.update([7, 2, -1], [7, 7, 2])
    assert counts.codes == (2, 7)
    assert counts.names == ("a", "b")
    assert counts.matrix.tolist() == [[0, 1], [0, 1]]


def test_views(capsys: pytest.CaptureFixture[str]) -> None:
    reference, predicted = maps()
    counts = SegmentationCounts(CODES)
    counts.update(reference, predicted)
    report = segmentation_report(counts)
    assert report.to_frame().columns.tolist() == [
        "code",
        "class",
        "reference",
        "predicted",
        "both",
        "iou",
        "f1",
    ]
    assert "Mean IoU" in report._repr_html_()
    ax = report.plot()
    assert ax.get_xlabel() == "score, from 0 to 1"
    plt.close(ax.figure)


@pytest.mark.parametrize(
    ("reference", "predicted", "message"),
    [
        ([1, 2], [1], r"shape \(2,\), predicted \(1,\)"),
        ([1, 2], [1, 3], r"predicted holds \[3\] in 1 pixels"),
        ([1, 200], [1, 2], r"reference holds \[200\] in 1 pixels"),
        ([-5, 1], [1, 2], r"reference holds \[-5\]"),
        ([1.0, 2.0], [1, 2], "reference is of float64: give whole numbers"),
        ([1, 2], [1.0, np.nan], "predicted is of float64"),
    ],
)
def test_pixels_that_cannot_be(reference: Any, predicted: Any, message: str) -> None:
    counts = SegmentationCounts([1, 2])
    with pytest.raises(ValueError, match=message):
        counts.update(reference, predicted)
    assert counts.matrix.sum() == 0


@pytest.mark.parametrize(
    ("legend", "nodata", "message"),
    [
        ({}, None, "legend is empty"),
        ({1: "a", 2: "a"}, None, "Names repeat"),
        ({-1: "a"}, None, r"codes \[-1\]"),
        ({1.5: "a"}, None, r"codes \[1.5\]"),
        ({True: "a"}, None, r"codes \[True\]"),
        ({1: "a"}, 1, "nodata is 1, which is a class: a"),
        ({1: "a"}, -(10**9), "too far from the codes"),
    ],
)
def test_legends_that_cannot_be(legend: Any, nodata: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SegmentationCounts(legend, nodata=nodata)


def test_nothing_counted() -> None:
    counts = SegmentationCounts([1, 2], nodata=0)
    with pytest.raises(ValueError, match="No pixel with a reference class was counted"):
        segmentation_report(counts)
    counts.update([0, 0], [1, 2])
    with pytest.raises(ValueError, match="No pixel with a reference class"):
        segmentation_report(counts)
