"""Who goes where: balanced choice, groups that stay together, and the audit of what leaks."""
