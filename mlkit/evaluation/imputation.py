"""How good are imputed values, and how sure is a figure that is made of them.

**How good.** :func:`imputation_report` judges imputed values where the truth is known, as in
simulated data or where known values were blanked out, by the criteria of the EUREDIT project.
Good single values, a right distribution and right totals are different things: imputing the mean
is best for the first and ruins the second.

**How sure.** A figure from imputed data that is treated as if everything had been observed has a
standard error that is too small. Two ways lead to an honest one:

==========================  =======================================  ==========================
way                         what it needs                            where it is used
==========================  =======================================  ==========================
`multiple_imputation` and   an imputer whose draws are proper; a     data that others analyse;
`pool` (Rubin's rules)      model that contains the publication      few figures of many kinds
                            domains, strata and weights
`reimputation_bootstrap`    any imputation that can be repeated      one imputed data set, as
                            in every replicate                       most business surveys have
==========================  =======================================  ==========================

Neither shows bias: if values are not missing at random given what the model knows, the figure is
wrong and its interval too. Vary the imputed values by a plausible amount and say what happens.

Standard errors are those of the design, by :mod:`mlkit.estimate`.
"""

from __future__ import annotations

from mlkit.evaluation._imputation_bootstrap import Reimputed, reimputation_bootstrap
from mlkit.evaluation._imputation_multiple import (
    ApproximateBayesianBootstrap,
    MultipleImputation,
    multiple_imputation,
)
from mlkit.evaluation._imputation_pool import ImputedFigures, Pooled, pool
from mlkit.evaluation._imputation_report import (
    ImputationFigure,
    ImputationReport,
    imputation_report,
)

__all__ = [
    "ApproximateBayesianBootstrap",
    "ImputationFigure",
    "ImputationReport",
    "ImputedFigures",
    "MultipleImputation",
    "Pooled",
    "Reimputed",
    "imputation_report",
    "multiple_imputation",
    "pool",
    "reimputation_bootstrap",
]
