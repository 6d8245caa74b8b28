"""Where data comes from: landing files, the CRM, the demo world. Each gives canonical frames and drops personal data."""
