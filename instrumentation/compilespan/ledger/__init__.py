"""Records of what a process compiled, their totals, and the followers that receive them."""
