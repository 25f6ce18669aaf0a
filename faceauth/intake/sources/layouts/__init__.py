"""Known layouts of data sets, one file each."""
