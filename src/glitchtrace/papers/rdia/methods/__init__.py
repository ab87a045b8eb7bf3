"""What to do with samples of harmful influence, by name: RDIA and what it is compared with."""
