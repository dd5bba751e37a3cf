"""Use cases: the only room that knows all the others."""
