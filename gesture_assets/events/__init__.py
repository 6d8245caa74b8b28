"""From landed rows to what people did: accepted events, visits, and daily activity."""
