"""Measurements a reader can repeat; peers live here and nowhere else."""
