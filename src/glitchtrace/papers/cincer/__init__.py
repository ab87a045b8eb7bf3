"""CINCER: interactive label cleaning, in which a suspicious sample is shown beside a counter-example."""
