"""The vocabulary: what will be done to a photograph, and with which draws."""
