"""Satellite images: chips for training, windowed prediction, splits that respect space.

PyTorch is imported here alone, and where it is used: the rest of the kit does without it.
"""

__all__: list[str] = []
