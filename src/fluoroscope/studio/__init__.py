"""The studio: a local web app that shows trainings while they run."""
