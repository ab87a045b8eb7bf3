"""The kind of component of this room, and the settings that every estimator has: what is summed, what is profiled."""

KINDS = {
    "estimator": {
        "table": "estimators",
        "function": "open_cell",
        "card": {
            "trained": {"type": "array", "items": {"enum": ["head", "dense", "other"]}},
            "without": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "shared": {
            "passes": {
                "batch": {
                    "description": "Samples per pass through the network, where one is needed.",
                    "default": 128,
                    "type": "integer",
                    "minimum": 1,
                }
            },
            "blocks": {
                "memory_mib": {
                    "description": "Memory of one block of the influence matrix, MiB.",
                    "default": 64,
                    "type": "number",
                    "exclusiveMinimum": 0,
                }
            },
        },
        "settings": {
            "epochs": {
                "description": "Epochs whose checkpoints count, from 1; null: all.",
                "default": None,
                "anyOf": [
                    {"type": "null"},
                    {
                        "type": "array",
                        "items": {"type": "integer", "minimum": 1},
                        "minItems": 1,
                        "uniqueItems": True,
                    },
                ],
            },
            "divide_by_batch_size": {
                "description": "Divide by the batch size of the training.",
                "default": False,
                "type": "boolean",
            },
            "per_epoch": {
                "description": (
                    "Profile each checkpoint alone, too; null: where rows × classes × epochs are at most 20 million."
                ),
                "default": None,
                "type": ["boolean", "null"],
            },
            "counterfactual_epochs": {
                "description": "Checkpoints of the influence under counterfactual labels (CNCI, PCID).",
                "default": "last",
                "enum": ["last", "all"],
            },
            "exclude_own_class": {
                "description": ("Whether the label that CNCI proposes must differ from the observed one."),
                "default": False,
                "type": "boolean",
            },
            "mi_orientation": {
                "description": "Which sign of marginal influence is suspicious.",
                "default": "positive",
                "enum": ["positive", "negative"],
            },
        },
    }
}
