"""The kind of component of this system, the settings its methods share, and its blocks."""

KINDS = {
    "selection": {
        "table": "selections",
        "settings": {
            "epochs": {
                "type": "integer",
                "minimum": 2,
                "description": "Epochs, of which the first, 0, is the evaluation of the untrained network.",
                "default": 200,
            },
            "batch_size": {
                "type": "integer",
                "minimum": 2,
                "description": "Samples per step; the last, incomplete batch of an epoch is left out.",
                "default": 128,
            },
            "learning_rate": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "Learning rate of Adam before it falls.",
                "default": 0.001,
            },
            "decay_start": {
                "type": "integer",
                "minimum": 0,
                "description": (
                    "Epoch from which the learning rate falls linearly towards 0 and β₁ of Adam is "
                    "`late_beta1`."
                ),
                "default": 80,
            },
            "late_beta1": {
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "description": "β₁ of Adam from `decay_start` on; 0.9 before.",
                "default": 0.1,
            },
            "weight_decay": {
                "type": "number",
                "minimum": 0,
                "description": "Weight decay, as a part of the gradient.",
                "default": 0.0,
            },
            "forget_rate": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": 1,
                "description": (
                    "Share of a batch that is not kept after the ramp; null takes the ratio of the glitch."
                ),
                "default": None,
            },
            "gradual_epochs": {
                "type": "integer",
                "minimum": 1,
                "description": "Epochs of the linear ramp of the forget rate from 0.",
                "default": 10,
            },
        },
    }
}

BLOCKS = {
    "rdia_ls": {
        "description": (
            "RDIA-LS, relabelling by the loss inside a batch, and what it is compared with: blocks of cells; "
            "each block is the product of its axes."
        ),
        "axes": {
            "datasets": {"description": "Dataset names."},
            "models": {"description": "Model names."},
            "glitches": {"description": "Glitch names."},
            "ratios": {
                "description": (
                    "Share of wrong labels, each a decimal fraction in (0, 1); `clean` for the glitch `none`."
                )
            },
            "seeds": {
                "description": "Run seeds; each drives split, initial values and the order of the samples."
            },
            "selections": {"description": "Method names."},
        },
    }
}
