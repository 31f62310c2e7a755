"""Class rasters as numbers from 0: read by bands, with a legend, refused where they do not fit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlkit._raster import RasterError, open_raster, read_window

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

    Places: TypeAlias = NDArray[np.intp]

PathLike: TypeAlias = "str | os.PathLike[str]"
Legend: TypeAlias = "Mapping[int, str] | Sequence[int] | pd.Series[Any]"

MOST_CODES = 256
_MOST_SHOWN = 12


def read_legend(classes: Any, name: str) -> dict[int, str] | None:
    """Read a legend: codes with names, or codes alone; sorted by code."""
    if classes is None:
        return None
    if isinstance(classes, str):
        raise ValueError(f"{name}={classes!r} is text; give codes with names: {{1: 'forest'}}.")
    pairs = dict(classes.items()) if hasattr(classes, "items") else {c: str(c) for c in classes}
    for code in pairs:
        if isinstance(code, bool) or not isinstance(code, (int, np.integer)):
            raise ValueError(
                f"{name} has the code {code!r}; the codes of a raster are whole numbers. Give "
                "them with their names, such as {1: 'forest', 2: 'water'}."
            )
    if not pairs:
        raise ValueError(f"{name} is empty; give the codes with their names, or leave it out.")
    names = [str(text) for text in pairs.values()]
    if len(set(names)) < len(names):
        twice = next(text for text in names if names.count(text) > 1)
        raise ValueError(f"{name} has the name {twice!r} twice; each code needs a name of its own.")
    return {int(code): str(pairs[code]) for code in sorted(pairs)}


class ClassRaster:
    """An open raster of one band whose codes become places in a legend.

    A code's place is its position in :attr:`codes`; the next place means no data, and the last
    one a code that is not in the legend. Without a legend, :meth:`learn` adds codes as they come.

    Parameters
    ----------
    dataset : rasterio.io.DatasetReader
        The open raster.
    legend : dict of int to str, optional
        The codes that are allowed; all by default.
    most : int, default 256
        How many codes to learn before it is no map of classes.
    """

    def __init__(
        self, dataset: DatasetReader, legend: dict[int, str] | None, *, most: int = MOST_CODES
    ) -> None:
        self.dataset = dataset
        self.legend = legend
        self.most = most
        self.name = Path(dataset.name).name
        if dataset.count != 1:
            raise RasterError(
                f"{self.name} has {dataset.count} bands; a map of classes has one. Take one out: "
                f"rio stack {dataset.name} --bidx 1 one_band.tif"
            )
        self.dtype = np.dtype(dataset.dtypes[0])
        if self.dtype.kind not in "iu":
            raise RasterError(
                f"{self.name} holds {self.dtype} numbers; codes of classes are whole numbers. If "
                f"it is a class map: rio convert {dataset.name} codes.tif --dtype uint8"
            )
        mask = {flag.name for flag in dataset.mask_flag_enums[0]}
        self.masked = "per_dataset" in mask  # a mask of its own, beside the codes
        self.nodata = None if self.masked or "nodata" not in mask else int(dataset.nodata)
        if legend is not None and self.nodata in legend:
            raise RasterError(
                f"{self.name} declares {self.nodata} as nodata, and the legend has it as a class, "
                f"{legend[self.nodata]!r}. Take it out of the legend or out of the file: "
                f"rio edit-info {dataset.name} --unset-nodata"
            )
        self._set_codes(np.array([] if legend is None else list(legend), dtype=np.int64))

    def _set_codes(self, codes: NDArray[np.int64]) -> None:
        self.codes = codes
        self.table: Places | None = None
        if self.is_narrow:  # a table of all values is faster than a search
            width = self.dtype.itemsize * 8
            unsigned = np.arange(2**width, dtype=f"u{self.dtype.itemsize}")
            self.table = self._search(unsigned.view(self.dtype).astype(np.int64))

    @property
    def is_narrow(self) -> bool:
        """Whether all values that the file can hold fit into a small table."""
        return self.dtype.itemsize <= 2 and not self.masked

    @property
    def size(self) -> int:
        """How many places there are: codes, no data, and not in the legend."""
        return len(self.codes) + 2

    def read(self, window: Window) -> NDArray[Any]:
        """Read the values of a window; what a mask hides becomes a value that no file holds."""
        values = read_window(self.dataset, window, indexes=1, masked=self.masked)
        if not self.masked:
            return values
        codes: NDArray[Any] = np.ma.filled(values.astype(np.int64), np.iinfo(np.int64).min)
        return codes

    def places(self, values: NDArray[Any]) -> Places:
        """Turn values into places."""
        if self.table is None:
            return self._search(values.astype(np.int64))
        unsigned = values.view(f"u{self.dtype.itemsize}")
        # Nothing can lie outside the table; "clip" spares numpy the search for what does.
        places: Places = np.take(self.table, unsigned, mode="clip")
        return places

    def _search(self, values: NDArray[np.int64]) -> Places:
        k = len(self.codes)
        at = np.searchsorted(self.codes, values)
        found = at < k
        if k:
            found &= self.codes[np.minimum(at, k - 1)] == values
        at[~found] = k + 1
        nothing = np.iinfo(np.int64).min if self.masked else self.nodata
        if nothing is not None:
            at[values == nothing] = k
        return at

    def learn(self, values: NDArray[Any], window: Window) -> Places:
        """Turn values into places; add new codes, or refuse them if the legend was given."""
        places = self.places(values)
        strange = places == self.size - 1
        if not strange.any():
            return places
        if self.legend is not None:
            self._refuse(values, strange, window)
        codes = np.union1d(self.codes, values[strange].astype(np.int64))
        if len(codes) > self.most:
            raise RasterError(
                f"{self.name} holds more than {self.most} different codes: is it a picture rather "
                "than a map of classes? Give the map, or its legend."
            )
        self._set_codes(codes)
        return self.places(values)

    def _refuse(self, values: NDArray[Any], strange: Any, window: Window) -> None:
        row, column = np.argwhere(strange)[0]
        self.refuse(
            int(values[row, column]), int(row) + window.row_off, int(column) + window.col_off
        )

    def refuse(self, code: int, row: int, column: int) -> None:
        """Refuse a code, with its place."""
        x, y = self.dataset.xy(row, column)
        legend = self.legend or {}
        shown = ", ".join(f"{c} {text}" for c, text in [*legend.items()][:_MOST_SHOWN])
        more = len(legend) - _MOST_SHOWN
        raise RasterError(
            f"{self.name} holds the code {code} at row {row:,}, column {column:,} (x {x:,.10g}, y "
            f"{y:,.10g}; rows and columns count from 0), and the legend has no such class: {shown}"
            f"{f' and {more:,} more' if more > 0 else ''}. Add it to the legend, or, if it means "
            f"that there are no data: rio edit-info {self.dataset.name} --nodata {code}"
        )


@contextmanager
def open_classes(
    path: PathLike, legend: dict[int, str] | None, *, most: int = MOST_CODES
) -> Iterator[ClassRaster]:
    """Open a raster of classes."""
    with open_raster(path) as dataset:
        yield ClassRaster(dataset, legend, most=most)


def tallest(rasters: Sequence[ClassRaster]) -> ClassRaster:
    """Pick the raster with the highest blocks: bands of its blocks mostly suit the others."""
    return max(rasters, key=lambda raster: raster.dataset.block_shapes[0][0])


def names_of(codes: Sequence[int], legend: dict[int, str] | None) -> tuple[str, ...]:
    """Name codes by a legend, or by themselves."""
    return tuple(str(code) if legend is None else legend[code] for code in codes)
