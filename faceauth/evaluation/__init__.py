"""What the scores of one split say: the document, its files and its figures."""
