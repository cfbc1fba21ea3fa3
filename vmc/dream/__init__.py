"""The dream: M stepped by itself as a batch."""
