"""The formats of `faceauth export`, one file each; see `faceauth.exports.export`."""
