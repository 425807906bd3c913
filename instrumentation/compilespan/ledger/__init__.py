"""What a process compiled: records, their totals, and those who follow them."""
