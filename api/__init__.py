"""The REST service: a door to the package."""
