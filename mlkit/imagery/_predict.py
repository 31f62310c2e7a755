"""A map from a model and an image, window by window."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from mlkit._raster import RasterError, open_raster, rasterio, read_window
from mlkit._views import as_html, as_text, axes
from mlkit.imagery._bands import CACHE_BYTES, Bands, Image, check_whole
from mlkit.imagery._geotiff import NODATA_SCALED, SCALE, MapKind, finish
from mlkit.imagery._legend import read_colours, read_legend
from mlkit.imagery._models import (
    Asked,
    ChipModel,
    PixelModel,
    ask_function,
    ask_network,
    fingerprint,
    is_network,
)
from mlkit.imagery._part import Part
from mlkit.imagery._statistics import BandStatistics, check_statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

HIGHEST_CODE = 255


@dataclass(frozen=True, repr=False, eq=False)
class PredictedRaster:
    """What :func:`predict_raster` wrote.

    Attributes
    ----------
    path : Path
        The GeoTIFF.
    legend : dict of int to str
        Codes and names of its classes; for a map of probabilities, that of its class alone.
    colours : dict of int to tuple
        Red, green and blue of each class, from 0 to 255.
    pixels : tuple of int
        Pixels of each class of the legend; for a map of probabilities, all with data.
    nodata_pixels : int
        Pixels without data.
    mean_probability : float
        Of a map of probabilities, its mean; else NaN.
    resumed : int
        Rows taken over from a run that was broken off.
    note : str
        What else is to be known of the run; mostly empty.
    """

    path: Path
    legend: dict[int, str]
    colours: dict[int, tuple[int, int, int]]
    pixels: tuple[int, ...]
    nodata_pixels: int
    mean_probability: float
    resumed: int
    note: str

    def to_frame(self) -> pd.DataFrame:
        """Count the pixels of each class.

        Returns
        -------
        DataFrame
            One row per class: `code`, `class`, `pixels`, `share` of pixels with data. For a map
            of probabilities one row, with `mean_probability`.
        """
        table = pd.DataFrame(
            {
                "code": list(self.legend),
                "class": list(self.legend.values()),
                "pixels": self.pixels,
            }
        )
        if self._of_probability:
            return table.assign(mean_probability=self.mean_probability)
        return table.assign(share=table["pixels"] / max(sum(self.pixels), 1))

    @property
    def _of_probability(self) -> bool:
        return not np.isnan(self.mean_probability)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the map, from its overviews if it is large.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

        ax = axes(ax)
        with open_raster(self.path) as dataset:
            shrink = max(1, max(dataset.shape) / 1000)
            shape = tuple(max(round(side / shrink), 1) for side in dataset.shape)
            values: Any = read_window(dataset, indexes=1, out_shape=shape, masked=True)
            unit, factor = _unit(dataset.crs)
            left, bottom, right, top = (side * factor for side in dataset.bounds)
        extent = (left, right, bottom, top)
        if self._of_probability:
            scale = SCALE if values.dtype == np.uint8 else 1
            drawn = ax.imshow(values * scale, extent=extent, vmin=0, vmax=1, cmap="cividis")
            (name,) = self.legend.values()
            ax.figure.colorbar(drawn, ax=ax, label=f"probability of {name}")
        else:
            colours = {code: np.array(rgb) / 255 for code, rgb in self.colours.items()}
            place = np.zeros(256, np.uint8)
            place[list(colours)] = np.arange(len(colours))
            ax.imshow(
                np.ma.array(place[values.data], mask=values.mask),
                extent=extent,
                cmap=ListedColormap(list(colours.values())),
                vmin=-0.5,
                vmax=len(colours) - 0.5,
                interpolation="nearest",
            )
            patches = [
                Patch(color=tuple(rgb), label=self.legend[code]) for code, rgb in colours.items()
            ]
            ax.legend(handles=patches, loc="upper left", bbox_to_anchor=(1, 1))
        ax.set(title=self.path.name, xlabel=f"x ({unit})", ylabel=f"y ({unit})")
        ax.grid(visible=False)
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        table = self.to_frame()
        table["pixels"] = table["pixels"].map("{:,}".format)
        for name in ("share", "mean_probability"):
            if name in table:
                table[name] = table[name].map("{:.3f}".format)
        return (
            f"{self.path.name}: {sum(self.pixels):,} pixels predicted, "
            f"{self.nodata_pixels:,} without data",
            table.rename(columns={"mean_probability": "mean probability"}),
            "Counted pixels are no estimate of area: see mlkit.evaluation.area.",
            self.note,
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def predict_raster(
    model: Any,
    image: Image,
    out: str | os.PathLike[str],
    *,
    legend: Mapping[int, str],
    statistics: BandStatistics | Literal["raw"] | None = None,
    size: int = 256,
    overlap: int = 64,
    batch: int = 8,
    probability_of: int | None = None,
    dtype: Literal["uint8", "float32"] = "uint8",
    colours: Mapping[int, str] | None = None,
    model_id: str | None = None,
    progress: bool | None = None,
) -> PredictedRaster:
    """Predict a class map of an image with a fitted model, in bounded memory.

    The map is a cloud-optimised GeoTIFF on the grid of the image: in tiles, deflated, with
    overviews, a colour table, nodata, and the legend as JSON in its tag `legend` and in a file
    beside it, `out` with ".json" added; class names, for QGIS and others, stand in a file with
    ".aux.xml" added. Nothing appears under that name before the map is whole;
    a run that was killed goes on where it stopped when it is started again.

    Parameters
    ----------
    model : fitted classifier, torch module or function
        What has a method `predict` is asked for pixels, (n, bands) of float64, without those that
        have no data. A torch module or function is asked for chips, (n, bands, size, size) of
        float32, scaled as :class:`Chips` does, and 0 where there are no data or no image. It
        gives scores, (n, classes, size, size), one layer for each class **in ascending order of
        codes** (the order of `Chips.classes`), or codes, (n, size, size). A function is given
        arrays; a module tensors, in evaluation mode, in which it is not left.
    image : path or list of paths
        A raster, or several on the same grid, whose bands are put together in this order.
    out : path
        The GeoTIFF to write; a file of that name is replaced, at the end.
    legend : mapping of int to str
        Codes, from 0 to 255, and names of the classes. A classifier may have been fitted on
        codes or on names.
    statistics : BandStatistics or "raw"
        For chips, and needed there: what the model was trained with, `chips.statistics`; "raw"
        leaves values as they are.
    size : int, default 256
        The side of a chip, in pixels.
    overlap : int, default 64
        How many pixels neighbouring chips have in common, an even number. Half of it is cut off
        at each side of a chip, so that each pixel is predicted once, with context all round: no
        seams, if half the overlap is at least the distance over which the model looks.
    batch : int, default 8
        How many chips the model gets at once, at most.
    probability_of : int, optional
        Write the probability of this class instead of classes, as an auxiliary variable for
        estimation: by `predict_proba`, the softmax of a module, the scores of a function.
    dtype : {"uint8", "float32"}, default "uint8"
        Of probabilities: in steps of 0.004 (the scale is in the file; 255 is nodata), or exact
        (NaN is nodata).
    colours : mapping of int to str, optional
        A colour for each code, such as "#0072B2"; by default, a palette that colour-blind readers
        can tell apart (up to eight classes).
    model_id : str, optional
        Says which model it is, where that cannot be told from its content: without it, a run with
        a plain function begins anew each time. A new name for each change is yours to give.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal.

    Returns
    -------
    PredictedRaster
        The path, and the pixels of each class.

    Raises
    ------
    mlkit._raster.RasterError
        If a file is missing or damaged, grids differ, the number of bands is not that of the
        model, the model knows or gives a class that is not in the legend, or an array of another
        shape, or probabilities beyond 0 and 1; if another run writes the same map. Nothing is
        then left. If the disk is full: what was done is kept, for going on.
    ValueError
        If an option is not what it may be.

    Notes
    -----
    *Nodata.* A pixel without data in any band has no class: 0 in the map if no class has that
    code, else 255; 254 if 255 is a class, and so on. An image without a coordinate
    reference system gives a map without one.

    *Going on.* Finished rows are kept in a hidden folder beside, `.NAME.part`, with a manifest:
    SHA-256 of each image file, the model's content (joblib.hash; parameters and structure of a
    module, not the code of its `forward`), and the options. Only if all are the same does a run go
    on; else it begins anew. The map is then the same, byte by byte.

    *When it fails.* A model looks further than half the overlap: seams. Chips at the edge of the
    image see zeros (the mean) outside, as those of :class:`Chips` do.

    Examples
    --------
    >>> from mlkit.imagery import predict_raster
    >>> legend = {1: "developed", 2: "forest", 3: "water"}
    >>> predict_raster(forest, "scene.tif", "map.tif", legend=legend)  # doctest: +SKIP
    """
    names = read_legend(legend, HIGHEST_CODE)
    place = Path(out)
    kind = _kind(names, read_colours(colours, list(names)), probability_of, dtype)
    bands = Bands(image)
    _check_out(place, bands)
    asked = _ask(model, bands, names, statistics, size, overlap, batch, probability_of)
    identity = model_id if model_id is not None else fingerprint(model)
    options = [asked.rows, asked.columns, asked.margin, _plain(statistics), repr(kind)]
    part = Part(place)
    steps = -(-bands.height // asked.rows)
    part.open(None if identity is None else _manifest(bands, identity, options), steps)
    resumed = min(part.done * asked.rows, bands.height)
    try:
        with rasterio().Env(GDAL_CACHEMAX=CACHE_BYTES), _in_evaluation(model):
            for step in _bar(range(part.done, steps), steps, progress):
                part.append(_predict_rows(asked, bands, kind, step * asked.rows))
            pixels, empty, mean = _count(part, kind, bands)
    except RasterError:
        part.remove()
        raise
    except OSError as error:
        raise _unfinished(part, place, steps, error) from error
    finally:
        bands.close()
        part.close()  # also when the run is interrupted: what was done stays
    try:
        with rasterio().Env(GDAL_CACHEMAX=CACHE_BYTES):
            finish(part, place, bands, asked.rows, kind)
    except (RasterError, OSError, rasterio().errors.RasterioError) as error:
        raise _unfinished(part, place, steps, error) from error
    part.remove()
    discarded = "Rows kept from a run with another image, model or options were discarded."
    note = discarded if part.discarded else ""
    return PredictedRaster(place, kind.legend, kind.colours, pixels, empty, mean, resumed, note)


def _unit(crs: Any) -> tuple[str, float]:
    """Choose the unit of the axes of a map, and what coordinates are multiplied with."""
    if crs is None:
        return "pixels or map units", 1
    if crs.is_geographic:
        return "degrees", 1
    return ("km", 1e-3) if crs.linear_units.startswith("met") else (crs.linear_units, 1)


def _predict_rows(asked: Asked, bands: Bands, kind: MapKind, top: int) -> NDArray[Any]:
    """Predict one step, a band of whole rows, piece by piece."""
    height = min(asked.rows, bands.height - top)
    out = np.full((height, bands.width), kind.nodata, kind.dtype)
    margin = asked.margin
    for left in range(0, bands.width, asked.columns):
        width = min(asked.columns, bands.width - left)
        # Chips are whole, so that they may reach over the edge; what is beyond is dropped.
        read = [-(-side // asked.unit) * asked.unit + 2 * margin for side in (height, width)]
        values, full = bands.read(top - margin, left - margin, *read)
        inside = slice(margin, margin + height), slice(margin, margin + width)
        there = np.ones((height, width), dtype=bool) if full is None else full[inside]
        if there.any():
            found = asked.predict(values, full)[:height, :width]
            out[:, left : left + width][there] = kind.encode(found)[there]
    return out


def _count(part: Part, kind: MapKind, bands: Bands) -> tuple[tuple[int, ...], int, float]:
    """Count the pixels of each class and those without; the mean of probabilities."""
    total = bands.height * bands.width
    if kind.of_probability:
        size, together = 0, 0.0
        for values in part.read(kind.dtype):
            there = values[~np.isnan(values) if np.isnan(kind.nodata) else values != kind.nodata]
            size += len(there)
            together += float(there.sum(dtype=float))
        pixels: tuple[int, ...] = (size,)
        mean = together / max(size, 1) * (SCALE if kind.dtype == "uint8" else 1)
    else:
        found = np.zeros(256, np.int64)
        for values in part.read(kind.dtype):
            found += np.bincount(values, minlength=256)
        pixels, mean = tuple(found[list(kind.legend)].tolist()), float("nan")
    if sum(pixels) == 0:
        raise RasterError(
            f"No pixel of {', '.join(bands.paths)} holds data in all bands, so there is nothing to "
            "map. Look at the nodata value of the image (rio info FILE)."
        )
    return pixels, total - sum(pixels), mean


def _unfinished(part: Part, place: Path, steps: int, error: Exception) -> RasterError:
    return RasterError(
        f"{place.name} could not be written: {error}. {part.done} of {steps} steps are kept in "
        f"{part.folder}. If the disk is full, make room; run again to go on from there, or delete "
        "that folder."
    )


def _kind(
    names: dict[int, str],
    colours: dict[int, tuple[int, int, int]],
    probability_of: int | None,
    dtype: str,
) -> MapKind:
    if dtype not in ("uint8", "float32"):
        raise ValueError(f"dtype is {dtype!r}: give 'uint8' or 'float32'.")
    if probability_of is None:
        if dtype != "uint8":
            raise ValueError("dtype is for probabilities; class maps are of uint8.")
        free = [0, *range(HIGHEST_CODE, 0, -1)]
        nodata = next((code for code in free if code not in names), None)
        if nodata is None:
            raise ValueError(
                "The legend uses all codes from 0 to 255: one must be free for nodata."
            )
        return MapKind(names, colours, "uint8", nodata, of_probability=False)
    if probability_of not in names:
        raise ValueError(
            f"probability_of is {probability_of!r}, which is no code of the legend {names}."
        )
    one = {probability_of: names[probability_of]}
    nodata = NODATA_SCALED if dtype == "uint8" else float("nan")
    return MapKind(one, colours, dtype, nodata, of_probability=True)


def _check_out(place: Path, bands: Bands) -> None:
    if not place.parent.is_dir():
        raise RasterError(f"{place.parent} is no folder, so {place.name} cannot be written there.")
    if place.is_dir():
        raise RasterError(f"{place} is a folder: give the name of a file, such as map.tif.")
    if place.exists() and any(place.samefile(path) for path in bands.paths):
        raise RasterError(f"{place} is the image itself: give the map another name.")


def _ask(
    model: Any,
    bands: Bands,
    names: dict[int, str],
    statistics: BandStatistics | Literal["raw"] | None,
    size: int,
    overlap: int,
    batch: int,
    probability_of: int | None,
) -> Asked:
    """Make ready to ask the model, refusing what does not fit."""
    if not is_network(model) and hasattr(model, "predict"):
        if statistics is not None:
            raise ValueError(
                "statistics are for models of chips. A classifier of pixels gets values as they "
                "are: scale them in its pipeline, with StandardScaler."
            )
        return PixelModel(model, bands, names, probability_of)
    if not callable(model):
        raise ValueError(
            f"model is a {type(model).__name__}: give a fitted classifier, a torch module or a "
            "function of chips."
        )
    if statistics is None:
        raise ValueError(
            "A model of chips needs the statistics that its chips were scaled with: give "
            'statistics=chips.statistics, or statistics="raw" if they were not.'
        )
    if isinstance(statistics, BandStatistics):
        check_statistics(statistics, bands)
    elif statistics != "raw":
        raise ValueError(f'statistics is {statistics!r}: give BandStatistics or "raw".')
    for name, value, least in (("size", size, 1), ("overlap", overlap, 0), ("batch", batch, 1)):
        check_whole(name, value, least)
    if overlap % 2 or overlap >= size:
        raise ValueError(
            f"overlap is {overlap}: give an even number, less than the size of a chip, {size}; "
            "half of it is cut off at each side."
        )
    network = is_network(model)
    return ChipModel(
        ask_network(model, bands.count, softmax=probability_of is not None)
        if network
        else ask_function(model),
        names,
        size=size,
        overlap=overlap,
        batch=batch,
        statistics=None if statistics == "raw" else statistics,
        probability_of=probability_of,
    )


def _plain(statistics: BandStatistics | Literal["raw"] | None) -> Any:
    """Write statistics with all their digits."""
    return asdict(statistics) if isinstance(statistics, BandStatistics) else statistics


def _manifest(bands: Bands, identity: str, options: list[Any]) -> dict[str, Any]:
    """Say what a run must have in common with one that it goes on from."""
    images = []
    for path in bands.paths:
        with Path(path).open("rb") as file:
            images.append(hashlib.file_digest(file, "sha256").hexdigest())
    return {"version": 1, "images": images, "model": identity, "options": options}


@contextmanager
def _in_evaluation(model: Any) -> Iterator[None]:
    """Switch a torch module to evaluation, and each of its parts back."""
    parts = list(model.modules()) if is_network(model) else []
    before = [part.training for part in parts]
    if parts:
        model.eval()
    try:
        yield
    finally:
        for part, training in zip(parts, before, strict=True):
            part.training = training


def _bar(steps: range, total: int, progress: bool | None) -> Any:
    if progress is False:
        return steps
    from tqdm import tqdm  # type: ignore[import-untyped]

    # None: shown where standard error is a terminal.
    hidden = None if progress is None else False
    return tqdm(steps, total=total, initial=steps.start, unit="step", disable=hidden)
