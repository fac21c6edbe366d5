"""How one run of a study is made: its steps, checkpoints, logs and processes."""
