"""The kinds of component of this system, the settings they share, and its blocks."""

KINDS = {
    "protocol": {"table": "protocols"},
    "cleansing_method": {
        "table": "cleansing_methods",
        "shared": {
            "credits": {
                "batch_norm": {
                    "enum": ["batch", "eval", "single"],
                    "description": (
                        "Statistics behind the credits: those of the batch, the running ones, or, as "
                        "published, those of each sample alone."
                    ),
                    "default": "batch",
                }
            },
            "hessian": {
                "compat": {
                    "type": "object",
                    "additionalProperties": False,
                    "description": "Switches that reproduce the published code.",
                    "properties": {
                        "divide_hessian_twice": {
                            "type": "boolean",
                            "description": "Divide the Hessian-vector product by the batch size once more.",
                            "default": False,
                        }
                    },
                }
            },
        },
    },
    "fidelity_task": {"keys": ["task"], "table": "fidelity_tasks"},
}

BLOCKS = {
    "cleansing": {
        "description": (
            "Data cleansing by SGD-influence: blocks of recorded trainings, each the product of its axes, "
            "from which samples are removed."
        ),
        "axes": {
            "datasets": {"description": "Dataset names."},
            "models": {"description": "Model names."},
            "glitches": {"description": "Glitch names."},
            "ratios": {"description": "Share of glitches, as in `grid`."},
            "seeds": {
                "description": (
                    "Trials; each seed drives subset, split, injection and the network's initial values."
                )
            },
            "protocols": {"description": "How the training is recorded.", "default": ["sgd"]},
            "cleansing_methods": {
                "description": "Methods that say which samples to remove first.",
                "default": [
                    "sgd_all",
                    "sgd_last",
                    "sgd_final",
                    "koh_liang",
                    "self_influence",
                    "cnci",
                    "random",
                ],
            },
            "removals": {
                "description": "Numbers of samples to remove; 0 is the recorded training itself.",
                "default": [0, 1, 10, 40, 100, 200, 600, 1000, 3000, 5000, 10000, 30000],
                "items": {"type": "integer", "minimum": 0},
            },
            "retrain": {
                "description": "Epochs that are trained again without the removed samples.",
                "default": ["last"],
                "items": {"enum": ["all", "last"]},
            },
        },
    },
    "fidelity": {
        "description": (
            "Estimated against true influence: small binary tasks, where every sample is left out of the "
            "training in turn."
        ),
        "axes": {
            "fidelity_tasks": {"description": "Task names."},
            "networks": {
                "description": "Networks with one output.",
                "items": {"enum": ["logistic_regression", "dnn"]},
            },
            "seeds": {"description": "Trials; each draws its own training, validation and test samples."},
        },
    },
}
