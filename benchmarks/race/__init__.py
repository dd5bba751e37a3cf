"""The race: every forecaster on the same origins, each with its own file, scored by the project's own scores."""
