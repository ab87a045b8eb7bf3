"""The kind of component of this room, and the settings that all datasets have."""

KINDS = {
    "dataset": {
        "table": "datasets",
        "keys": ["source"],
        "function": "load",
        "card": {
            "modality": {"enum": ["image", "table", "sparse"]},
            "classes": {"type": ["integer", "null"], "minimum": 2},
            "rows": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "all": {"type": "integer", "minimum": 1},
                    "train": {"type": "integer", "minimum": 1},
                    "test": {"type": "integer", "minimum": 1},
                },
            },
            "shape": {"type": ["array", "null"], "items": {"type": "integer", "minimum": 1}},
            "files": {"type": "array", "items": {"type": "string"}},
            "foreign": {"type": "string"},
            "foreign_only": {"type": "boolean"},
            "own": {"type": "boolean"},
            "convolution_size": {"type": "integer"},
            "memory_mib": {"type": "integer"},
            "licence": {"type": "string"},
            "citation": {"type": "string"},
            "source": {"type": "string"},
        },
        "required": ["modality", "classes", "rows", "shape"],
        "settings": {
            "subset_ratio": {
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
                "maximum": 1,
                "description": (
                    "Share of the training rows to use, stratified, drawn with the run seed; null for all."
                ),
                "default": None,
            },
            "subset_size": {
                "type": ["integer", "null"],
                "minimum": 2,
                "description": "Number of training rows to use, instead of `subset_ratio`.",
                "default": None,
            },
            "validation_source": {
                "enum": ["test_split", "holdout", "none", None],
                "description": (
                    "Validation rows come from the official test part (`test_split`) or from the training "
                    "rows (`holdout`), or there are none (`none`; all official test rows are test rows); null"
                    " takes `test_split` where an official test part exists."
                ),
                "default": None,
            },
            "validation_ratio": {
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "description": (
                    "With `test_split`, share of the official test part that serves as validation, the rest "
                    "being the test part; null takes `subset_ratio`, or 0.5."
                ),
                "default": None,
            },
            "holdout_ratio": {
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "description": "With `holdout`, share of the rows that serves as validation.",
                "default": 0.2,
            },
            "holdout_order": {
                "enum": ["random", "tail"],
                "description": (
                    "With `holdout`, whether the validation rows are drawn, stratified, or are the last in "
                    "the order of rows."
                ),
                "default": "random",
            },
            "test_ratio": {
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "description": (
                    "With `holdout` and no official test part, share of all rows set aside as test."
                ),
                "default": 0.2,
            },
            "test_size": {
                "type": ["integer", "null"],
                "minimum": 1,
                "description": "Number of test rows, stratified; null for all that are left.",
                "default": None,
            },
            "validation_noise": {
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "description": (
                    "Share of the validation rows that get a random other label, for a dirty validation set; "
                    "null for a clean one."
                ),
                "default": None,
            },
        },
    }
}
