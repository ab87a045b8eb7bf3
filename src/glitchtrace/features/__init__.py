"""Features of frozen backbones: each picture passes once, whatever grid asks for it."""
