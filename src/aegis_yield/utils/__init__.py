"""The foundation: what several rooms need and what knows nothing of yields."""
