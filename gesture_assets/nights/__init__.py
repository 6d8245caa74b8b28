"""What a night does, step by step, as plain functions: what to read, which function to call, what to commit."""
