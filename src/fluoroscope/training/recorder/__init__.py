"""How a training is recorded: what is read of parameters, gradients and activations at each step."""
