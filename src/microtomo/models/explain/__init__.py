"""What a network looks at: its kernels, activations, attributions, receptive field and feature space."""
