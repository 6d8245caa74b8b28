"""What people look at: pages of one HTML file that needs nothing else, and the pictures in it and in the Dagster UI."""
