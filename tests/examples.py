"""Three operators of many tests, undrawn, as a recipe writes them."""

from __future__ import annotations

from degrade.operators.light import Exposure
from degrade.operators.noise import SensorNoise
from degrade.operators.optics import PsfBlur
from degrade.testing import examples_of

BLUR, EXPOSURE, NOISE = (examples_of(kind)[0] for kind in (PsfBlur, Exposure, SensorNoise))
