"""Monitoring: drift, performance, the decision to retrain, why scores moved, alerts that people believe."""
