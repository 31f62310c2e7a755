"""Automatic coding: honest confidences, certified thresholds, and the size of an audit.

A model gives each record a code and a confidence. Records whose confidence reaches a threshold
are coded automatically; the others go to a clerk. :class:`ConfidenceCalibrator` makes the
confidences mean what they say. :func:`certify_thresholds` finds a threshold together with a
guarantee, and :func:`plan_audit_sample` says how many records that takes.
:class:`FallBackCoder` codes what is unsure at a higher level of the classification, and
:func:`top_k_lists` and :class:`ConformalShortLists` make lists for the clerks who code the rest.
"""

from mlkit.coding._audit import AuditPlan, PlannedTest, plan_audit_sample
from mlkit.coding._calibration import ConfidenceCalibrator, confidence_from_scores
from mlkit.coding._certificate import (
    Certificate,
    CodeCertificates,
    Scope,
    Step,
    fault_in_walk,
)
from mlkit.coding._certify import (
    certify_audit,
    certify_per_code,
    certify_thresholds,
    threshold_grid,
)
from mlkit.coding._conformal import ConformalShortLists, conformal_quantile
from mlkit.coding._fall_back import FallBackCoder
from mlkit.coding._fall_back_certificate import (
    FallBackCertificate,
    FallBackCodes,
    LevelRule,
)
from mlkit.coding._short_list_report import (
    ShortListFigure,
    ShortListReport,
    short_list_report,
)
from mlkit.coding._short_lists import ShortLists, top_k_lists

__all__ = [
    "AuditPlan",
    "Certificate",
    "CodeCertificates",
    "ConfidenceCalibrator",
    "ConformalShortLists",
    "FallBackCertificate",
    "FallBackCoder",
    "FallBackCodes",
    "LevelRule",
    "PlannedTest",
    "Scope",
    "ShortListFigure",
    "ShortListReport",
    "ShortLists",
    "Step",
    "certify_audit",
    "certify_per_code",
    "certify_thresholds",
    "confidence_from_scores",
    "conformal_quantile",
    "fault_in_walk",
    "plan_audit_sample",
    "short_list_report",
    "threshold_grid",
    "top_k_lists",
]
