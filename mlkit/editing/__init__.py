"""Editing: say what a valid record is, and find the records that are not.

:class:`EditRules` reads rules from text, YAML or a data frame, says whether they contradict each
other, and which of them each record breaks.

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

from mlkit.editing._check import Cell, RuleCheck, Status
from mlkit.editing._consistency import Consistency, Redundancy
from mlkit.editing._grammar import LinearAtom, MemberAtom, RuleSyntaxError
from mlkit.editing._macro import DrillDown, TotalsComparison, compare_totals
from mlkit.editing._outliers import (
    OutlierStatus,
    QuartileOutliers,
    RatioOutliers,
    hidiroglou_berthelot,
    quartile_outliers,
)
from mlkit.editing._rules import EditRule, EditRules, LinearSystem, Variable
from mlkit.editing._selective import EditingCurve, SelectiveScores, selective_scores

__all__ = [
    "Cell",
    "Consistency",
    "DrillDown",
    "EditRule",
    "EditRules",
    "EditingCurve",
    "LinearAtom",
    "LinearSystem",
    "MemberAtom",
    "OutlierStatus",
    "QuartileOutliers",
    "RatioOutliers",
    "Redundancy",
    "RuleCheck",
    "RuleSyntaxError",
    "SelectiveScores",
    "Status",
    "TotalsComparison",
    "Variable",
    "compare_totals",
    "hidiroglou_berthelot",
    "quartile_outliers",
    "selective_scores",
]
