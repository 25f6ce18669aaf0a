"""The kinds of heat maps, one file each; see `faceauth.explanations.heatmap` for what a file returns."""
