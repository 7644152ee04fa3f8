"""The store room: planes on disk as plain Zarr v3, written whole shards at a time, mapped when read."""
