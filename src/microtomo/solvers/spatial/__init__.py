"""What the solver `map` needs alone: levels, belief propagation, smooth fields."""
