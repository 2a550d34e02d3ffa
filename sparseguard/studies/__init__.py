"""What notebooks measure beside cells: clusters of features, costs, the sparse layer itself, one image's way."""
