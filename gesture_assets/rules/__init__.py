"""Rule sets and what they make of features: scores, their parts, their reasons, the ranked list."""
