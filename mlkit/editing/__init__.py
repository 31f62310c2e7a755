"""Editing: say what a valid record is, and find the records that are not.

:class:`EditRules` reads rules from text, YAML or a data frame, says whether they contradict each
other, and which of them each record breaks. What follows is the order of work: systematic errors
(:func:`correct_systematic_errors`), influential ones (:func:`selective_scores`), random ones
(:func:`localise_errors`), imputation that keeps the rules, and totals (:func:`compare_totals`).

>>> import pandas as pd
>>> from mlkit.editing import EditRules
>>> rules = EditRules.from_text('''
... balance: turnover + other_income == total_income
... costs: staff_costs >= 0
... ''')
>>> firms = pd.DataFrame({
...     "turnover": [100, 250], "other_income": [20, None], "total_income": [130, 250],
...     "staff_costs": [40, 60],
... })
>>> check = rules.check(firms)
>>> check.matrix()
   balance      costs
0   broken  satisfied
1  unknown  satisfied
>>> check.failing
array([ True, False])
"""

from mlkit.editing._adjust import adjust_to_rules
from mlkit.editing._check import Cell, RuleCheck, Status
from mlkit.editing._consistency import Consistency, Redundancy
from mlkit.editing._deductive import impute_deductive
from mlkit.editing._donor import impute_from_donors
from mlkit.editing._grammar import LinearAtom, MemberAtom, RuleSyntaxError
from mlkit.editing._imputation import Imputation
from mlkit.editing._localise import Localisation, localise_errors
from mlkit.editing._macro import DrillDown, TotalsComparison, compare_totals
from mlkit.editing._outliers import (
    OutlierStatus,
    QuartileOutliers,
    RatioOutliers,
    hidiroglou_berthelot,
    quartile_outliers,
)
from mlkit.editing._prorate import prorate
from mlkit.editing._rules import EditRule, EditRules, LinearSystem, Variable
from mlkit.editing._selective import EditingCurve, SelectiveScores, selective_scores
from mlkit.editing._systematic import SystematicErrors, correct_systematic_errors

__all__ = [
    "Cell",
    "Consistency",
    "DrillDown",
    "EditRule",
    "EditRules",
    "EditingCurve",
    "Imputation",
    "LinearAtom",
    "LinearSystem",
    "Localisation",
    "MemberAtom",
    "OutlierStatus",
    "QuartileOutliers",
    "RatioOutliers",
    "Redundancy",
    "RuleCheck",
    "RuleSyntaxError",
    "SelectiveScores",
    "Status",
    "SystematicErrors",
    "TotalsComparison",
    "Variable",
    "adjust_to_rules",
    "compare_totals",
    "correct_systematic_errors",
    "hidiroglou_berthelot",
    "impute_deductive",
    "impute_from_donors",
    "localise_errors",
    "prorate",
    "quartile_outliers",
    "selective_scores",
]
