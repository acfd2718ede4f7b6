//! The reconciler and the stock Kubernetes controllers.
