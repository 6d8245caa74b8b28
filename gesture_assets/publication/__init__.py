"""The file for everybody else: copied, commented, verified, flipped in."""
