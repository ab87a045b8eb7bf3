"""A person in the loop: sessions that can be stopped and resumed, in the terminal and as a local page."""
