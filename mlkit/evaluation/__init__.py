"""What scikit-learn lacks for judging official statistics: design, levels of a code, production.

The names of :mod:`mlkit.evaluation.coding` can be imported from here as well; other topics have
modules of their own, such as :mod:`mlkit.evaluation.totals`.
"""

from mlkit.evaluation import coding
from mlkit.evaluation.coding import *  # noqa: F403 - the list of names stands there

__all__: list[str] = []
__all__ += coding.__all__
