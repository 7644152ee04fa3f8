"""Building: a folder of photos and a recipe into a store."""
