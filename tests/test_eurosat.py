"""EuroSAT: archives made here and served on the loopback address, and the real copy."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlkit.datasets import DatasetError, dataset_card, fetch_eurosat
from tests.serve import Server, give, serve, write_registry

SUBSET = "eurosat_rgb_subset_100x10.zip"
WHOLE = "EuroSAT_RGB.zip"
CLASSES = [
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
]

REAL = os.environ.get("MLKIT_REAL_DATA")
real_data = pytest.mark.skipif(not REAL, reason="MLKIT_REAL_DATA names no folder of real copies")

Members = dict[str, bytes]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


@pytest.fixture
def server(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        give((shelf / request.path[1:]).read_bytes())(request)

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLKIT_REGISTRY", str(tmp_path / "registry.toml"))
    with serve(answer) as server:
        yield server


def offer(server: Server, shelf: Path, content: bytes, name: str = WHOLE) -> None:
    (shelf / name).write_bytes(content)
    write_registry(
        shelf.parent / "registry.toml",
        "eurosat",
        name,
        url=f"{server.url}/{name}",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )


def jpeg(colour: tuple[int, int, int] = (10, 200, 90), size: tuple[int, int] = (64, 64)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG", quality=95)
    return file.getvalue()


def tiles() -> Members:
    """Make two tiles of each class, out of order; 10 stands before 2 by letters."""
    return {
        f"EuroSAT_RGB/{name}/{name}_{number}.jpg": jpeg((20 * place, 100, number))
        for number in (10, 2)
        for place, name in reversed(list(enumerate(CLASSES)))
    }


def pack(members: Members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_tiles_in_order(server: Server, shelf: Path) -> None:
    offer(server, shelf, pack({"EuroSAT_RGB/": b"", **tiles()}))
    found = fetch_eurosat()
    assert found.images.shape == (20, 64, 64, 3)
    assert found.images.dtype == np.uint8
    assert found.target.tolist() == [place for place in range(10) for _ in range(2)]
    assert found.target.dtype == np.int64
    assert found.target_names == CLASSES
    assert found.file_names[:3] == [
        "AnnualCrop/AnnualCrop_2.jpg",
        "AnnualCrop/AnnualCrop_10.jpg",
        "Forest/Forest_2.jpg",
    ]
    red = found.images[..., 0].mean(axis=(1, 2))
    assert red == pytest.approx(20.0 * found.target, abs=3)
    blue = found.images[..., 2].mean(axis=(1, 2))
    assert blue == pytest.approx(np.tile([2.0, 10.0], 10), abs=3)
    assert (found.name, found.kind) == ("eurosat", "real")
    assert str(found.card) == found.DESCR


def test_one_download_and_nothing_unpacked(server: Server, shelf: Path, tmp_path: Path) -> None:
    offer(server, shelf, pack(tiles()))
    first, again = fetch_eurosat(), fetch_eurosat()
    assert np.array_equal(first.images, again.images)
    assert len(server.asked) == 1
    there = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert there - {".lock"} == {WHOLE}


def test_whole_set_by_default_and_subset_on_request(server: Server, shelf: Path) -> None:
    offer(server, shelf, pack(tiles()), SUBSET)
    assert len(fetch_eurosat(subset=True).images) == 20
    assert server.asked == [f"/{SUBSET}"]


@pytest.mark.parametrize("subset", [None, 1, "yes"])
def test_subset_is_yes_or_no(subset: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLKIT_CACHE", "/dev/null/nowhere")  # refused before any work
    with pytest.raises(TypeError, match=f"subset is {subset!r}; allowed are True and False"):
        fetch_eurosat(subset=subset)  # type: ignore[arg-type]


def renamed(old: str, new: str) -> Callable[[Members], Members]:
    return lambda members: {name.replace(old, new): body for name, body in members.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m | {"../../evil.jpg": jpeg()}, r"a stranger's file, '\.\./\.\./evil\.jpg'"),
        (lambda m: m | {"/tmp/evil.jpg": jpeg()}, "a stranger's file, '/tmp/evil.jpg'"),
        (lambda m: m | {"a/../Forest/Forest_1.jpg": jpeg()}, "a stranger's file"),
        (lambda m: m | {"EuroSAT_RGB/readme.txt": b"hello"}, "a stranger's file, .*readme.txt"),
        (lambda m: m | {"EuroSAT_RGB/Forest/River_1.jpg": jpeg()}, "a stranger's file"),
        (lambda m: m | {"EuroSAT_RGB/Moon/Moon_1.jpg": jpeg()}, "with one of the classes Annual"),
        (lambda m: m | {"EuroSAT_RGB/Forest/Forest_٣.jpg": jpeg()}, "a stranger's file"),
        (lambda m: m | {"Other/Forest/Forest_2.jpg": jpeg()}, "has the same tile twice"),
        (
            lambda m: {name: body for name, body in m.items() if "River" not in name},
            "has no tile of the classes: River",
        ),
        (lambda m: {}, "has no tile of the classes: AnnualCrop, Forest"),
        (
            lambda m: m | {"EuroSAT_RGB/Forest/Forest_3.jpg": jpeg(size=(64, 63))},
            r"Forest_3\.jpg in .* is a picture of 64 x 63 pixels, RGB; all tiles have 64 x 64",
        ),
        (
            lambda m: m | {"EuroSAT_RGB/Forest/Forest_3.jpg": jpeg()[:300]},
            r"Forest_3\.jpg in .* is no readable JPEG",
        ),
        (lambda m: m | {"EuroSAT_RGB/Forest/Forest_3.jpg": b"GIF89a"}, "is no readable JPEG"),
        (
            lambda m: m | {"EuroSAT_RGB/Forest/Forest_3.jpg": bytes(60_000)},
            "has 60,000 bytes; a tile of 64 x 64 pixels has 50,000 at most",
        ),
    ],
)
def test_what_is_no_such_archive(
    server: Server,
    shelf: Path,
    tmp_path: Path,
    change: Callable[[Members], Members],
    said: str,
) -> None:
    offer(server, shelf, pack(change(tiles())))
    with pytest.raises(DatasetError, match=said):
        fetch_eurosat()
    assert not list(tmp_path.rglob("evil.jpg"))


def test_a_grey_tile(server: Server, shelf: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (64, 64), 7).save(file, "JPEG")
    name = "EuroSAT_RGB/Forest/Forest_3.jpg"
    offer(server, shelf, pack(tiles() | {name: file.getvalue()}))
    with pytest.raises(DatasetError, match="64 x 64 pixels, L; all tiles have"):
        fetch_eurosat()


def flip(content: bytes) -> bytes:
    """Turn one bit in the middle of the first tile: its checksum in the archive is wrong."""
    damaged = bytearray(content)
    damaged[400] ^= 1
    return bytes(damaged)


@pytest.mark.parametrize("damage", [flip, lambda c: c[:-100], lambda c: b"no zip", lambda c: b""])
def test_a_damaged_archive(server: Server, shelf: Path, damage: Callable[[bytes], bytes]) -> None:
    offer(server, shelf, damage(pack(tiles())))
    with pytest.raises(DatasetError, match="is not the archive it should be"):
        fetch_eurosat()


def test_another_file_than_the_card_says(server: Server, shelf: Path) -> None:
    """The registry gives only an address: the checksum is the card's."""
    (shelf / WHOLE).write_bytes(pack(tiles()))
    registry = shelf.parent / "registry.toml"
    write_registry(registry, "eurosat", WHOLE, url=f"{server.url}/{WHOLE}")
    with pytest.raises(DatasetError, match="expected 94,658,721 bytes with sha256 b4f5b234"):
        fetch_eurosat()


def test_the_subset_has_no_public_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLKIT_REGISTRY", raising=False)
    monkeypatch.setenv("MLKIT_CACHE", str(tmp_path))
    with pytest.raises(DatasetError, match=f"knows no public address of {SUBSET}") as error:
        fetch_eurosat(subset=True)
    assert f"put it at {tmp_path / 'eurosat' / SUBSET}." in str(error.value)


def test_the_card_says_what_we_did_not_see() -> None:
    card = dataset_card("eurosat")
    assert [file.name for file in card.files] == [WHOLE, SUBSET]
    assert "Never opened by us" in " ".join(card.defects)


@real_data
def test_the_real_subset(server: Server, shelf: Path) -> None:
    (shelf / SUBSET).symlink_to(Path(REAL or "").resolve() / SUBSET)
    registry = shelf.parent / "registry.toml"
    write_registry(registry, "eurosat", SUBSET, url=f"{server.url}/{SUBSET}")
    found = fetch_eurosat(subset=True)
    assert found.images.shape == (1_000, 64, 64, 3)
    assert np.bincount(found.target).tolist() == [100] * 10
    numbers = [int(name[:-4].rpartition("_")[2]) for name in found.file_names]
    assert all(numbers[i : i + 100] == sorted(numbers[i : i + 100]) for i in range(0, 1_000, 100))
    # The sea is darker than industry, and the two are what they should be by eye.
    mean = [found.images[found.target == place].mean() for place in range(10)]
    assert mean[CLASSES.index("SeaLake")] < mean[CLASSES.index("Industrial")]
    assert len(np.unique(found.images.reshape(1_000, -1), axis=0)) == 1_000
