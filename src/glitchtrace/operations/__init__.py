"""Watching and checking runs: what exists, what is stale, what is left and costs, and whether it can be remade."""
