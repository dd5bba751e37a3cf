"""Risk: what can go wrong with a strategy and with a portfolio, and how likely it is."""
