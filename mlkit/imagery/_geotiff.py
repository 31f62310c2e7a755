"""Cloud-optimised GeoTIFFs of classes and probabilities."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np

from mlkit._raster import BLOCK, rasterio, write_raster
from mlkit.paths import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlkit.imagery._bands import Bands
    from mlkit.imagery._part import Part

SCALE = 0.004
"""Probabilities as bytes: 0 to 250 steps, which leaves 255 for nodata."""

NODATA_SCALED = 255


@dataclass(frozen=True)
class MapKind:
    """What a map holds: classes, or the probability of one."""

    legend: dict[int, str]
    colours: dict[int, tuple[int, int, int]]
    dtype: str
    nodata: float
    of_probability: bool

    def encode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Turn what a model gave into what is written."""
        if self.of_probability and self.dtype == "uint8":
            return np.rint(values / SCALE).astype(np.uint8)
        return values.astype(self.dtype)

    def describe(self) -> dict[str, Any]:
        """Give the legend as it is written in tags and beside the map."""
        nodata = "nan" if np.isnan(self.nodata) else int(self.nodata)
        classes = [
            {
                "code": code,
                "name": name,
                "colour": "#{:02X}{:02X}{:02X}".format(*self.colours[code]),
            }
            for code, name in self.legend.items()
        ]
        if not self.of_probability:
            return {"content": "classes", "nodata": nodata, "classes": classes}
        scale = SCALE if self.dtype == "uint8" else 1
        return {"content": "probability", "nodata": nodata, "scale": scale, "class": classes[0]}


def finish(part: Part, place: Path, bands: Bands, rows: int, kind: MapKind) -> None:
    """Write the finished steps as a GeoTIFF, check it, and move it to its place.

    Raises
    ------
    OSError or rasterio.errors.RasterioError
        If it cannot be written, or does not read as it was written: the disk is full, mostly.
    """
    from rasterio._err import CPLE_BaseError
    from rasterio.shutil import copy

    flat, whole = part.folder / "flat.tif", part.folder / "whole.tif"
    legend = json.dumps(kind.describe(), ensure_ascii=False)
    try:
        with write_raster(
            flat,
            width=bands.width,
            height=bands.height,
            count=1,
            dtype=kind.dtype,
            nodata=kind.nodata,
            crs=bands.crs,
            transform=bands.transform,
            zlevel=1,
        ) as dataset:
            dataset.update_tags(legend=legend)
            if kind.of_probability:
                (name,) = kind.legend.values()
                dataset.set_band_description(1, f"probability of {name}")
                if kind.dtype == "uint8":
                    dataset.scales = (SCALE,)
            else:
                dataset.set_band_description(1, "class")
                dataset.write_colormap(1, {**kind.colours, int(kind.nodata): (0, 0, 0, 0)})
            top = 0
            for block in _in_blocks(part.read(kind.dtype), bands.width):
                dataset.write(block, 1, window=((top, top + len(block)), (0, bands.width)))
                top += len(block)
        copy(
            flat,
            whole,
            driver="COG",
            compress="DEFLATE",
            blocksize=BLOCK,
            overview_resampling="average" if kind.of_probability else "nearest",
            bigtiff="IF_SAFER",
        )
    except CPLE_BaseError as error:
        raise OSError(str(error)) from error
    _check(whole, part, bands, rows, kind)
    write_whole(legend + "\n", place.with_name(f"{place.name}.json"))
    for ending in (".aux.xml", ".ovr", ".msk"):  # of the file that is replaced
        place.with_name(place.name + ending).unlink(missing_ok=True)
    if not kind.of_probability:
        write_whole(_category_names(kind.legend), place.with_name(f"{place.name}.aux.xml"))
    whole.replace(place)


def _category_names(legend: dict[int, str]) -> str:
    """Write the names of classes where GDAL looks for them, and so QGIS: a GeoTIFF has no place.

    GDAL numbers names from 0 without gaps, so codes without a class get an empty one.
    """
    names = (escape(legend.get(code, "")) for code in range(max(legend) + 1))
    lines = "".join(f"      <Category>{name}</Category>\n" for name in names)
    return (
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        f"{lines}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n"
    )


def _in_blocks(steps: Iterator[NDArray[Any]], width: int) -> Iterator[NDArray[Any]]:
    """Cut steps of any height anew, so that each block of the file is written once."""
    waiting = np.empty((0, 0))
    for step in steps:
        rows = step.reshape(-1, width)
        waiting = np.concatenate([waiting, rows]) if len(waiting) else rows
        whole = len(waiting) // BLOCK * BLOCK
        if whole:
            yield waiting[:whole]
            waiting = waiting[whole:]
    if len(waiting):
        yield waiting


def _check(whole: Path, part: Part, bands: Bands, rows: int, kind: MapKind) -> None:
    """Read the file back: GDAL does not report all that a full disk swallows."""
    with rasterio().open(whole) as dataset:
        for step, values in enumerate(part.read(kind.dtype)):
            top = step * rows
            expected = values.reshape(-1, bands.width)
            window = ((top, top + len(expected)), (0, bands.width))
            # As bytes, in which NaN equals itself.
            if dataset.read(1, window=window).tobytes() != expected.tobytes():
                raise OSError("it does not read back as it was written")
