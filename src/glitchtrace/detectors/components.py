"""The kinds of component of this room.

Keys of a detector's card beside those of every card: ``label``, its short name in figures; ``needs``, the pieces of
``evidence.Evidence`` that it reads; ``finds``, what it is made for: ``label`` (wrong labels), ``anomaly`` or ``both``;
``family``, beside whom it stands in figures; ``default``, whether it is scored where nothing is said; ``reads``,
settings of the estimator that it takes besides its own; ``views``, ``all`` where it reads every representation at hand.
A detector that shares ``representation`` is given one of them, as its only one.  A counter estimates how many labels
are wrong.
"""

KINDS = {
    "detector": {
        "table": "detector_settings",
        "listed": "detectors",
        "keys": ["detectors", "signal", "signals"],
        "function": "detect",
        "card": {
            "needs": {
                "type": "array",
                "items": {
                    "enum": [
                        "probabilities",
                        "epochs",
                        "features",
                        "out_of_fold",
                        "validation",
                        "profile",
                        "pictures",
                    ]
                },
            },
            "finds": {"enum": ["label", "anomaly", "both"]},
            "family": {"type": "string"},
            "default": {"type": "boolean"},
            "reads": {"type": "array", "items": {"type": "string"}},
            "views": {"enum": ["all"]},
        },
        "required": ["label", "needs"],
        "shared": {
            "neighbours": {
                "neighbours": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Neighbours that count.",
                    "default": 10,
                }
            },
            "representation": {
                "representation": {
                    "type": ["string", "null"],
                    "description": "Features to use; null: what the head sees.",
                    "default": None,
                }
            },
            "promise": {
                "max_false": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "exclusiveMaximum": 1,
                    "description": "Share of its flags that may be false.",
                    "default": 0.1,
                }
            },
            "damping": {
                "damping": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "description": "λ of the Hessian over its mean diagonal entry.",
                    "default": 0.01,
                }
            },
        },
    },
    "counter": {"listed": "counters", "keys": ["counters"]},
}
