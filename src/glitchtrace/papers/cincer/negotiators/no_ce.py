"""No counter-example: the annotator sees the suspicious sample alone."""

KIND = "negotiator"
CARD = {
    "summary": "Shows no counter-example: the suspicious sample is asked about alone.",
    "label": "No CE",
    "silent": True,
}
