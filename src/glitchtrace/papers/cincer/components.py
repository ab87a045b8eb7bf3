"""The kinds of component of this system, the settings they share, and its blocks."""

KINDS = {
    "loop": {"table": "loops"},
    "noise": {"table": "noises"},
    "inspector": {"table": "inspectors"},
    "negotiator": {
        "table": "negotiators",
        "shared": {
            "sign": {
                "sign": {
                    "enum": ["published", "contrastive"],
                    "description": (
                        "Sign of the score: as published, or as the definition of a contrastive counter-"
                        "example demands (the opposite)."
                    ),
                    "default": "published",
                }
            },
            "fisher": {
                "damping": {
                    "type": "number",
                    "minimum": 0,
                    "description": "λ added to the matrix; 0 takes the pseudo-inverse.",
                    "default": 0.0,
                },
                "cutoff": {
                    "only_with": {"damping": [0]},
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": 1,
                    "description": (
                        "Share of the largest eigenvalue below which the pseudo-inverse drops one."
                    ),
                    "default": 1e-10,
                },
                "sample": {
                    "type": ["integer", "null"],
                    "minimum": 1,
                    "description": (
                        "Known samples, drawn anew per question, that the Fisher matrix is made of; null "
                        "takes all."
                    ),
                    "default": 30,
                },
            },
            "influence": {
                "solver": {
                    "enum": ["lissa", "cg", "exact"],
                    "description": (
                        "How H⁻¹ is applied: LiSSA as published, conjugate gradients, or the whole matrix."
                    ),
                    "default": "lissa",
                },
                "damping": {
                    "type": "number",
                    "minimum": 0,
                    "description": "λ added to the Hessian.",
                    "default": 0.0,
                },
                "depth": {
                    "only_with": {"solver": ["lissa"]},
                    "type": "integer",
                    "minimum": 1,
                    "description": "Steps of one LiSSA run.",
                    "default": 1000,
                },
                "samples": {
                    "only_with": {"solver": ["lissa"]},
                    "type": "integer",
                    "minimum": 1,
                    "description": "Independent LiSSA runs, averaged.",
                    "default": 1,
                },
                "draws": {
                    "only_with": {"solver": ["lissa"]},
                    "enum": ["known", "all"],
                    "description": (
                        "What LiSSA draws from: the known samples, or, as published, all training samples."
                    ),
                    "default": "known",
                },
            },
        },
    },
}

BLOCKS = {
    "cincer": {
        "description": (
            "Interactive cleaning with counter-examples: blocks of runs; each block is the product of its "
            "axes and holds legal combinations only."
        ),
        "axes": {
            "datasets": {"description": "Dataset names, without variants; the loop has a split of its own."},
            "models": {"description": "Names of models that can be fitted in the loop."},
            "loops": {"description": "Sizes and training of the runs.", "default": ["interactive"]},
            "noises": {"description": "Kinds of label noise.", "default": ["random"]},
            "ratios": {
                "description": (
                    "Share of wrong labels, each a decimal fraction in (0, 1), or `clean` for none."
                )
            },
            "inspectors": {"description": "What makes an arriving sample suspicious."},
            "thresholds": {
                "description": (
                    "The score of the inspector above which a sample is suspicious; 0 for inspectors that use"
                    " none."
                ),
                "default": [0],
            },
            "negotiators": {"description": "How the counter-example is chosen."},
            "seeds": {
                "description": "Run seeds; each drives noise, known samples and stream of all repeats.",
                "default": [1],
            },
        },
        "settings": {
            "repeats": {
                "type": "integer",
                "minimum": 1,
                "description": "Repeats of each run, with noise, known samples and stream of their own.",
                "default": 10,
            }
        },
    },
    "cincer_influence": {
        "description": (
            "Scores of counter-examples beside the true effect of leaving a sample out: blocks, each the "
            "product of its axes."
        ),
        "axes": {
            "datasets": {"description": "Dataset names, without variants; the loop has a split of its own."},
            "models": {"description": "Names of models that can be fitted in the loop."},
            "loops": {"description": "Number of known samples and training.", "default": ["interactive"]},
            "noises": {"description": "Kinds of label noise.", "default": ["random"]},
            "ratios": {
                "description": (
                    "Share of wrong labels, each a decimal fraction in (0, 1), or `clean` for none."
                )
            },
            "refits": {
                "description": (
                    "How the model is fitted, with a sample and without it: trained as in the loop, or, for "
                    "logreg, the minimum of the mean loss and ½‖θ‖²."
                ),
                "default": ["training"],
                "items": {"enum": ["training", "optimum"]},
            },
            "negotiators": {"description": "What scores the samples."},
            "seeds": {
                "description": "Run seeds; each drives noise and known samples of all repeats.",
                "default": [1],
            },
        },
        "settings": {
            "repeats": {
                "type": "integer",
                "minimum": 1,
                "description": "Repeats of each run, with noise and known samples of their own.",
                "default": 10,
            }
        },
    },
}
