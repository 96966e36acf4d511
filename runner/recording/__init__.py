"""What a run leaves behind: its directory, its logs, TensorBoard, the terminal."""
