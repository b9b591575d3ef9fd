"""Many networks, each converted to FP16 and INT8 and held against its parent; the results are docs/corpus.md."""
