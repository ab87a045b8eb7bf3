"""The kinds of component of this system, the settings they share, and its blocks."""

KINDS = {
    "learner": {"table": "learners"},
    "relabelling": {
        "table": "relabellings",
        "shared": {
            "threshold": {
                "alpha": {
                    "type": ["number", "null"],
                    "minimum": 0,
                    "description": (
                        "Threshold α of the influence, in the learner's units: Φ > α is harmful; null: the "
                        "one of `alphas` with the least validation loss after retraining."
                    ),
                    "default": None,
                },
                "alphas": {
                    "only_with": {"alpha": [None]},
                    "type": "array",
                    "minItems": 1,
                    "uniqueItems": True,
                    "items": {"type": "number", "minimum": 0},
                    "description": "Thresholds to choose from where `alpha` is null.",
                    "default": [0.01, 0.002, 0.0002],
                },
            },
            "subsample": {
                "ratio": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": 1,
                    "description": "Share of the samples to keep.",
                    "default": 0.95,
                }
            },
        },
    },
}

BLOCKS = {
    "rdia": {
        "description": (
            "RDIA, relabelling by influence, for logistic and softmax regression: blocks of cells; each block"
            " is the product of its axes."
        ),
        "axes": {
            "datasets": {"description": "Dataset names."},
            "learners": {"description": "Learner names.", "default": ["logistic"]},
            "glitches": {"description": "Glitch names."},
            "ratios": {
                "description": (
                    "Share of wrong labels, each a decimal fraction in (0, 1); `clean` for the glitch `none`."
                )
            },
            "seeds": {"description": "Run seeds; each drives split, noise and the random methods."},
            "relabellings": {
                "description": "Method names; a value of α is a variant such as `rdia@alpha_0_002`."
            },
        },
    }
}
