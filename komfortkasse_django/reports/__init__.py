"""How things stand, in words for people."""
