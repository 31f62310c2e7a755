"""Rasters are opened, read, compared and written with errors that help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")

from rasterio.transform import from_origin  # noqa: E402
from rasterio.windows import Window  # noqa: E402

from mlkit import _raster  # noqa: E402
from mlkit._raster import (  # noqa: E402
    RasterError,
    block_rows,
    check_same_grid,
    open_raster,
    read_window,
    write_raster,
)

HERE = from_origin(500_000, 200_000, 10, 10)


def write(path: Path, values: Any, **profile: Any) -> Path:
    values = np.atleast_3d(np.asarray(values).T).T
    bands, height, width = values.shape
    options = {"crs": "EPSG:32633", "transform": HERE, **profile}
    with write_raster(
        path, width=width, height=height, count=bands, dtype=values.dtype, **options
    ) as out:
        out.write(values)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    values = np.random.default_rng(1).integers(0, 4000, (600, 500)).astype("uint16")
    return write(tmp_path / "picture.tif", values)


def test_what_is_written_is_read_again(picture: Path) -> None:
    with open_raster(picture) as dataset:
        assert dataset.profile["tiled"] is True
        assert dataset.profile["compress"] == "deflate"
        assert dataset.block_shapes == [(256, 256)]
        expected = np.random.default_rng(1).integers(0, 4000, (600, 500))
        np.testing.assert_array_equal(read_window(dataset)[0], expected)
        part = read_window(dataset, Window(100, 200, 30, 40), indexes=1)
        np.testing.assert_array_equal(part, expected[200:240, 100:130])


def test_a_failure_leaves_nothing_and_keeps_what_was(picture: Path) -> None:
    before = picture.read_bytes()

    def half() -> None:
        with write_raster(picture, width=9, height=9, count=1, dtype="uint8") as out:
            out.write(np.zeros((1, 9, 9), "uint8"))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    assert picture.read_bytes() == before
    assert list(picture.parent.iterdir()) == [picture]


def test_a_profile_that_gdal_refuses_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(RasterError, match=r"a\.tif cannot be written"),
        write_raster(tmp_path / "a.tif", width=9, height=9, count=1, dtype="text"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_no_folder_to_write_to(tmp_path: Path) -> None:
    with (
        pytest.raises(RasterError, match=r"is no folder, so a\.tif cannot be written"),
        write_raster(tmp_path / "no" / "a.tif", width=9, height=9, count=1, dtype="uint8"),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.tif", "does not exist. Give the path"), ("", "is a folder")],
)
def test_no_file(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(RasterError, match=message), open_raster(tmp_path / name):
        pass


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"II*\x00\x08"])
def test_no_raster(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "table.tif"
    place.write_bytes(content)
    with (
        pytest.raises(RasterError, match=rf"\({len(content)} bytes\) is not a raster"),
        open_raster(place),
    ):
        pass


@pytest.mark.parametrize("compress", ["deflate", "none"])
@pytest.mark.parametrize("tiled", [True, False])
def test_a_file_cut_off_is_refused_and_never_read_as_zeros(
    tmp_path: Path, compress: str, tiled: bool
) -> None:
    values = np.random.default_rng(1).integers(1, 4000, (600, 500)).astype("uint16")
    options = {} if tiled else {"tiled": False, "blockysize": 16, "blockxsize": None}
    whole = write(tmp_path / "whole.tif", values, compress=compress, **options)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    def read_all() -> None:
        with open_raster(cut) as dataset:
            for window in block_rows(dataset, pixels=1):
                read_window(dataset, window)

    with pytest.raises(RasterError, match="cut off"):
        read_all()


@pytest.mark.parametrize("pixels", [1, 256 * 500, 300_000, 10**9])
def test_bands_cover_the_raster_once_in_whole_blocks(picture: Path, pixels: int) -> None:
    with open_raster(picture) as dataset:
        bands = block_rows(dataset, pixels)
        assert sum(window.height for window in bands) == dataset.height
        tops = np.cumsum([0, *(window.height for window in bands)])[:-1]
        assert [window.row_off for window in bands] == tops.tolist()
        assert all(top % 256 == 0 for top in tops)
        assert {window.width for window in bands} == {dataset.width}
        assert len(bands) == {1: 3, 256 * 500: 3, 300_000: 2, 10**9: 1}[pixels]


def test_one_grid_is_accepted(tmp_path: Path, picture: Path) -> None:
    nearly = from_origin(500_000 + 1e-6, 200_000, 10, 10)
    labels = write(tmp_path / "labels.tif", np.ones((600, 500), "uint8"), transform=nearly)
    with open_raster(picture) as first, open_raster(labels) as second:
        check_same_grid(first, second)
        check_same_grid(first)


@pytest.mark.parametrize(
    ("shape", "profile", "message"),
    [
        ((600, 499), {}, r"600 x 500 and 600 x 499 pixels \(rows x columns\)"),
        ((600, 500), {"crs": "EPSG:32634"}, "systems EPSG:32633 and EPSG:32634"),
        ((600, 500), {"crs": None}, "systems EPSG:32633 and none"),
        (
            (600, 500),
            {"transform": from_origin(500_005, 200_000, 10, 10)},
            r"corners at \(500,000, 200,000\) and \(500,005, 200,000\)",
        ),
        (
            (600, 500),
            {"transform": from_origin(500_000, 200_000, 10.01, 10)},
            r"pixels of \(10, 10\) and \(10.01, 10\)",
        ),
    ],
)
def test_other_grids_are_refused_with_the_command_that_helps(
    tmp_path: Path, picture: Path, shape: tuple[int, int], profile: dict[str, Any], message: str
) -> None:
    labels = write(tmp_path / "labels.tif", np.ones(shape, "uint8"), **profile)
    with open_raster(picture) as first, open_raster(labels) as second:
        with pytest.raises(RasterError, match=message) as caught:
            check_same_grid(first, second)
        command = str(caught.value).splitlines()[-1].split()
    if profile.get("crs", "") is None:
        return  # rio cannot bring a raster without coordinates anywhere; the message names it
    rio = Path(sys.executable).with_name("rio")
    subprocess.run(
        [rio, *command[1:]], cwd=tmp_path, check=True, capture_output=True, env=dict(os.environ)
    )
    with open_raster(picture) as first, open_raster(tmp_path / "labels_on_grid.tif") as moved:
        check_same_grid(first, moved)


def test_without_rasterio_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(RasterError, match="extra 'imagery'"):
        _raster.rasterio()
