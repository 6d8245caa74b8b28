"""What is noted beside the tables, and who is told: activations, alerts, the audit log, replays, MLflow's runs."""
