"""The kind of component of this room.

``default`` in a card: the policy is applied where nothing is said.  ``uses`` names the detectors that it asks.
"""

KINDS = {"policy": {"table": "policy_settings", "listed": "policies", "keys": ["policies"]}}
