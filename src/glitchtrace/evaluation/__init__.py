"""How well glitches are found, told apart and repaired, and what the numbers of many seeds say together."""
