"""What happens to pictures on their way: one list, for augmentation and for robustness."""
