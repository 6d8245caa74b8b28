"""Short videos ("pings"): who watched what, what it is worth, what to show next."""
