//! Addresses, exactly.
