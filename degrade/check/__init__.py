"""What a recipe does, measured, against what it says."""
