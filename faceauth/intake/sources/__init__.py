"""Where images come from: addresses, folders, layouts of data sets, videos, URLs."""
