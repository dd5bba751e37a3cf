"""From tables to model inputs: reading, checking, cleaning, features, windows, splits."""
