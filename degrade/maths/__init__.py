"""Tensors in, tensors out: no classes, no state, no files."""
