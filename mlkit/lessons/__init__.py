"""Read the masters of lessons and build their copies (an author's extra)."""

from mlkit.lessons.derive import learner_copy, notebook_path, slide_copy, solved_copy
from mlkit.lessons.master import Master, MasterError, Parameter, find_masters, read_master

__all__ = [
    "Master",
    "MasterError",
    "Parameter",
    "find_masters",
    "learner_copy",
    "notebook_path",
    "read_master",
    "slide_copy",
    "solved_copy",
]
