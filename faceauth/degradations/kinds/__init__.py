"""The degradations, each a decorated function in the file of its kind."""
