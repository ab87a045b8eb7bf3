"""Plain SGD on augmented samples; the published recordings are variants of it, ``sgd@h19`` and ``sgd@s21``.

Learning rate, batch size and epochs are those of the model on the dataset; initial values, subset, split and
glitches follow the trial's seed.  Source: docs/methods/sgd-influence.md#recorded-training.
"""

KIND = "protocol"
CARD = {
    "name": "sgd",
    "summary": "Plain SGD, recorded: order, rates, augmentation seeds and the parameters before each step.",
    "settings": {
        "split": {
            "enum": ["even", "slice"],
            "description": "Batches of an epoch: of `even` sizes, or `slice`s of the batch size and a last one "
            "with what is left.",
            "default": "even",
        },
        "padding": {
            "type": "integer",
            "minimum": 0,
            "description": "Random crops of pictures after padding so many black pixels on each side.",
            "default": 0,
        },
        "flip": {
            "type": "boolean",
            "description": "Flip pictures left and right by chance.",
            "default": False,
        },
        "side": {
            "type": ["integer", "null"],
            "minimum": 8,
            "description": "Resize pictures to this side; null keeps that of the dataset.",
            "default": None,
        },
        "learning_rate_decay": {
            "type": "boolean",
            "description": "Divide the rate of step t by √(t+1), t counted over the whole training.",
            "default": False,
        },
        "l2": {
            "type": "number",
            "minimum": 0,
            "description": "Strength α of the term (α/2)·‖θ‖² in the loss of each sample.",
            "default": 0.0,
        },
        "batch_order": {
            "enum": ["epoch", "trial"],
            "description": "What seeds the order of the samples: the trial and the epoch, or, as published, the epoch "
            "alone, which puts wrong labels drawn with seed e together in epoch e.",
            "default": "trial",
        },
        "snapshots": {
            "enum": ["all", "last", "none"],
            "description": "Steps whose parameters are kept: those of all epochs, of the last one, or none, "
            "which leaves the methods with final parameters.",
            "default": "all",
        },
    },
}
