"""Another model's features and coarse masks, one file a sentence: what a refiner is trained on (table 3)."""
