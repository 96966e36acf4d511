"""What scripts/fuzz does: odd words and damaged bytes, and how the runner answers to them."""
