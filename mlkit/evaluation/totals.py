"""How many units belong to each class, when a model has coded them: class totals and shares.

Counting predicted codes is biased: at 90 % accuracy in either of two classes a true 10 % is
published as 18 %. An audit, in which people code some records anew, mends that in several ways,
which differ in what must be stable between audit and target:

==============================  ==============================  ===============================
estimator                       right if                        fails
==============================  ==============================  ===============================
`classify_and_count`            errors cancel                   nearly always
`calibration_estimator`         P(true | predicted) is stable   when shares shift
`prediction_powered_estimator`  the mean error is stable        when shares shift
`misclassification_estimator`   P(predicted | true) is stable   with many codes or few audited
`subtracted_bias_estimator`     the same, and errors are few    by a bias of second order
==============================  ==============================  ===============================

If the audit is a probability sample of the target itself, calibration and prediction-powered
estimator are right whatever else holds, and the first is mostly the most accurate of all. Last
year's audit, after a shift of shares, leaves the misclassification estimator.

**Describe, then estimate.** An :class:`Audit` says which records were audited, how they were
drawn, and from where; a :class:`Target` says what was coded: records, or just counts per
predicted code, all units of a population or a sample with a design. Which sampling situation it
is, and so which variance, follows from these two, and every result names it:

- *the audit was drawn from the target* (``drawn_from="target"``), of which every unit is coded:
  a finite population, as in the difference estimator of survey sampling;
- *the same, the target being a sample itself*: two phases;
- *the audit was drawn elsewhere* (``drawn_from="elsewhere"``): last year, or an independent
  sample. Only here is something assumed to be stable.

There is no default for ``drawn_from``: nothing in the data tells, and everything depends on it.

**Domains.** If only the target has domains, the rates of the whole audit are applied to each
(a synthetic estimate, and the result says so); if the audit has them too, each domain is
corrected by records of its own.

**Standard errors** are those of the audit, plus those of the target if it is a sample. For a
simple random audit they are *conditional* on how many audited records have each true or predicted
code; under a design they are linearised. The *unconditional* ones, for planning, are in
:func:`two_class_errors`. All go through :mod:`mlkit.estimate`.

**Refused rather than guessed:** a code with fewer than two audited records, and a
misclassification matrix that the audit cannot tell from one without inverse, which is the rule
with hundreds of codes. :func:`to_level` and :func:`collapse_rare` join codes by a
classification. Shares are never cut to [0, 1]: those outside are reported.
"""

from __future__ import annotations

from mlkit.evaluation._totals_estimators import (
    calibration_estimator,
    classify_and_count,
    misclassification_estimator,
    prediction_powered_estimator,
    subtracted_bias_estimator,
)
from mlkit.evaluation._totals_inputs import Audit, Target, collapse_rare, to_level
from mlkit.evaluation._totals_planning import (
    PlannedError,
    TwoClassErrors,
    prediction_powered_mean,
    two_class_errors,
)
from mlkit.evaluation._totals_result import ClassTotals

__all__ = [
    "Audit",
    "ClassTotals",
    "PlannedError",
    "Target",
    "TwoClassErrors",
    "calibration_estimator",
    "classify_and_count",
    "collapse_rare",
    "misclassification_estimator",
    "prediction_powered_estimator",
    "prediction_powered_mean",
    "subtracted_bias_estimator",
    "to_level",
    "two_class_errors",
]
