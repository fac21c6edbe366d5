import torch

# The tests' matrices are small: more threads would wait for each other, and for other workers of the tests.
torch.set_num_threads(1)
