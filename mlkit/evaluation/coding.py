"""How good are the codes: of a model, of a dictionary, of a human coder.

Labels (`y_true`, `y_pred`, `coder_a`, `coder_b`) are codes: text of every NumPy and pandas type,
categoricals, or whole numbers. Predictions are one code per record, shape (n,), or the best
codes of each record, shape (n, k), best first; a record with fewer than k candidates has missing
values at the end of its row. None, NaN, NA and empty text count as missing.

Refused with a ValueError or TypeError that says what to do: no records, records without a
true code or without any predicted code, lengths that differ, codes of mixed types, codes that
the classification does not have, weights that are negative, missing or all zero, and scores that
are missing or infinite.

**Two kinds of figures.** Those *of records* count each record once: they are about the work of
coding and its cost. Those *of the population* are weighted: they are about the published
statistic. Where the weights differ between records, results show both.
"""

from __future__ import annotations

from mlkit.evaluation._agreement import Agreement, agreement
from mlkit.evaluation._curve import CurvePoint, ProductionCurve, production_curve
from mlkit.evaluation._hierarchy import (
    FirstWrongLevel,
    HierarchicalScores,
    first_wrong_level,
    hierarchical_scores,
)
from mlkit.evaluation._reliability import (
    ReliabilityTable,
    brier_of_correct,
    expected_calibration_error,
    reliability_table,
)
from mlkit.evaluation._report import CodingFigure, CodingReport, coding_report

__all__ = [
    "Agreement",
    "CodingFigure",
    "CodingReport",
    "CurvePoint",
    "FirstWrongLevel",
    "HierarchicalScores",
    "ProductionCurve",
    "ReliabilityTable",
    "agreement",
    "brier_of_correct",
    "coding_report",
    "expected_calibration_error",
    "first_wrong_level",
    "hierarchical_scores",
    "production_curve",
    "reliability_table",
]
