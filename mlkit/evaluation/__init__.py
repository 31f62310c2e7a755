"""What scikit-learn lacks for judging official statistics: design, levels of a code, production.

The names of :mod:`mlkit.evaluation.coding` can be imported from here as well.
"""

from __future__ import annotations

from mlkit.evaluation.coding import (
    Agreement,
    CodingFigure,
    CodingReport,
    CurvePoint,
    FirstWrongLevel,
    HierarchicalScores,
    ProductionCurve,
    ReliabilityTable,
    agreement,
    brier_of_correct,
    coding_report,
    expected_calibration_error,
    first_wrong_level,
    hierarchical_scores,
    production_curve,
    reliability_table,
)

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
