"""How a training is recorded, one module per published protocol."""
