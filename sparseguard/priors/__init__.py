"""Generative models of images, and the search in their latents; they see images and labels, nothing else."""
