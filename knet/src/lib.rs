//! The service router: service tables, programmers, traffic policies.
