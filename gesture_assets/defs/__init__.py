"""What Dagster sees: assets, jobs, hooks, a schedule and sensors, made of the nights' steps."""
