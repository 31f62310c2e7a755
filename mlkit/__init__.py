"""A kit with which statistical offices learn machine learning.

Import what you need from its rooms, for example ``from mlkit.datasets import
load_soc_index``. Importing :mod:`mlkit` itself costs nothing.
"""

__version__ = "0.1.0"
