"""Negotiators: which known sample is shown as the counter-example of a suspicious one."""
