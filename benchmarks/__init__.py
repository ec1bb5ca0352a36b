"""The asv suite: one file a question; `numrnn bench` asks the same libraries side by side."""
