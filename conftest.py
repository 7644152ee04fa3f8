"""Kernels of Triton are collected where it is installed: it comes for few systems."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("triton") else ["degrade/maths/philox_gpu.py"]
