"""What scikit-learn lacks for judging official statistics: design, levels of a code, production.

The names of :mod:`mlkit.evaluation.coding` and :mod:`mlkit.evaluation.totals` can be imported
from here as well.
"""

from mlkit.evaluation import coding, totals

# The lists of names stand there.
from mlkit.evaluation.coding import *  # noqa: F403
from mlkit.evaluation.totals import *  # noqa: F403

__all__: list[str] = []
__all__ += coding.__all__
__all__ += totals.__all__
