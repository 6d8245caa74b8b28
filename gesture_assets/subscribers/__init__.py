"""Who people are: the CRM's records as of a day."""
