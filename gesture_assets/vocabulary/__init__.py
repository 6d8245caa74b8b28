"""Words that everything may use and that use nothing: event types, devices, feature names, severity, patterns, SQL."""
