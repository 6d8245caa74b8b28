"""What a table promises: the classes of a contract, the expectations that all share, the catalogue of all tables."""
