"""Types that many files write."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]  #: NumPy's, of double precision
