"""Count the pixels of a map, by class, against a reference, by region: in one reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from mlkit._raster import RasterError, block_rows, check_same_grid
from mlkit._views import as_html, as_text, axes
from mlkit.evaluation._area_pixels import PixelAreas, areas_of
from mlkit.evaluation._area_raster import (
    MOST_CODES,
    ClassRaster,
    Legend,
    PathLike,
    names_of,
    open_classes,
    read_legend,
    tallest,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from rasterio.windows import Window

    Floats: TypeAlias = NDArray[np.float64]
    Counts: TypeAlias = NDArray[np.int64]

__all__ = ["MapCounts", "count_map"]

_THREADS = 2  # one decompresses while the other counts, which holds Python's lock
_PIECE = 2**19  # pixels counted at once: what is made for them stays in the processor's cache
_SAME_AREA = 1e-7  # rows whose areas differ by less are counted together, which is faster
_MOST_REGIONS = 65_536
_MOST_ROWS_SHOWN = 30


@dataclass(frozen=True, eq=False, repr=False)
class MapCounts:
    """Pixels and areas of a map's classes, and of its classes against a reference's.

    Attributes
    ----------
    source : str
        What was counted.
    codes : tuple of int
        The K codes of the legend, or those found.
    classes : tuple of str
        Their names.
    regions : tuple of str
        The R regions; empty if there are none, and R is 1.
    pixels : ndarray of int64, shape (R, K) or (R, K, K)
        How many pixels. With a reference, the second axis is the map's class and the third the
        reference's.
    square_metres : ndarray of float, of the same shape
        Their area on the ground.
    left_out : int
        Pixels without data in at least one of the rasters.
    pixel_areas : PixelAreas
        How large a pixel is, and how that was found.
    """

    source: str
    codes: tuple[int, ...]
    classes: tuple[str, ...]
    regions: tuple[str, ...]
    pixels: Counts
    square_metres: Floats
    left_out: int
    pixel_areas: PixelAreas

    @property
    def sizes(self) -> dict[str, int]:
        """The number of pixels of each class of the map: stratum sizes, in all regions."""
        return dict(zip(self.classes, self._of_map(self.pixels).sum(axis=0).tolist(), strict=True))

    def to_frame(self) -> pd.DataFrame:
        """Write the counts as a table.

        Returns
        -------
        DataFrame
            One row per region and class: `region` (if there are any), `code`, `class`, `pixels`,
            `share` of the region's area, `hectares`, `km2`; with a reference also
            `reference_pixels`, `reference_share`, `reference_hectares`, `reference_km2`, which
            count the reference's pixels of that class.
        """
        k = len(self.classes)
        table: dict[str, Any] = {}
        if self.regions:
            table["region"] = [name for name in self.regions for _ in range(k)]
        rows = max(len(self.regions), 1)
        table |= {"code": [*self.codes] * rows, "class": [*self.classes] * rows}
        whose = {"": self._of_map}
        if self.pixels.ndim == 3:
            whose["reference_"] = lambda cells: cells.sum(axis=1)
        for prefix, take in whose.items():
            area = take(self.square_metres)
            whole = area.sum(axis=1, keepdims=True)
            with np.errstate(invalid="ignore"):  # a region without pixels has no shares
                share = area / whole
            table[f"{prefix}pixels"] = take(self.pixels).ravel()
            table[f"{prefix}share"] = share.ravel()
            table[f"{prefix}hectares"] = area.ravel() / 1e4
            table[f"{prefix}km2"] = area.ravel() / 1e6
        return pd.DataFrame(table)

    def confusion(
        self, *, region: str | None = None, of: Literal["pixels", "hectares"] = "pixels"
    ) -> pd.DataFrame:
        """Write the confusion of map and reference.

        Parameters
        ----------
        region : str, optional
            One of :attr:`regions`; all together by default.
        of : {"pixels", "hectares"}, default="pixels"
            What to count.

        Returns
        -------
        DataFrame of shape (K, K)
            Rows are classes of the map, columns classes of the reference, as in Olofsson et al.
            2014. scikit-learn's ``confusion_matrix(reference, map)`` is its transpose.

        Raises
        ------
        KeyError
            When there is no such region.
        ValueError
            When no reference was counted, or `of` is neither.
        """
        if self.pixels.ndim == 2:
            raise ValueError(
                "A confusion needs a reference: count_map(map_path, reference_path, ...)."
            )
        if of not in ("pixels", "hectares"):
            raise ValueError(f"of={of!r}; allowed are 'pixels' and 'hectares'.")
        cells = self.pixels if of == "pixels" else self.square_metres / 1e4
        if region is not None:
            if region not in self.regions:
                shown = ", ".join(self.regions[:10]) or "none"
                raise KeyError(f"No region {region!r}. There are: {shown}.")
            cells = cells[[self.regions.index(region)]]
        names = list(self.classes)
        return pd.DataFrame(
            cells.sum(axis=0),
            index=pd.Index(names, name="map"),
            columns=pd.Index(names, name="reference"),
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the area of each class, of all regions together.

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
        areas = {"map": self._of_map(self.square_metres).sum(axis=0)}
        if self.pixels.ndim == 3:
            areas["reference"] = self.square_metres.sum(axis=(0, 1))
        unit, factor = ("km²", 1e6) if sum(areas["map"]) >= 1e8 else ("hectares", 1e4)
        places = np.arange(len(self.classes))
        height = 0.8 / len(areas)
        for turn, (label, area) in enumerate(areas.items()):
            ax.barh(places + (turn + 0.5) * height - 0.4, area / factor, height, label=label)
        ax.set_yticks(places, list(self.classes))
        ax.invert_yaxis()
        ax.set_xlabel(f"area, {unit}")
        ax.set_title("Area by counting pixels")
        if len(areas) > 1:
            ax.legend()
        return ax

    def _of_map(self, cells: Any) -> Any:
        return cells if cells.ndim == 2 else cells.sum(axis=2)

    def _view(self) -> tuple[str, pd.DataFrame, str, str, str]:
        frame = self.to_frame()
        rows = frame.head(_MOST_ROWS_SHOWN)
        shown: dict[str, list[str]] = {}
        for name in rows:
            form = "{:,.1f}" if str(name).endswith(("hectares", "km2")) else "{:,}"
            form = "{:.4f}" if str(name).endswith("share") else form
            text = "{}" if rows[name].dtype.kind not in "iuf" or name == "code" else form
            shown[str(name)] = [text.format(value) for value in rows[name]]
        more = len(frame) - len(rows)
        note = self.pixel_areas.note
        return (
            f"Pixels of {self.source}",
            pd.DataFrame(shown),
            f"{more:,} more rows: to_frame() has them all." if more else "",
            f"Left out, without data: {self.left_out:,} pixels. Areas are counted pixels: "
            "classes that are mistaken for each other bias them.",
            f"Area of a pixel: {self.pixel_areas.method}{f'; {note}' if note else ''}.",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def count_map(
    map_path: PathLike,
    reference_path: PathLike | None = None,
    *,
    classes: Legend | None = None,
    region_path: PathLike | None = None,
    regions: Legend | None = None,
) -> MapCounts:
    """Count the pixels and the area of a map's classes, also against a reference map.

    The rasters are read once, by bands of whole blocks, so that the memory needed does not grow
    with the map: two bands of each raster, and GDAL's own cache of blocks.

    Parameters
    ----------
    map_path : path
        A raster of one band with a code per pixel.
    reference_path : path, optional
        The true classes, in the same codes and on the same grid.
    classes : dict of int to str, Series, or sequence of int, optional
        The legend of map and reference: codes with names. Codes outside it are refused. By
        default, whatever codes there are.
    region_path : path, optional
        A raster of regions, or of strata, on the same grid: everything is counted for each.
    regions : dict of int to str, Series, or sequence of int, optional
        Their names.

    Returns
    -------
    MapCounts
        Pixels and areas. A pixel without data (nodata, or hidden by the file's mask) in any of
        the rasters is left out of all counts.

    Raises
    ------
    RasterError
        When a file does not exist, is damaged, is no map of classes (several bands, numbers with
        fractions, more than 256 codes), the grids differ, a code lies outside the legend (the
        message says which and where), no pixel has data, or areas cannot be told (see
        :func:`pixel_areas`).
    ValueError
        When a legend is empty, or its codes are not whole numbers.

    Notes
    -----
    Area by counting is biased by the errors of the map, however many pixels it has: 15 % of the
    deforestation is missed in the example of Olofsson et al. 2014. Counts serve as the sizes of
    strata (:attr:`MapCounts.sizes`); a sample of reference pixels corrects them.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from mlkit._raster import write_raster
    >>> from rasterio.transform import from_origin
    >>> path = tempfile.mkdtemp() + "/map.tif"
    >>> profile = dict(width=3, height=2, count=1, dtype="uint8", nodata=0, crs="EPSG:3035")
    >>> with write_raster(path, **profile, transform=from_origin(4e6, 3e6, 100, 100)) as out:
    ...     out.write(np.array([[[1, 1, 2], [2, 2, 0]]], "uint8"))
    >>> counted = count_map(path, classes={1: "forest", 2: "water", 3: "town"})
    >>> counted.to_frame()[["class", "pixels", "hectares"]]
        class  pixels  hectares
    0  forest       2       2.0
    1   water       3       3.0
    2    town       0       0.0
    >>> counted.left_out
    1
    """
    legend = read_legend(classes, "classes")
    region_legend = read_legend(regions, "regions")
    if regions is not None and region_path is None:
        raise ValueError("regions= names the codes of region_path=, which is not given.")
    files = [(path, legend, MOST_CODES) for path in (map_path, reference_path) if path is not None]
    if region_path is not None:
        files.append((region_path, region_legend, _MOST_REGIONS))
    with ExitStack() as stack:
        counters: SimpleQueue[_Counter] = SimpleQueue()
        for _ in range(_THREADS):  # an open raster serves one thread at a time
            rasters = [
                stack.enter_context(open_classes(path, codes, most=most))
                for path, codes, most in files
            ]
            check_same_grid(*(raster.dataset for raster in rasters))
            counters.put(_Counter(rasters))
        areas = areas_of(rasters[0].dataset)
        parts = [*_in_threads(counters, areas, block_rows(tallest(rasters).dataset))]
    pixels, metres, codes = _add_up(parts, n_maps=1 if reference_path is None else 2)
    if not pixels.any():
        names = " and ".join(raster.name for raster in rasters)
        raise RasterError(
            f"No pixel has data in {names}{' at once' if len(rasters) > 1 else ''}: every one is "
            "nodata. Look at the file with rio info: is its nodata value one of the classes?"
        )
    if region_path is not None:  # read last, reported first
        pixels, metres = np.moveaxis(pixels, -1, 0), np.moveaxis(metres, -1, 0)
    else:
        pixels, metres = pixels[None], metres[None]
    height, width = rasters[0].dataset.shape
    return MapCounts(
        source=" against ".join(raster.name for raster in rasters[: pixels.ndim - 1]),
        codes=codes[0],
        classes=names_of(codes[0], legend),
        regions=() if region_path is None else names_of(codes[-1], region_legend),
        pixels=pixels,
        square_metres=metres,
        left_out=height * width - int(pixels.sum()),
        pixel_areas=areas,
    )


@dataclass(frozen=True)
class _Part:
    """What was counted in one band: an axis per raster, with the codes it knew then."""

    codes: tuple[NDArray[np.int64], ...]
    pixels: Counts
    metres: Floats


class _Counter:
    """Counts bands of open rasters; each thread has one, with files of its own.

    Pixels are given numbers, one for each combination of places in the legends, and the numbers
    are counted.
    """

    def __init__(self, rasters: Sequence[ClassRaster]) -> None:
        self.rasters = rasters
        # Two values of a byte make one of two bytes, and one table turns that into a number.
        self.in_pairs = len(rasters) > 1 and all(
            raster.is_narrow and raster.dtype.itemsize == 1 for raster in rasters[:2]
        )
        self._table_of_pairs()

    def _table_of_pairs(self) -> None:
        if self.in_pairs:
            values = np.arange(256, dtype=np.uint8)
            first, second = (
                raster.places(values.view(raster.dtype)) for raster in self.rasters[:2]
            )
            # 255 is the usual nodata: shifted by one, it comes before 0, and all are small.
            self.shift = [255 if raster.nodata == 255 else 0 for raster in self.rasters[:2]]
            self.pairs = (first[:, None] * self.rasters[1].size + second).ravel()

    def count(self, window: Window, square_metres: Floats) -> _Part:
        """Count one band; codes that are new are learned, or refused."""
        values: list[NDArray[Any]] = [raster.read(window) for raster in self.rasters]
        pixels, metres = self._tabulate(values, square_metres)
        if any(pixels.take(-1, axis=axis).any() for axis in range(pixels.ndim)):
            for raster, found in zip(self.rasters, values, strict=True):
                raster.learn(found, window)
            self._table_of_pairs()
            pixels, metres = self._tabulate(values, square_metres)
        known = (slice(-2),) * pixels.ndim  # the last two places: no data, and not in the legend
        codes = tuple(raster.codes for raster in self.rasters)
        return _Part(codes, pixels[known], metres[known])

    def _tabulate(self, values: list[NDArray[Any]], square_metres: Floats) -> tuple[Counts, Floats]:
        shape = [raster.size for raster in self.rasters]
        cells = int(np.prod(shape))
        if np.ptp(square_metres) <= _SAME_AREA * square_metres[0]:
            pixels = self._count(values, cells)
            return pixels.reshape(shape), square_metres.mean() * pixels.reshape(shape)
        pixels, metres = np.zeros(cells, dtype=np.int64), np.zeros(cells)
        top = 0
        for piece in _pieces(values):
            by_row = self._count_rows(piece, cells)
            pixels += by_row.sum(axis=0)
            metres += square_metres[top : top + len(by_row)] @ by_row
            top += len(by_row)
        return pixels.reshape(shape), metres.reshape(shape)

    def _count(self, values: list[NDArray[Any]], cells: int) -> Counts:
        pixels = np.zeros(cells, dtype=np.int64)
        if self.in_pairs and len(values) == 2:
            # Two maps of bytes, the common case: pairs of codes are counted as they are, and only
            # the different ones are given their numbers.
            counts = _count_small(values, self.shift)
            if counts is None:
                counts = np.zeros(2**16, dtype=np.int64)
                for piece in _pieces(values):
                    counts += np.bincount(_pairs(*piece).ravel(), minlength=2**16)
            found = np.flatnonzero(counts)
            np.add.at(pixels, self.pairs[found], counts[found])
        else:
            for piece in _pieces(values):
                pixels += np.bincount(self._numbers(piece).ravel(), minlength=cells)
        return pixels

    def _count_rows(self, piece: list[NDArray[Any]], cells: int) -> Counts:
        numbers = self._numbers(piece)
        numbers += cells * np.arange(len(numbers))[:, None]
        counts = np.bincount(numbers.ravel(), minlength=cells * len(numbers))
        return counts.reshape(len(numbers), cells)

    def _numbers(self, piece: list[NDArray[Any]]) -> NDArray[np.intp]:
        if self.in_pairs:
            # Nothing lies outside the table; "clip" spares numpy the search for what does.
            numbers: NDArray[np.intp] = np.take(self.pairs, _pairs(*piece[:2]), mode="clip")
            done = 2
        else:
            numbers = self.rasters[0].places(piece[0])
            done = 1
        for raster, codes in zip(self.rasters[done:], piece[done:], strict=True):
            numbers *= raster.size
            numbers += raster.places(codes)
        return numbers


def _pieces(values: list[NDArray[Any]]) -> Iterator[list[NDArray[Any]]]:
    """Cut a band into pieces of some rows, all rasters alike."""
    rows = max(_PIECE // values[0].shape[1], 1)
    for top in range(0, len(values[0]), rows):
        yield [codes[top : top + rows] for codes in values]


def _count_small(values: list[NDArray[Any]], shift: list[int]) -> Counts | None:
    """Count pairs of codes below 16: a pair fits into a byte, and two pixels are counted at once.

    Returns None where a code is larger, otherwise what counting :func:`_pairs` gives.
    """
    twos = np.zeros(2**16, dtype=np.int64)
    ones = np.zeros(2**8, dtype=np.int64)
    for piece in _pieces(values):
        first, second = (
            codes.view(np.uint8) - np.uint8(lowest) if lowest else codes.view(np.uint8)
            for codes, lowest in zip(piece, shift, strict=True)
        )
        if first.max() > 15 or second.max() > 15:
            return None
        both = (first << 4 | second).ravel()
        even = len(both) // 2 * 2
        twos += np.bincount(both[:even].view(np.uint16), minlength=2**16)
        ones += np.bincount(both[even:], minlength=2**8)
    square = twos.reshape(256, 256)
    byte = np.arange(256)
    pairs = ((byte // 16 + shift[0]) % 256) * 256 + (byte % 16 + shift[1]) % 256
    counts = np.zeros(2**16, dtype=np.int64)
    counts[pairs] = ones + square.sum(axis=0) + square.sum(axis=1)
    return counts


def _pairs(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.uint16]:
    pairs = first.view(np.uint8).astype(np.uint16)
    pairs <<= 8
    pairs |= second.view(np.uint8)
    return pairs


def _in_threads(
    counters: SimpleQueue[_Counter], areas: PixelAreas, windows: list[Window]
) -> Iterator[_Part]:
    """Count all bands, in order; the first that is refused stops the others."""

    def count(window: Window) -> _Part:
        counter = counters.get()
        try:
            rows = slice(window.row_off, window.row_off + window.height)
            return counter.count(window, areas.square_metres[rows])
        finally:
            counters.put(counter)

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield from pool.map(count, windows)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _add_up(parts: Sequence[_Part], *, n_maps: int) -> tuple[Counts, Floats, list[tuple[int, ...]]]:
    """Add up bands that may know different codes; map and reference share one legend."""
    axes_codes = [
        np.unique(np.concatenate(codes))
        for codes in zip(*(part.codes for part in parts), strict=True)
    ]
    if n_maps == 2:
        axes_codes[0] = axes_codes[1] = np.union1d(axes_codes[0], axes_codes[1])
    shape = [len(codes) for codes in axes_codes]
    pixels, metres = np.zeros(shape, dtype=np.int64), np.zeros(shape)
    for part in parts:
        at = np.ix_(
            *(
                np.searchsorted(all_, some)
                for all_, some in zip(axes_codes, part.codes, strict=True)
            )
        )
        pixels[at] += part.pixels
        metres[at] += part.metres
    return pixels, metres, [tuple(codes.tolist()) for codes in axes_codes]
