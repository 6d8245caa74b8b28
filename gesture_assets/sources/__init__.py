"""Where data comes from: landing files, CRM, demo world. Each gives canonical frames and drops personal data."""
