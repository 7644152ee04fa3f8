"""Named equipment that recipes refer to: cameras and lenses, their folders and arrays."""
