"""Scores of segmentations from counts that grow window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.imagery._legend import read_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray
    from rasterio.windows import Window


class SegmentationCounts:
    """Count pixels by reference and predicted class, one window after the other.

    Parameters
    ----------
    legend : mapping of int to str, or sequence of int
        The codes of classes and their names.
    nodata : int, optional
        The code of pixels without a class, in the reference, the prediction or both. Masked
        pixels of masked arrays are such pixels, too.

    Attributes
    ----------
    matrix : ndarray of shape (k, k)
        Pixels by reference class (rows) and predicted class (columns), in the order of
        `codes`.
    codes : tuple of int
        The codes in ascending order.
    names : tuple of str
        Their names.
    unlabelled : int
        Pixels without a reference class: left out.
    unpredicted : ndarray of shape (k,)
        Pixels of each reference class without a prediction. They count as missed: a map does not
        get better by leaving pixels blank.

    Raises
    ------
    ValueError
        If the legend is empty, its codes are not whole numbers from 0 to 65,535, or nodata is
        one of them.

    Examples
    --------
    >>> from mlkit.imagery import SegmentationCounts, segmentation_report
    >>> counts = SegmentationCounts({1: "forest", 2: "field"})
    >>> counts.update([[1, 1], [2, 2]], [[1, 2], [2, 2]])
    >>> counts.matrix.tolist()
    [[1, 1], [0, 2]]
    >>> segmentation_report(counts).to_frame()["iou"].round(3).tolist()
    [0.5, 0.667]
    """

    def __init__(
        self, legend: Mapping[int, str] | Sequence[int], *, nodata: int | None = None
    ) -> None:
        found = read_legend(legend)
        self.codes, self.names = tuple(found), tuple(found.values())
        if nodata in self.codes:
            raise ValueError(f"nodata is {nodata}, which is a class: {found[nodata]}.")
        self.nodata = nodata
        size = len(self.codes)
        self.matrix = np.zeros((size, size), dtype=np.int64)
        self.unpredicted = np.zeros(size, dtype=np.int64)
        self.unlabelled = 0
        self._lowest = min(self.codes[0], self.codes[0] if nodata is None else nodata)
        highest = max(self.codes[-1], self.codes[-1] if nodata is None else nodata)
        if highest - self._lowest > 100_000:
            raise ValueError(f"nodata is {nodata}, too far from the codes: give a nearer one.")
        # One place more than classes is nodata; two more, a code that is not in the legend.
        self._places = np.full(highest - self._lowest + 1, size + 1, dtype=np.intp)
        self._places[np.array(self.codes) - self._lowest] = np.arange(size)
        if nodata is not None:
            self._places[nodata - self._lowest] = size
        self._windows = np.empty((0, 4), dtype=np.int64)

    def update(
        self, reference: ArrayLike, predicted: ArrayLike, *, window: Window | None = None
    ) -> None:
        """Count the pixels of one window.

        Parameters
        ----------
        reference, predicted : array-like of int, of one shape
            The codes; masked arrays are understood.
        window : rasterio.windows.Window, optional
            Where they lie in the raster. If it is given, a window that overlaps one that was
            counted before is refused, so that no pixel counts twice.

        Raises
        ------
        ValueError
            If shapes differ or do not fit the window, values are not whole numbers, a code is
            not in the legend, or the window overlaps an earlier one. Nothing is then counted.
        """
        here: Any = np.ma.asarray(reference)
        there: Any = np.ma.asarray(predicted)
        if here.shape != there.shape:
            raise ValueError(
                f"reference has the shape {here.shape}, predicted {there.shape}: give the same "
                "pixels of both."
            )
        box = None if window is None else self._check_window(window, here.shape)
        size = len(self.codes)
        pair = self._place(here, "reference") * (size + 1) + self._place(there, "predicted")
        counts = np.bincount(pair, minlength=(size + 1) ** 2).reshape(size + 1, size + 1)
        self.matrix += counts[:size, :size]
        self.unpredicted += counts[:size, size]
        self.unlabelled += int(counts[size].sum())
        if box is not None:
            self._windows = np.vstack([self._windows, box])

    def _place(self, codes: Any, name: str) -> NDArray[np.intp]:
        if codes.dtype.kind not in "iu" and codes.size:
            raise ValueError(
                f"{name} is of {codes.dtype}: give whole numbers, the codes of classes."
            )
        size = len(self.codes)
        values = np.ma.getdata(codes).ravel().astype(np.intp) - self._lowest
        inside = (values >= 0) & (values < len(self._places))
        places = self._places.take(values, mode="clip")
        places[~inside] = size + 1
        if np.ma.getmask(codes) is not np.ma.nomask:
            places[np.ma.getmaskarray(codes).ravel()] = size
        unknown = places > size
        if unknown.any():
            strange = np.unique(values[unknown] + self._lowest)
            raise ValueError(
                f"{name} holds {strange[:5].tolist()} in {unknown.sum():,} pixels, which are not "
                f"among the codes {list(self.codes)}. Add them to the legend, or, if one means no "
                "class, give it as nodata."
            )
        return places

    def _check_window(self, window: Window, shape: tuple[int, ...]) -> NDArray[np.int64]:
        top, left = int(window.row_off), int(window.col_off)
        if shape != (window.height, window.width):
            raise ValueError(
                f"The window has {window.height} x {window.width} pixels, the arrays have {shape}."
            )
        box = np.array([top, left, top + shape[0], left + shape[1]])
        before = self._windows
        both = (before[:, :2] < box[2:]).all(axis=1) & (box[:2] < before[:, 2:]).all(axis=1)
        if both.any():
            raise ValueError(
                f"The window at row {top}, column {left} overlaps one that was counted already, at "
                f"row {before[both][0, 0]}, column {before[both][0, 1]}: its pixels would count "
                "twice. Give windows that do not overlap, such as the cores of tiles."
            )
        return box


@dataclass(frozen=True, repr=False, eq=False)
class SegmentationReport:
    """What :func:`segmentation_report` found.

    Attributes
    ----------
    table : DataFrame
        See :meth:`to_frame`.
    mean_iou, mean_f1 : float
        The mean over the classes that occur in the reference or the prediction.
    weighted_iou, weighted_f1 : float
        The mean weighted by pixels of the reference.
    accuracy : float
        The share of pixels of the reference that are predicted right.
    pixels : int
        Pixels with a reference class.
    unpredicted : int
        Those of them without a prediction, which count as missed.
    absent : tuple of str
        Classes that occur in neither: no score, not in any mean.
    """

    table: pd.DataFrame
    mean_iou: float
    mean_f1: float
    weighted_iou: float
    weighted_f1: float
    accuracy: float
    pixels: int
    unpredicted: int
    absent: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Give the table of classes.

        Returns
        -------
        DataFrame
            One row per class: `code`, `class`, `reference` and `predicted` pixels, those in
            `both`, `iou` and `f1`, NaN where a class occurs in neither.
        """
        return self.table.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw IoU and F1 of each class.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        ax = axes(ax)
        rows = np.arange(len(self.table))
        ax.barh(rows - 0.2, self.table["iou"], height=0.4, color="C0", label="IoU")
        ax.barh(rows + 0.2, self.table["f1"], height=0.4, color="C1", label="F1")
        ax.axvline(self.mean_iou, color="C0", linestyle="--", label="mean IoU")
        ax.set_yticks(rows, self.table["class"].tolist())
        ax.invert_yaxis()
        ax.set(
            xlim=(0, 1),
            xlabel="score, from 0 to 1",
            title="Agreement of classes with the reference",
        )
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str, str]:
        table = self.table.copy()
        for name in ("reference", "predicted", "both"):
            table[name] = table[name].map("{:,}".format)
        for name in ("iou", "f1"):
            table[name] = table[name].map(lambda one: "–" if np.isnan(one) else f"{one:.3f}")
        return (
            f"Segmentation of {self.pixels:,} pixels",
            table.rename(columns={"iou": "IoU", "f1": "F1"}),
            f"Mean IoU {self.mean_iou:.3f}, mean F1 {self.mean_f1:.3f}; weighted by pixels "
            f"{self.weighted_iou:.3f} and {self.weighted_f1:.3f}; accuracy {self.accuracy:.3f}.",
            f"{self.unpredicted:,} pixels without a prediction count as missed."
            if self.unpredicted
            else "",
            f"In neither, so without score: {', '.join(self.absent)}." if self.absent else "",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def segmentation_report(counts: SegmentationCounts) -> SegmentationReport:
    """Score a segmentation: IoU and F1 of each class, and their means.

    Parameters
    ----------
    counts : SegmentationCounts
        What was counted.

    Returns
    -------
    SegmentationReport
        The scores.

    Raises
    ------
    ValueError
        If no pixel with a reference class was counted.

    Notes
    -----
    *Target.* How well the predicted pixels agree with these reference pixels.

    *Formula.* With b the pixels of a class in both, r in the reference, p in the prediction:
    IoU (Jaccard index) is b / (r + p - b), F1 (Dice) 2 b / (r + p). Counts are added up over all
    windows before dividing: the mean of scores of tiles would depend on where they are cut, and
    is not defined for a tile without the class.

    *When it fails.* A class in neither has no score: NaN, and in no mean; some tools take 0 or 1,
    so means of reports with different `absent` classes do not compare. One pixel predicted of a
    class that is not there scores 0 and pulls the mean down. No standard errors are given: pixels
    of a scene are no random sample; for figures to be published see
    :mod:`mlkit.evaluation.area`.

    *Tests.* Against scikit-learn's jaccard_score and f1_score, in tests/test_imagery_scores.py.

    Examples
    --------
    >>> from mlkit.imagery import SegmentationCounts, segmentation_report
    >>> counts = SegmentationCounts([1, 2, 3])
    >>> counts.update([1, 1, 2, 2], [1, 2, 2, 2])
    >>> report = segmentation_report(counts)
    >>> round(report.mean_iou, 3), report.absent
    (0.583, ('3',))
    """
    matrix = counts.matrix
    both = np.diagonal(matrix)
    reference = matrix.sum(axis=1) + counts.unpredicted
    predicted = matrix.sum(axis=0)
    pixels = int(reference.sum())
    if pixels == 0:
        raise ValueError(
            "No pixel with a reference class was counted: give windows with update() first, and "
            "see that not all of the reference is nodata."
        )
    union = reference + predicted - both
    there = union > 0
    iou, f1 = np.full((2, len(both)), np.nan)
    iou[there] = both[there] / union[there]
    f1[there] = 2 * both[there] / (reference + predicted)[there]
    table = pd.DataFrame(
        {
            "code": counts.codes,
            "class": counts.names,
            "reference": reference,
            "predicted": predicted,
            "both": both,
            "iou": iou,
            "f1": f1,
        }
    )
    return SegmentationReport(
        table=table,
        mean_iou=float(iou[there].mean()),
        mean_f1=float(f1[there].mean()),
        weighted_iou=float(iou[there] @ reference[there] / pixels),
        weighted_f1=float(f1[there] @ reference[there] / pixels),
        accuracy=float(both.sum() / pixels),
        pixels=pixels,
        unpredicted=int(counts.unpredicted.sum()),
        absent=tuple(table.loc[~there, "class"]),
    )
