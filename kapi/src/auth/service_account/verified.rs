//! Tokens whose signatures were verified: that takes longer than many a request.

use std::sync::Arc;

use kcore::collections::HashMap;
use parking_lot::Mutex;

use super::{Claims, ServiceAccountTokens};

/// Tokens that are remembered; then all are forgotten at once.
const MAX_REMEMBERED: usize = 4_096;

/// What verified tokens say. Nothing else of them is remembered: their time, their audience and
/// what they are bound to are judged each time.
#[derive(Default)]
pub(crate) struct Verified(Mutex<HashMap<Box<str>, Arc<Claims>>>);

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Tokens are secrets (X8).
        f.write_str("Verified")
    }
}

impl Verified {
    /// What a token says, if it is signed.
    pub(crate) fn read(
        &self,
        tokens: &ServiceAccountTokens,
        token: &str,
    ) -> Result<Arc<Claims>, &'static str> {
        if let Some(claims) = self.0.lock().get(token) {
            return Ok(Arc::clone(claims));
        }
        let claims = Arc::new(tokens.read(token)?);
        let mut known = self.0.lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(token.into(), Arc::clone(&claims));
        Ok(claims)
    }
}
