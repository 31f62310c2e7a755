"""Measure falling back to the parent code: time beside the classifier's own, and memory.

Run it from the checkout: python benchmarks/bench_fall_back.py

No other library does this work, so the peer is the classifier itself: `predict_proba` of a linear
model, in the same blocks, is what any coder has to wait for.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
from bench_coding_report import make_classification, peak_megabytes
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin

from mlkit.coding import Scope
from mlkit.coding._fall_back import _BLOCK, FallBackCoder

LIMIT_RATIO, LIMIT_MEGABYTES = 2.0, 1000


class Linear(ClassifierMixin, BaseEstimator):
    """A linear model with weights that are given, of 400 classes and 1,000 features."""

    def __init__(self, classes: Any, features: int = 1_000) -> None:
        self.classes, self.features = classes, features
        self.classes_ = np.asarray(classes)
        rng = np.random.default_rng(0)
        self.weights = rng.normal(0, 5 / features**0.5, (features, len(classes)))

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        return softmax(X @ self.weights, axis=1)


class Rows:
    """Records that are made when a block is asked for, so that they take no memory."""

    def __init__(self, size: int, features: int) -> None:
        self.shape = (size, features)
        self.block = np.random.default_rng(1).normal(size=(20_000, features))

    def __getitem__(self, rows: slice) -> Any:
        return np.resize(self.block, (rows.stop - rows.start, self.shape[1]))


def draw(model: Linear, n: int, seed: int) -> tuple[Any, Any]:
    """Draw records and true codes that follow the model."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, model.features))  # noqa: N806
    reached = model.predict_proba(X).cumsum(axis=1)
    places = (rng.random((n, 1)) > reached).sum(axis=1).clip(max=len(model.classes_) - 1)
    return X, model.classes_[places]


def main() -> int:
    """Run all, and say whether the limits hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    n = parser.parse_args().records
    classification = make_classification()
    model = Linear(classification.codes("level 4").astype(str))
    coder = FallBackCoder(classification, model)
    start = time.perf_counter()
    coder.fit(*draw(model, 5_000, 1))
    fitted = time.perf_counter()
    scope = Scope("simulated", "none", "records", "the true code")
    certificate = coder.certify(*draw(model, 5_000, 2), scope=scope, target=0.8)
    print(
        f"5,000 rows, 400 codes, 4 levels: fit {fitted - start:.1f} s, certify "
        f"{time.perf_counter() - fitted:.1f} s ({certificate})"
    )
    rows, step = Rows(n, model.features), _BLOCK // 400
    start = time.perf_counter()
    for first in range(0, n, step):
        model.predict_proba(rows[first : min(first + step, n)])
    alone = time.perf_counter() - start
    start = time.perf_counter()
    coded = coder.code(rows)
    whole = time.perf_counter() - start
    megabytes = peak_megabytes()
    print(f"{n:,} records x 400 classes: predict_proba alone {alone:.1f} s, code {whole:.1f} s")
    print(f"  ratio code / predict_proba: {whole / alone:.2f}; peak {megabytes:,.0f} MB")
    print(f"  (all probabilities at once would be {n * 400 * 8 / 1e6:,.0f} MB); {coded}")
    limits = {
        f"coding takes less than {LIMIT_RATIO:g} times the classifier": whole < LIMIT_RATIO * alone,
        f"and {LIMIT_MEGABYTES:,} MB": megabytes < LIMIT_MEGABYTES,
    }
    for limit, held in limits.items():
        print(f"{'held' if held else 'MISSED'}: {limit}")
    return 0 if all(limits.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
