"""Operators: thin declarations over `degrade.maths`, one family a file."""
