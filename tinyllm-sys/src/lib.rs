//! Raw CUDA driver calls, checked: one typed Result each.
