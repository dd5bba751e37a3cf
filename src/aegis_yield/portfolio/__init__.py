"""Portfolio: how one's own deposit moves a rate, what a change costs, and how to split capital under limits."""
