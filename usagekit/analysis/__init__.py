"""What a month of usage says: pure functions from frames to frames and values."""
