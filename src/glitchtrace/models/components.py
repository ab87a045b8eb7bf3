"""The kind of component of this room, and the settings that all models, or all frozen backbones, have."""

KINDS = {
    "model": {
        "table": "models",
        "function": "build",
        "card": {
            "modalities": {"type": "array", "minItems": 1, "items": {"enum": ["image", "table", "sparse"]}},
            "view": {"enum": ["vector", "pictures", "tokens", "features"]},
            "memory_mib": {"type": "integer"},
            "loop": {"type": "object"},
            "trained": {"enum": ["head", "dense", "other"]},
            "trunk": {"type": "object"},
            "memorised": {"type": "object"},
        },
        "required": ["modalities", "view"],
        "settings": {
            "training": {
                "type": "object",
                "description": "Plain SGD; a row for a dataset overrides the default row.",
                "default": {"default": {"learning_rate": 0.1, "batch_size": 128, "epochs": 10}},
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "learning_rate": {
                            "type": "number",
                            "exclusiveMinimum": 0,
                            "description": "Constant learning rate.",
                        },
                        "batch_size": {
                            "type": "integer",
                            "minimum": 1,
                            "description": "Samples per step. Lower it when memory runs out.",
                        },
                        "epochs": {
                            "type": "integer",
                            "minimum": 1,
                            "description": "Passes over the training data, with a checkpoint after each.",
                        },
                    },
                },
            }
        },
        "shared": {
            "frozen": {
                "weights": {
                    "type": "string",
                    "description": (
                        "Weights of the backbone: pretrained (ImageNet, downloaded where absent), the path of"
                        " a .safetensors or .pth file, or random."
                    ),
                    "default": "pretrained",
                },
                "preprocessing": {
                    "enum": ["published", "own"],
                    "description": (
                        "published: scaled to [−1, 1] and resized bilinearly to the network's size, larger "
                        "pictures keeping theirs where the network can take it; own: as the weights were "
                        "trained (resize, central crop, mean and deviation)."
                    ),
                    "default": "published",
                },
                "side": {
                    "type": ["integer", "null"],
                    "minimum": 8,
                    "description": (
                        "Pixels that every picture is resized to; null takes the network's own size, larger "
                        "pictures keeping theirs where the network can take them. Fewer are faster."
                    ),
                    "default": None,
                },
                "precision": {
                    "enum": ["float32", "bfloat16"],
                    "description": (
                        "Arithmetic of the extraction. bfloat16 is inexact: its deviation is measured and "
                        "recorded with the features."
                    ),
                    "default": "float32",
                },
                "batch": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Pictures per pass through the backbone; on a CPU more is hardly faster.",
                    "default": 16,
                },
                "shards": {
                    "type": "integer",
                    "minimum": 1,
                    "description": (
                        "Files that the features of one dataset are spread over; as many jobs extract at the "
                        "same time."
                    ),
                    "default": 16,
                },
                "head_seed": {
                    "type": "integer",
                    "minimum": 0,
                    "description": (
                        "Seed of the head's initial values (with random weights, also of the backbone's), the"
                        " same in all runs."
                    ),
                    "default": 42,
                },
            },
            "seeded": {
                "head_seed": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Seed of all initial values, the same in all runs.",
                    "default": 42,
                },
            },
            "lite": {
                "interpolation": {
                    "only_with": {"preprocessing": ["published"]},
                    "enum": ["bicubic", "bilinear"],
                    "description": "How `published` resizes; weights were trained with bicubic.",
                    "default": "bicubic",
                },
                "representations": {
                    "type": "array",
                    "items": {"enum": ["penultimate", "stage5"]},
                    "minItems": 1,
                    "uniqueItems": True,
                    "contains": {"const": "penultimate"},
                    "description": (
                        "Features to keep: penultimate, on which the head is trained, and stage5, averaged over "
                        "the picture."
                    ),
                    "default": ["penultimate"],
                },
            },
        },
    }
}
