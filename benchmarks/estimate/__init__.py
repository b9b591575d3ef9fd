"""The estimate, fitted to published latencies and held against those left out."""
