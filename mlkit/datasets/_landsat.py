"""A Landsat 7 scene of North Carolina with labelled pixels and a land-class map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.datasets._bunch import Bunch
from mlkit.datasets._cards import data_file_path, dataset_card

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["load_landsat_nc"]

_CLASSES = {
    1: "developed",
    2: "agriculture",
    3: "herbaceous",
    4: "shrubland",
    5: "forest",
    6: "water",
    7: "sediment",
}

# In the order of the file: number on the satellite, from, to (micrometres).
_BANDS = {
    "blue": ("B1", 0.45, 0.52),
    "green": ("B2", 0.52, 0.60),
    "red": ("B3", 0.63, 0.69),
    "nir": ("B4", 0.77, 0.90),
    "swir1": ("B5", 1.55, 1.75),
    "swir2": ("B7", 2.09, 2.35),
}


def load_landsat_nc() -> Bunch:
    """Load a Landsat 7 scene of North Carolina as a table of pixels. Real, bundled.

    The scene was taken in 2000; the labelled pixels and the land-class map are of 1996. Nobody
    knows the truth of 2000: the labels agree with the map in 99.5 %, so the map is no
    independent check of them. Whoever takes the map as the population does so by convention
    (``print(scene.card)``). Needs rasterio, of the kit's extra ``imagery``.

    Returns
    -------
    Bunch
        frame : DataFrame of shape (135092, 11)
            A row for each pixel with data, from the upper left to the lower right: `row` and
            `col` in the grid; `x` and `y`, the middle of the pixel in metres; the bands
            `blue`, `green`, `red`, `nir`, `swir1` and `swir2`, digital numbers from 0 to 255,
            without unit; `land_class`, the name of its class on the map of 1996. The index is
            the place in the flattened grid: ``row * 489 + col``.
        labelled : DataFrame of shape (2436, 13)
            The labelled pixels that have data: the columns of `frame`, and `label`, the name
            of the class, and `polygon`, from 1 to 29: pixels that share an edge are of one
            polygon (four neighbours; eight give the same).
        classes : dict of int to str
            The codes of the seven classes in the files. Agriculture has no labelled pixel
            with data.
        bands : DataFrame of shape (6, 3)
            For each band its number on the satellite (`band`), and where it begins and ends,
            in micrometres (`from`, `to`).
        image_path, labels_path, land_classes_path : Path
            The three GeoTIFFs, all on one grid; 0 stands for no data.
        shape : tuple of int
            Rows and columns of the grid, (443, 489).
        nodata_share : float
            The share of pixels without data.
        card : Card
            What the data are, in full. `DESCR` is the same as text; `name`, `kind`,
            `licence` and `citation` are taken from it.

    Raises
    ------
    DatasetError
        If a bundled file is missing or damaged.
    RasterError
        If rasterio is not installed.

    Notes
    -----
    The projection is Lambert's conformal conic one. It keeps angles, not areas: pixels differ
    in area, though in this scene by far less than any estimate does.

    References
    ----------
    North Carolina sample data set, Open Source Geospatial Foundation. The wavelengths are
    those of the Enhanced Thematic Mapper Plus as given by the US Geological Survey (cited from
    memory).

    Examples
    --------
    >>> scene = load_landsat_nc()
    >>> scene.frame[["row", "col", "red", "nir", "land_class"]].head(2)
           row  col  red  nir land_class
    21079   43   52   99   65  developed
    21080   43   53   89   64  developed
    >>> scene.labelled["label"].value_counts().head(3)
    label
    forest        894
    herbaceous    516
    developed     427
    Name: count, dtype: int64
    >>> round(scene.nodata_share, 3)
    0.376
    """
    import numpy as np
    import pandas as pd

    from mlkit._raster import check_same_grid, open_raster, read_window

    card = dataset_card("landsat_nc")
    paths = [data_file_path(card, file.name) for file in card.files]
    with open_raster(paths[0]) as image, open_raster(paths[1]) as labels:  # noqa: SIM117
        with open_raster(paths[2]) as land_classes:
            check_same_grid(image, labels, land_classes)
            transform = image.transform
            values = read_window(image)
            given, mapped = (read_window(raster, indexes=1) for raster in (labels, land_classes))
    with_data = (values != 0).any(axis=0)
    frame = _pixels(values, with_data, transform, [*_BANDS])
    frame["land_class"] = _names(mapped[with_data])
    labelled = frame.loc[frame.index.isin(np.flatnonzero(given))].copy()
    rows, cols = labelled["row"], labelled["col"]
    labelled["label"] = _names(given[rows, cols])
    labelled["polygon"] = _polygons(with_data & (given > 0))[rows, cols]
    return Bunch(
        name=card.name,
        kind=card.kind,
        frame=frame,
        labelled=labelled,
        classes=dict(_CLASSES),
        bands=pd.DataFrame.from_dict(_BANDS, orient="index", columns=["band", "from", "to"]),
        image_path=paths[0],
        labels_path=paths[1],
        land_classes_path=paths[2],
        shape=with_data.shape,
        nodata_share=float(1 - with_data.mean()),
        card=card,
        DESCR=str(card),
        licence=card.licence,
        citation=card.citation,
    )


def _pixels(
    values: NDArray[np.uint8], with_data: NDArray[np.bool_], transform: Any, bands: list[str]
) -> pd.DataFrame:
    """Make a row of each pixel with data."""
    import numpy as np
    import pandas as pd

    rows, cols = np.nonzero(with_data)
    x = transform.c + transform.a * (cols + 0.5)  # the grid is not turned
    y = transform.f + transform.e * (rows + 0.5)
    columns = {"row": rows, "col": cols, "x": x, "y": y}
    # Whole numbers of 64 bits: with the eight bits of the file, nir - red would wrap around.
    columns |= dict(zip(bands, values[:, with_data].astype(np.int64), strict=True))
    return pd.DataFrame(columns, index=np.flatnonzero(with_data))


def _names(codes: NDArray[np.uint8]) -> Any:
    import pandas as pd

    return pd.array(["", *_CLASSES.values()], dtype="str").take(codes)


def _polygons(labelled: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give each pixel the number of its group, from 1; a test says that no two classes touch."""
    import numpy as np
    from scipy import ndimage

    return np.asarray(ndimage.label(labelled)[0], dtype=np.int64)
