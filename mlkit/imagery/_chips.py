"""Chips of an image as a data set for PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from mlkit._raster import RasterError, check_same_grid, open_raster, rasterio
from mlkit.imagery._bands import CACHE_BYTES, Bands, Image, check_whole
from mlkit.imagery._statistics import BandStatistics, check_statistics, scaled, statistics_of

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

UNLABELLED = -100
"""What :class:`torch.nn.CrossEntropyLoss` leaves out by itself."""

HIGHEST_CODE = 65_535


class Chips(Dataset[Any]):
    """Square parts of an image, with their labels, for training and prediction in PyTorch.

    Chips start at the upper left corner of the raster and follow each other by rows, `stride`
    pixels apart; those at the right and lower edges are padded. A chip is kept if it has at
    least one usable pixel, and a share of usable pixels of at least `min_usable`. **A pixel is
    usable if it lies in the raster, holds data in all bands and, where labels are given, has a
    label.**

    The raster is opened once in each worker process, when that reads its first chip, so it is
    never shared across a fork; a :class:`Chips` can be pickled and works with any number of
    workers and any way to start them.

    Parameters
    ----------
    image : path or list of paths
        A raster, or several on the same grid, whose bands are put together in this order.
    labels : path, optional
        A raster of one band of class codes, whole numbers from 0 to 65,535, on the same grid.
        Its nodata pixels have no label.
    size : int, default 256
        The side of a chip in pixels. Whole blocks (`Chips.aligned`) are read fastest.
    stride : int, optional
        How many pixels chips are apart; `size` by default, so that they do not overlap.
    classes : sequence of int, optional
        The codes of the legend; another code in `labels` is then refused. By default, the codes
        that occur.
    statistics : BandStatistics or "raw", optional
        Mean and standard deviation for the scaling; by default, those of all pixels of this
        image with data. "raw" leaves values as they are.
    min_usable : float, default 0
        The least share of usable pixels of a chip, of its size x size.
    in_memory : bool, default False
        Whether to read the rasters into memory at once: for small scenes.

    Attributes
    ----------
    statistics : BandStatistics or None
        What chips are scaled with: give it to :func:`predict_raster`. None if raw.
    classes : tuple of int
        The codes in ascending order; the label of a pixel is the position of its code in it.
        Empty without labels.
    corners : ndarray of shape (n, 2)
        Row and column of the upper left pixel of each chip.
    usable : ndarray of shape (n,)
        The share of usable pixels of each chip.
    centres : ndarray of shape (n, 2)
        x and y of the middle of each chip, in the units of the coordinate reference system:
        groups for :class:`SpatialBlocks`.
    aligned : bool
        Whether each chip is made of whole blocks of the file.

    Raises
    ------
    mlkit._raster.RasterError
        If a file is missing or damaged; if image and labels, or the rasters of an image, lie on
        different grids; if labels have several bands, are no whole numbers, or hold a code that
        is not in `classes`; if no chip has a usable pixel.
    ValueError
        If `size`, `stride`, `min_usable` or `statistics` are not what they may be.

    Notes
    -----
    Item i is a float32 tensor (bands, size, size), scaled band by band to mean 0 and standard
    deviation 1, 0 where a pixel has no data or lies outside of the raster. With labels it is a
    pair of that and an int64 tensor (size, size): the position of the code in `classes`, -100
    where a pixel is not usable, which :class:`torch.nn.CrossEntropyLoss` leaves out.

    Random chips of a neighbourhood are alike: split them with :class:`SpatialBlocks`, not at
    random. The statistics that are computed by default are also those of the test chips, which
    matters little; give those of the training scenes to be strict.

    Data sets of rasterio are not for use by several threads: give each its own ``Chips``.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from mlkit.imagery import Chips
    >>> chips = Chips("scene.tif", "labels.tif", size=128)  # doctest: +SKIP
    >>> for images, labels in DataLoader(chips, batch_size=8, num_workers=2):  # doctest: +SKIP
    ...     loss = torch.nn.functional.cross_entropy(model(images), labels)
    """

    def __init__(
        self,
        image: Image,
        labels: str | os.PathLike[str] | None = None,
        *,
        size: int = 256,
        stride: int | None = None,
        classes: Sequence[int] | None = None,
        statistics: BandStatistics | Literal["raw"] | None = None,
        min_usable: float = 0.0,
        in_memory: bool = False,
    ) -> None:
        self.size, self.stride = _sides(size, stride)
        if not 0 <= min_usable <= 1:
            raise ValueError(f"min_usable is {min_usable}: give a share from 0 to 1.")
        _check_statistics_kind(statistics)
        self._image = Bands(image)
        if isinstance(statistics, BandStatistics):
            check_statistics(statistics, self._image)
        self._labels = None if labels is None else _open_labels(labels, self._image)
        known = None if classes is None else _read_classes(classes, self._labels is not None)
        if in_memory:
            self._image.hold()
            if self._labels is not None:
                self._labels.hold()
        with rasterio().Env(GDAL_CACHEMAX=CACHE_BYTES):
            corners, usable, self.classes = self._look_through(known)
            if statistics is None:
                statistics = statistics_of(self._image)
        self.statistics = None if statistics == "raw" else statistics
        kept = (usable > 0) & (usable >= min_usable)
        if not kept.any():
            raise RasterError(
                f"None of {len(usable):,} chips of {', '.join(self._image.paths)} has a share of "
                f"usable pixels above 0 and of at least {min_usable:g}; the best has "
                f"{usable.max():.3g}. A pixel is usable if it holds data in all bands"
                f"{'' if labels is None else ' and has a label'}. Lower min_usable, or look at "
                "the rasters and their nodata values."
            )
        self.corners, self.usable = corners[kept], usable[kept]
        self._places = _places(self.classes)

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, index: int) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        top, left = self.corners[index].tolist()
        values, full = self._image.read(top, left, self.size, self.size)
        image = torch.from_numpy(scaled(values, full, self.statistics))
        if self._labels is None:
            return image
        codes, labelled = self._labels.read(top, left, self.size, self.size)
        # Codes without a place are those of pixels that have no label.
        labels = self._places[np.clip(codes[0].astype(np.intp), 0, len(self._places) - 1)]
        for usable in (full, labelled):
            if usable is not None:
                labels[~usable] = UNLABELLED
        return image, torch.from_numpy(labels)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Give x and y of the middle of each chip."""
        rows, columns = (self.corners + self.size / 2).T
        to_ground = self._image.transform
        x = to_ground.c + to_ground.a * columns + to_ground.b * rows
        y = to_ground.f + to_ground.d * columns + to_ground.e * rows
        return np.column_stack([x, y])

    @property
    def aligned(self) -> bool:
        """Tell whether each chip is made of whole blocks of the file."""
        sides = np.array([[self.size], [self.stride]])
        return not (sides % np.array(self._image.block)).any()

    def __repr__(self) -> str:
        labels = f", {len(self.classes)} classes" if self._labels is not None else ""
        return (
            f"Chips: {len(self):,} of {self._image.count} x {self.size} x {self.size}{labels}; "
            f"{self.usable.mean():.1%} of their pixels are usable"
        )

    def _look_through(
        self, known: tuple[int, ...] | None
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], tuple[int, ...]]:
        """Find corners and shares of usable pixels of all chips, and the codes of labels."""
        bands, labels = self._image, self._labels
        tops, lefts = (
            _starts(side, self.size, self.stride) for side in (bands.height, bands.width)
        )
        ends = np.minimum(lefts + self.size, bands.width)
        shares = np.empty((len(tops), len(lefts)))
        found: set[int] = set()
        for row, top in enumerate(tops.tolist()):
            height = min(self.size, bands.height - top)
            usable = np.ones((height, bands.width), dtype=bool)
            # Without nodata there is nothing to look for, and the image need not be read.
            masks = [] if bands.always_full else [bands.read(top, 0, height, bands.width)[1]]
            if labels is not None:
                codes, labelled = labels.read(top, 0, height, bands.width)
                masks.append(labelled)
                here = codes[0] if labelled is None else codes[0][labelled]
                found |= self._codes_in(here, known)
            for mask in masks:
                if mask is not None:
                    usable &= mask
            ahead = np.concatenate([[0], usable.sum(axis=0).cumsum()])
            shares[row] = (ahead[ends] - ahead[lefts]) / self.size**2
        for one in (bands, labels):
            if one is not None:
                one.close()
        corners = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)
        return corners, shares.ravel(), tuple(sorted(found)) if known is None else known

    def _codes_in(self, codes: NDArray[Any], known: tuple[int, ...] | None) -> set[int]:
        if codes.size == 0:
            return set()
        name = self._labels.paths[0] if self._labels else ""
        if codes.min() < 0 or codes.max() > HIGHEST_CODE:
            raise RasterError(
                f"{name} holds codes from {codes.min()} to {codes.max()}; labels must be from 0 "
                f"to {HIGHEST_CODE:,}. If one of them means no label, make it the raster's nodata "
                "value: rio edit-info FILE --nodata VALUE."
            )
        found = set(np.flatnonzero(np.bincount(codes.ravel())).tolist())
        unknown = sorted(found.difference(known)) if known is not None else []
        if unknown:
            raise RasterError(
                f"{name} holds the codes {unknown}, which are not among the classes {known}. Add "
                "them, or, if one means no label, make it the raster's nodata value: "
                "rio edit-info FILE --nodata VALUE."
            )
        return found


def _sides(size: int, stride: int | None) -> tuple[int, int]:
    stride = size if stride is None else stride
    for name, value in (("size", size), ("stride", stride)):
        check_whole(name, value, 1)
    if stride > size:
        raise ValueError(
            f"stride is {stride}, more than the size of {size}: pixels between chips would never "
            "be read. Give a stride of at most the size."
        )
    return int(size), int(stride)


def _starts(side: int, size: int, stride: int) -> NDArray[np.intp]:
    """Where chips start: as many as are needed to reach the far edge."""
    return np.arange(-(-max(side - size, 0) // stride) + 1) * stride


def _check_statistics_kind(statistics: object) -> None:
    if not (statistics is None or statistics == "raw" or isinstance(statistics, BandStatistics)):
        raise ValueError(
            f"statistics is {statistics!r}: give BandStatistics, such as band_statistics(image) "
            'or chips.statistics, "raw" to leave values as they are, or nothing.'
        )


def _open_labels(labels: str | os.PathLike[str], image: Bands) -> Bands:
    found = Bands(labels)
    with open_raster(image.paths[0]) as here, open_raster(found.paths[0]) as there:
        check_same_grid(here, there)
    if found.count != 1 or found.dtype.kind not in "iu":
        raise RasterError(
            f"{found.paths[0]} has {found.count} bands of {found.dtype}: labels are one band of "
            "whole numbers, the codes of classes."
        )
    return found


def _read_classes(classes: Sequence[int], labelled: bool) -> tuple[int, ...]:
    if not labelled:
        raise ValueError("classes are given, but no labels: give the raster of labels, too.")
    codes = np.asarray(classes)
    if codes.ndim != 1 or codes.size == 0 or codes.dtype.kind not in "iu":
        raise ValueError(f"classes are {classes!r}: give the codes, whole numbers, of the legend.")
    if codes.min() < 0 or codes.max() > HIGHEST_CODE or len(np.unique(codes)) < len(codes):
        raise ValueError(
            f"classes are {classes!r}: give different codes from 0 to {HIGHEST_CODE:,}."
        )
    return tuple(np.sort(codes).tolist())


def _places(classes: tuple[int, ...]) -> NDArray[np.int64]:
    """Make a table from codes to places in the list of classes, with one row for all above."""
    table = np.full(max(classes, default=0) + 2, UNLABELLED, dtype=np.int64)
    table[list(classes)] = np.arange(len(classes))
    return table
