"""The machinery of the face detector `mtcnn`: facenet-pytorch's networks, driven in batches."""
