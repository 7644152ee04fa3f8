"""Cameras and lenses, measured from their own pictures."""
