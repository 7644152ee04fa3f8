"""The words: keys, priors, operators, frames; what a recipe is written in."""
