"""Patches of somebody else's library, one module each: why, since which version, the upstream issue, when it goes."""
