"""From the history to the three tables of the data contract: one module per kind of yield, pure functions of rows."""
