"""How large each class is, and how good the map: from a map and a probability sample of it.

Counting the pixels of a map is biased: pixels that are wrongly given to a class do not cancel
those that it misses. A *reference sample*, whose units were drawn with known probabilities and
looked at by people, mends that, and gives every figure a standard error. The map then serves
twice: to draw the sample well, and to make the estimate more exact.

=============================  ==================================================================
function                       use
=============================  ==================================================================
`count_map`                    pixels and area of each class of a map on disk, or of two maps
                               against each other, by parts
`pixel_areas`                  the area of a pixel: equal-area grids, degrees and others
`plan_reference_sample`        before sampling: how many points, in which strata
`draw_reference_sample`        draw them from a map on disk; `write_points` writes them for a GIS,
                               `read_at` reads another raster at them
`map_accuracy`                 overall, user's and producer's accuracy, and class areas; strata
                               are the map classes (Olofsson et al. 2014) or others (Stehman 2014)
`regression_area`              class areas, also by region, with map class or class probability as
                               auxiliary: the survey-calibrated way
`prediction_powered_area`      the same, adding to the pixel count the mean error in the sample
`direct_area`                  the same without the map: to see what the map is worth
=============================  ==================================================================

**Three ways, one number.** If the strata are the map classes and the auxiliary is the map class,
all three give the same areas and standard errors. They differ for simple random samples, other
strata, regions, and for probabilities in place of classes. In each the design weights count:
without them a stratified sample can give a forest gain of -1.5 % (a test shows it).

**Intervals.** A rare class is often found only in its own stratum, and then the usual standard
error knows nothing of what a large stratum may hide. ``interval="score"`` of `map_accuracy`, its
default, does: see there, and the table of measured coverage in the documentation.

The references:

- Olofsson, P., Foody, G. M., Herold, M., Stehman, S. V., Woodcock, C. E. and Wulder, M. A.
  (2014). Good practices for estimating area and assessing accuracy of land change. Remote
  Sensing of Environment 148, 42-57.
- Stehman, S. V. (2014). Estimating area and map accuracy for stratified random sampling when the
  strata are different from the map classes. International Journal of Remote Sensing 35,
  4923-4939.
- Särndal, C.-E., Swensson, B. and Wretman, J. (1992). Model Assisted Survey Sampling. Springer.
"""

from __future__ import annotations

from mlkit.evaluation._area_accuracy import MapAccuracy, map_accuracy, map_accuracy_from_counts
from mlkit.evaluation._area_counts import MapCounts, count_map
from mlkit.evaluation._area_estimators import (
    direct_area,
    prediction_powered_area,
    regression_area,
)
from mlkit.evaluation._area_inputs import stratified_design
from mlkit.evaluation._area_pixels import PixelAreas, pixel_areas
from mlkit.evaluation._area_planning import SamplePlan, plan_reference_sample
from mlkit.evaluation._area_result import ClassAreas
from mlkit.evaluation._area_sample import draw_reference_sample, read_at, write_points

__all__ = [
    "ClassAreas",
    "MapAccuracy",
    "MapCounts",
    "PixelAreas",
    "SamplePlan",
    "count_map",
    "direct_area",
    "draw_reference_sample",
    "map_accuracy",
    "map_accuracy_from_counts",
    "pixel_areas",
    "plan_reference_sample",
    "prediction_powered_area",
    "read_at",
    "regression_area",
    "stratified_design",
    "write_points",
]
