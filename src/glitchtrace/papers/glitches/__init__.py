"""Published numbers and statements beside ours, with a verdict."""
