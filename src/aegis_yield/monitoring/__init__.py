"""Watching models at work: the gate between two of them, drift of their inputs, scores of what they said, alarms."""
