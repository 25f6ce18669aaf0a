"""What is decided on val before the test split is looked at: threshold, calibration, unsure band."""
