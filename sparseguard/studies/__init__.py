"""What notebooks measure beside cells: clusters, costs, priors, growing data, the sparse layer, one image's way."""
