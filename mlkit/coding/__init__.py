"""Automatic coding: honest confidences, certified thresholds, and the size of an audit.

A model gives each record a code and a confidence. Records whose confidence reaches a threshold
are coded automatically; the others go to a clerk. :class:`ConfidenceCalibrator` makes the
confidences mean what they say. :func:`certify_thresholds` finds a threshold together with a
guarantee, and :func:`plan_audit_sample` says how many records that takes.
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

__all__ = [
    "AuditPlan",
    "Certificate",
    "CodeCertificates",
    "ConfidenceCalibrator",
    "PlannedTest",
    "Scope",
    "Step",
    "certify_audit",
    "certify_per_code",
    "certify_thresholds",
    "confidence_from_scores",
    "fault_in_walk",
    "plan_audit_sample",
    "threshold_grid",
]
