"""Stands in for what Colab's runtime offers to notebooks, as far as the notebooks and the package use it."""
