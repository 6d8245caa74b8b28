"""What people and commands write: activations, alerts, the audit log, replays."""
