"""What was measured, on one page and in one workbook."""
