//! Revisions and bytes: the Store seam, its conformance suite and reference backends.
