"""The kind of component of this room."""

KINDS = {
    "glitch": {
        "table": "glitches",
        "function": "inject",
        "card": {
            "modalities": {"type": "array", "minItems": 1, "items": {"enum": ["image", "table", "sparse"]}},
            "ratio": {"enum": ["clean", "native"]},
            "foreign": {"type": "boolean"},
            "datasets": {"type": "array", "items": {"type": "string"}},
            "annotations": {"type": "string"},
            "label_repair": {"type": "boolean"},
            "labels_only": {"type": "boolean"},
            "reads_rows": {"type": "boolean"},
            "shown_by": {"type": "string"},
        },
        "required": ["modalities"],
    }
}
