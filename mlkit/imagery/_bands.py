"""Rasters on one grid, read as one stack of bands, a window at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from mlkit._raster import RasterError, check_same_grid, open_raster, rasterio, read_window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

Image = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A raster, or several on one grid whose bands are put together in this order."""

CACHE_BYTES = 64_000_000
"""What GDAL may keep of decoded blocks. By itself it takes a twentieth of the machine."""


class Bands:
    """The bands of one raster or of several on the same grid.

    Data sets are opened when a window is first read, once in each process: a data set that was
    opened before a fork is not shared with the child, nor is it pickled.
    """

    def __init__(self, image: Image) -> None:
        self.paths = _paths(image)
        with ExitStack() as stack:
            opened = [stack.enter_context(open_raster(path)) for path in self.paths]
            check_same_grid(*opened)
            first = opened[0]
            self.height, self.width = first.shape
            self.crs, self.transform = first.crs, first.transform
            self.count = sum(one.count for one in opened)
            self.dtype = np.result_type(*(one.dtypes[0] for one in opened))
            self.names = tuple(name for one in opened for name in one.descriptions)
            self.block: tuple[int, int] = first.block_shapes[0]
            self._empty = [_EmptyPixels(one) for one in opened]
        self._open: ExitStack | None = None
        self._opened: list[DatasetReader] = []
        self._process = 0
        self._held: tuple[NDArray[Any], NDArray[np.bool_] | None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None, "_opened": [], "_inherited": None, "_process": 0}

    @property
    def always_full(self) -> bool:
        """Whether no pixel can be without data, as far as the files say."""
        return all(one.never for one in self._empty)

    def close(self) -> None:
        """Close what this process opened."""
        if self._open is not None and self._process == os.getpid():
            self._open.close()
        self._open, self._opened = None, []

    def hold(self) -> None:
        """Read everything into memory, from where windows are then taken."""
        self._held = self._read_files(0, 0, self.height, self.width)
        self.close()

    def read(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Read a window that may reach over the edges of the raster.

        Gives the values, (bands, height, width), 0 outside of the raster; and where there are
        data in all bands, (height, width), or None where that is so everywhere.
        """
        up, down = max(top, 0), min(top + height, self.height)
        start, end = max(left, 0), min(left + width, self.width)
        inside = (up, start, down - up, end - start)
        values, full = self._read_files(*inside) if self._held is None else self._take(*inside)
        if values.shape[1:] == (height, width):
            return values, full
        part = slice(up - top, down - top), slice(start - left, end - left)
        padded = np.zeros((self.count, height, width), values.dtype)
        padded[:, *part] = values
        there = np.zeros((height, width), dtype=bool)
        there[part] = True if full is None else full
        return padded, there

    def _take(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        assert self._held is not None  # noqa: S101
        values, full = self._held
        part = slice(top, top + height), slice(left, left + width)
        return values[:, *part], None if full is None else full[part]

    def _read_files(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        from rasterio.windows import Window

        window = Window(left, top, width, height)
        parts = []
        empty: NDArray[np.bool_] | None = None
        for dataset, rule in zip(self._datasets(), self._empty, strict=True):
            values = read_window(dataset, window)
            here = rule.find(values, dataset, window)
            if here is not None:
                empty = here if empty is None else empty | here
            parts.append(values)
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return values, None if empty is None or not empty.any() else ~empty

    def _datasets(self) -> list[DatasetReader]:
        if self._open is None or self._process != os.getpid():
            # What a parent process opened is the parent's to close: it is kept, and not used.
            self._inherited = self._open
            self._open = ExitStack()
            self._opened = [self._open.enter_context(open_raster(path)) for path in self.paths]
            self._process = os.getpid()
        return self._opened


class _EmptyPixels:
    """Tells where one raster has no data in at least one band."""

    def __init__(self, dataset: DatasetReader) -> None:
        flags = {flag for band in dataset.mask_flag_enums for flag in band}
        mask_flags = rasterio().enums.MaskFlags
        self.may_be_nan = any(np.dtype(name).kind == "f" for name in dataset.dtypes)
        self.by_value = flags == {mask_flags.nodata}
        self.by_mask = not self.by_value and flags != {mask_flags.all_valid}
        self.nodata = [_as_kind(value, dataset.dtypes[0]) for value in dataset.nodatavals]
        self.never = not (self.may_be_nan or self.by_value or self.by_mask)

    def find(
        self, values: NDArray[Any], dataset: DatasetReader, window: Any
    ) -> NDArray[np.bool_] | None:
        if self.never:
            return None
        empty = np.zeros(values.shape[1:], dtype=bool)
        if self.by_value:
            for band, nodata in zip(values, self.nodata, strict=True):
                empty |= band == nodata
        if self.by_mask:
            empty |= (dataset.read_masks(window=window) == 0).any(axis=0)
        if self.may_be_nan:
            empty |= ~np.isfinite(values).all(axis=0)
        return empty


def _as_kind(value: float | None, dtype: str) -> float | int | None:
    # Whole numbers are compared as such: much faster than as floating point.
    if value is not None and np.dtype(dtype).kind in "iu" and float(value).is_integer():
        return int(value)
    return value


def check_whole(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number, or too small."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} is {value!r}: give a whole number, {least} or more.")


def _paths(image: Image) -> tuple[str, ...]:
    paths = (image,) if isinstance(image, str | os.PathLike) else tuple(image)
    if not paths:
        raise RasterError("No raster is given. Give a path, or a list of paths on one grid.")
    return tuple(os.fspath(path) for path in paths)
