"""Synthetic worlds that take the same path as real data."""
