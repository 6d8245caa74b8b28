"""Monitoring: drift, event mix, performance, the nights' health, when to retrain, why scores moved, and alerts."""
