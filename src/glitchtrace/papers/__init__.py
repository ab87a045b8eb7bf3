"""Published systems, each a vertical slice that uses the product; nothing of the product imports them."""
