"""The interactive protocol: samples arrive one by one and the model is fitted again after each."""

KIND = "loop"
CARD = {
    "summary": "Samples arrive one by one; the model is fitted again, from its initial weights, after each.",
    "label": "interactive",
    "settings": {
        "split": {
            "enum": ["official", "pooled"],
            "description": "Training and test part: the official ones where the source has them (`official`), or all "
            "its rows divided anew, 20 % for testing (`pooled`), as every source without official parts.",
            "default": "official",
        },
        "known": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Samples known at the start: a number above 1, or a share of the training part up to 1.",
            "default": 100,
        },
        "iterations": {
            "type": "integer",
            "minimum": 1,
            "description": "Samples that arrive.",
            "default": 100,
        },
        "questions": {
            "type": ["integer", "null"],
            "minimum": 1,
            "description": "The run ends when this many questions have been answered; null for the whole stream.",
            "default": None,
        },
        "tolerance": {
            "type": "number",
            "minimum": 0,
            "description": "A warning says so where the number of wrong labels among known and arriving samples is "
            "further than this from the expected one; no number depends on it.",
            "default": 10,
        },
        "epochs": {
            "type": "integer",
            "minimum": 1,
            "description": "Epochs of each fit.",
            "default": 10,
        },
        "train_batch_size": {
            "type": "integer",
            "minimum": 1,
            "description": "Samples per training step.",
            "default": 32,
        },
        "prediction_batch": {
            "type": "integer",
            "minimum": 1,
            "description": "Samples per forward pass in prediction; no number depends on it.",
            "default": 1024,
        },
        "learning_rate": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Step size of Adam.",
            "default": 0.001,
        },
        "bits": {
            "enum": [32, 64],
            "description": "Precision of weights and training; the algebra of scores is in 64 bits always.",
            "default": 32,
        },
        "early_stop": {
            "type": "boolean",
            "description": "End a fit at the training accuracy of the paper: 0.7 for regressions, 0.9 for networks.",
            "default": False,
        },
        "warm_start": {
            "type": "boolean",
            "description": "Go on from the last weights, with the optimiser's state, instead of from the initial ones.",
            "default": False,
        },
        "precision": {
            "type": "boolean",
            "description": "Measure how many of the first candidates are wrong: arriving samples have true labels and "
            "the model is fitted once.",
            "default": False,
        },
        "asks": {
            "type": "boolean",
            "description": "Whether suspicious samples are asked about; without, scores are collected and a "
            "threshold is found from them.",
            "default": True,
        },
        "correct_counter_examples": {
            "type": "boolean",
            "description": "With `precision`, correct wrong counter-examples that are shown, as published; later "
            "questions then find fewer.",
            "default": True,
        },
    },
}
