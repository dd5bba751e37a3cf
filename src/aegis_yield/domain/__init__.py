"""The language of the project: frozen values, units, errors."""
