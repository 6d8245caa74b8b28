"""Pings (short videos): what people do with them, what to show to whom, and whether the lists are any good."""
