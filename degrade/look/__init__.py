"""Pictures for people: RAW developed for the eye, contact sheets."""
