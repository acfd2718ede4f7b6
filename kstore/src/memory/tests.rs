//! What only a memory store promises.
