"""The kind of component of this room.

``default`` in a card: the policy is applied where nothing is said.  ``uses`` names the detectors that it asks.
"""

KINDS = {
    "policy": {
        "table": "policy_settings",
        "listed": "policies",
        "keys": ["policies"],
        "function": "propose",
        "card": {"default": {"type": "boolean"}, "reveals_truth": {"type": "boolean"}},
        "shared": {
            "flagging": {
                "detector": {"type": "string", "description": "Who flags.", "default": "one_minus_p"},
                "number": {
                    "enum": ["known", "estimated", "share"],
                    "description": "How many are flagged.",
                    "default": "known",
                },
                "counter": {
                    "only_with": {"number": ["estimated"]},
                    "type": "string",
                    "description": "Who estimates the number.",
                    "default": "loss_mixture",
                },
                "share": {
                    "only_with": {"number": ["share"]},
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "exclusiveMaximum": 1,
                    "description": "The flagged share.",
                    "default": 0.1,
                },
            }
        },
    }
}
