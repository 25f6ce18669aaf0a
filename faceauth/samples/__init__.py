"""The embedded sample set: simulated portraits, a simulated camera and simulated generators."""
