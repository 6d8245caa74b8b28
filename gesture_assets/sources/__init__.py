"""Where data comes from: landing files and the CRM. Each gives canonical frames and drops personal data."""
