"""EuroSAT: tiles of Sentinel-2 scenes with a land class each, downloaded."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlkit.datasets._bunch import Bunch
from mlkit.datasets._cards import DatasetError, dataset_card
from mlkit.datasets._download import downloaded_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["fetch_eurosat"]

# One folder on top, one for each class, and tiles named after the class and a number.
_TILE = re.compile(r"[\w-]+/(?P<folder>\w+)/(?P<name>\w+)_(?P<number>[0-9]{1,6})\.jpg", re.ASCII)

_CLASSES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)

_SIDE = 64

# A tile of 64 x 64 pixels is under 12,288 bytes before compression; JPEG adds tables.
_MOST_BYTES = 50_000


def fetch_eurosat(*, subset: bool = False) -> Bunch:
    """Fetch EuroSAT: tiles of Sentinel-2 scenes in true colour with a land class each. Real.

    Parameters
    ----------
    subset : bool, default False
        False for the whole set, 27,000 tiles, downloaded once (95 MB). True for 100 tiles of
        each class: that file is published nowhere, so it comes by hand or from the mirror of
        an office (the README of the data sets says how).

    Returns
    -------
    Bunch
        images : ndarray of shape (n_tiles, 64, 64, 3), uint8
            Red, green and blue of each pixel, from 0 to 255. A pixel is 10 m wide.
        target : ndarray of shape (n_tiles,), int64
            The place of the tile's class in `target_names`.
        target_names : list of str
            The ten classes, in alphabetical order.
        file_names : list of str
            The file of each tile, such as ``"Forest/Forest_12.jpg"``. Tiles stand in the order
            of classes, and within a class in the order of their numbers.
        card : Card
            What the data are, in full. `DESCR` is the same as text; `name`, `kind`,
            `licence` and `citation` are taken from it.

    Raises
    ------
    TypeError
        If `subset` is neither True nor False.
    DatasetError
        If the file is not in the cache and cannot be downloaded, with what to do by hand; or
        if it is no archive of such tiles: damaged, with a stranger's file, a class too many
        or too few, or a tile of another size. Nothing is ever unpacked to disk.

    Notes
    -----
    Tiles are cut from the same scenes and neighbours are alike, so a random split flatters.
    The tiles in true colour have no coordinates by which to do better.

    References
    ----------
    Helber, Bischke, Dengel and Borth (2019): EuroSAT: a novel dataset and deep learning
    benchmark for land use and land cover classification. IEEE Journal of Selected Topics in
    Applied Earth Observations and Remote Sensing 12(7), 2217-2226 (pages cited from memory).

    Examples
    --------
    >>> tiles = fetch_eurosat()  # doctest: +SKIP
    >>> tiles.images.shape  # doctest: +SKIP
    (27000, 64, 64, 3)
    """
    import numpy as np

    if not isinstance(subset, bool):
        raise TypeError(f"subset is {subset!r}; allowed are True and False.")
    card = dataset_card("eurosat")
    whole, part = card.files
    path = downloaded_file(card, part.name if subset else whole.name)
    classes = list(_CLASSES)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, classes, path)
            images = np.empty((len(members), _SIDE, _SIDE, 3), dtype=np.uint8)
            for place, (_, _, member) in enumerate(members):
                images[place] = _tile(archive.read(member), member.filename, path)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(f"{path} is not the archive it should be: {error}.") from error
    return Bunch(
        name=card.name,
        kind=card.kind,
        images=images,
        target=np.array([target for target, _, _ in members], dtype=np.int64),
        target_names=classes,
        file_names=[member.filename.partition("/")[2] for _, _, member in members],
        card=card,
        DESCR=str(card),
        licence=card.licence,
        citation=card.citation,
    )


def _members(
    archive: zipfile.ZipFile, classes: list[str], path: Path
) -> list[tuple[int, int, zipfile.ZipInfo]]:
    """List class, number and member of each tile, in order; refuse whatever is no tile."""
    places = {name: place for place, name in enumerate(classes)}
    members = []
    for member in archive.infolist():
        if member.is_dir():
            continue
        match = _TILE.fullmatch(member.filename)
        if not match or match["folder"] != match["name"] or match["name"] not in places:
            raise DatasetError(
                f"{path} has a stranger's file, {member.filename!r}. Tiles are called like "
                f"EuroSAT_RGB/Forest/Forest_1.jpg, with one of the classes {', '.join(classes)}. "
                "Nothing was read from it."
            )
        if member.file_size > _MOST_BYTES:
            raise DatasetError(
                f"{member.filename} in {path} has {member.file_size:,} bytes; a tile of {_SIDE} x "
                f"{_SIDE} pixels has {_MOST_BYTES:,} at most."
            )
        members.append((places[match["name"]], int(match["number"]), member))
    members.sort(key=lambda entry: entry[:2])
    keys = [entry[:2] for entry in members]
    if len(set(keys)) < len(keys):
        raise DatasetError(f"{path} has the same tile twice.")
    missing = [name for name, place in places.items() if place not in {key[0] for key in keys}]
    if missing:
        raise DatasetError(f"{path} has no tile of the classes: {', '.join(missing)}.")
    return members


def _tile(content: bytes, name: str, path: Path) -> NDArray[np.uint8]:
    """Decode one JPEG file of the size and colours that all tiles have."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
            if picture.size != (_SIDE, _SIDE) or picture.mode != "RGB":
                raise DatasetError(
                    f"{name} in {path} is a picture of {picture.size[0]} x {picture.size[1]} "
                    f"pixels, {picture.mode}; all tiles have {_SIDE} x {_SIDE} pixels, RGB."
                )
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"{name} in {path} is no readable JPEG: {error}.") from error
