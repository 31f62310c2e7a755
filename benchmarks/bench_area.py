"""Count a map of 10,980 x 10,980 pixels against a reference, and draw a sample from it.

Run it from the checkout: python benchmarks/bench_area.py

It writes its own rasters (tiled and deflated) into a temporary folder. Beside counting stand
reading the two files alone, by the same bands, and, on the first rows, a plain numpy.bincount and
scikit-learn's confusion_matrix. Wall time rules; processor time is printed beside it, because a
busy machine leaves no second core for the second thread. Each measurement is a process of its
own, whose peak memory is its VmHWM (ru_maxrss would inherit the peak of the parent).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlkit._raster import block_rows, open_raster, read_window, write_raster

LIMIT_RATIO, LIMIT_MEGABYTES = 2.0, 600
CLASSES, PATCH, PART, REPEATS = 8, 20, 2_560, 5


def make(path: Path, side: int, block: int, crs: str, seed: int) -> None:
    """Write a map of square patches, every twentieth pixel disturbed, with a rim of nodata."""
    from rasterio.transform import from_origin

    pixel = 1e-4 if crs == "EPSG:4326" else 10.0
    corner = (15.0, 52.0) if crs == "EPSG:4326" else (300_000.0, 5_000_040.0)
    profile = {"width": side, "height": side, "count": 1, "dtype": "uint8", "nodata": 0}
    grid = {"crs": crs, "transform": from_origin(*corner, pixel, pixel)}
    rng = np.random.default_rng(seed)
    with write_raster(path, **profile, **grid, blockxsize=block, blockysize=block) as out:
        for window in block_rows(out):
            shape = window.height // PATCH + 1, window.width // PATCH + 1
            patches = rng.integers(1, CLASSES + 1, shape, dtype=np.uint8)
            values = patches.repeat(PATCH, axis=0).repeat(PATCH, axis=1)
            values = values[: window.height, : window.width]
            noise = rng.integers(1, CLASSES + 1, values.shape, dtype=np.uint8)
            values = np.where(rng.integers(0, 20, values.shape, dtype=np.uint8) == 0, noise, values)
            values[:, :100] = 0
            out.write(values, 1, window=window)


def read(first: str, second: str, rows: int | None = None) -> list[Any]:
    """Read both files by bands of blocks; keep the pixels of the first rows if asked to."""
    kept = []
    with open_raster(first) as a, open_raster(second) as b:
        for window in block_rows(a):
            if rows is not None and window.row_off >= rows:
                break
            pair = [read_window(dataset, window, indexes=1) for dataset in (a, b)]
            if rows is not None:
                kept.append(pair)
    return kept


def plain(pairs: list[Any]) -> Any:
    """Count pairs as is mostly done."""
    return sum(
        np.bincount(a.ravel().astype(np.int64) * (CLASSES + 1) + b.ravel(), minlength=81)
        for a, b in pairs
    )


def measure(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Give the best wall and processor time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return min(wall for wall, _ in times), min(busy for _, busy in times)


def peak() -> float:
    """Give this process's peak memory in megabytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def one(task: str, first: str, second: str) -> dict[str, float]:
    """Do one task in this process."""
    from mlkit.evaluation._area_counts import count_map
    from mlkit.evaluation._area_sample import draw_reference_sample

    legend = {code: f"class {code}" for code in range(1, CLASSES + 1)}
    if task == "count and read":  # in turn, so that both meet the same machine
        both = [
            (
                measure(lambda: read(first, second), 1),
                measure(lambda: count_map(first, second, classes=legend), 1),
            )
            for _ in range(REPEATS)
        ]
        best = np.array(both).min(axis=0)
        names = ("read", "read_busy", "count", "count_busy")
        return dict(zip(names, best.ravel().tolist(), strict=True))
    if task == "memory":
        count_map(first, second, classes=legend)
    if task == "draw":
        sizes = dict.fromkeys(legend, 200)
        return {"wall": measure(lambda: draw_reference_sample(first, sizes, seed=1), 1)[0]} | {
            "peak": peak()
        }
    if task == "peers":
        from sklearn.metrics import confusion_matrix

        pairs = read(first, second, PART)
        a, b = (np.concatenate([pair[place].ravel() for pair in pairs]) for place in (0, 1))
        few = slice(len(a) // 10)
        return {
            "pixels": len(a),
            "bincount": measure(lambda: plain(pairs), 3)[0],
            "sklearn": measure(lambda: confusion_matrix(b[few], a[few]), 1)[0] * 10,
            "read": measure(lambda: read(first, second, PART), 3)[0],
        }
    return {"peak": peak()}


def in_a_process(task: str, *paths: Path) -> dict[str, float]:
    """Do one task in a process of its own."""
    command = [sys.executable, __file__, "--task", task, *map(str, paths)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_980)
    parser.add_argument("--task")
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(one(options.task, *options.paths)))
        return
    failed = False
    for crs, blocks in (
        ("EPSG:32633", (256, 256)),
        ("EPSG:3035", (512, 256)),
        ("EPSG:4326", (512, 512)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / name for name in ("map.tif", "reference.tif")]
            for seed, (path, block) in enumerate(zip(paths, blocks, strict=True)):
                make(path, options.side, block, crs, seed)
            megabytes = sum(path.stat().st_size for path in paths) / 2**20
            times = in_a_process("count and read", *paths)
            memory = in_a_process("memory", *paths)["peak"]
            ratio = times["count"] / times["read"]
            busy = times["count_busy"] / times["read_busy"]
            print(
                f"{crs}, blocks of {blocks[0]} and {blocks[1]}, files of {megabytes:.0f} MB: "
                f"read {times['read']:.2f} s, count {times['count']:.2f} s: {ratio:.2f} times "
                f"reading (processor time {busy:.2f} times); peak {memory:.0f} MB"
            )
            failed |= ratio > LIMIT_RATIO or memory > LIMIT_MEGABYTES
            if crs == "EPSG:32633":
                drawn = in_a_process("draw", *paths)
                print(
                    f"  draw 1,600 points: {drawn['wall']:.2f} s, "
                    f"{drawn['wall'] / times['read'] * 2:.1f} times reading the map; peak "
                    f"{drawn['peak']:.0f} MB"
                )
                peers = in_a_process("peers", *paths)
                share = peers["pixels"] / options.side**2
                ours = times["count"] * share
                for name in ("bincount", "sklearn"):
                    whole = peers["read"] + peers[name]
                    print(f"  read and {name}: {whole / ours:.1f} times as long as count_map")
    print(f"limits: {LIMIT_RATIO} times reading, {LIMIT_MEGABYTES} MB")
    if failed:
        sys.exit("A limit was missed.")


if __name__ == "__main__":
    main()
