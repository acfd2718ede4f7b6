//! The key that signs tokens of ServiceAccounts, in a file.
//! <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#token-controller>

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData as _};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde_json::{Value, json};

use super::{ServeError, files};
use crate::auth::{SignError, TokenSigner};

/// How the key signs: ECDSA over P-256 with SHA-256.
const ALGORITHM: &str = "ES256";
/// Bytes of a coordinate of the curve.
const COORDINATE: usize = 32;

/// A key on the curve P-256.
pub struct ServiceAccountKey {
    key: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl fmt::Debug for ServiceAccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccountKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ServiceAccountKey {
    /// Takes the key out of `sa.key` in `directory`, or makes one there. It never leaves the
    /// directory, which is its owner's alone.
    ///
    /// # Errors
    /// If the directory cannot be used, or the file holds no such key.
    pub fn open(directory: &Path) -> Result<Self, ServeError> {
        files::private_dir(directory)?;
        let path = directory.join("sa.key");
        let what = path.display().to_string();
        if let Some(pem) = files::read(&path)? {
            return Self::from_pem(&pem, &what);
        }
        let pem = generate(&what)?;
        files::write_private(&path, &pem)?;
        Self::from_pem(&pem, &what)
    }

    /// A key that lives in memory alone.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn ephemeral() -> Result<Self, ServeError> {
        let what = "key of service accounts";
        Self::from_pem(&generate(what)?, what)
    }

    /// PKCS #8, as [`open`](Self::open) writes it.
    fn from_pem(pem: &str, what: &str) -> Result<Self, ServeError> {
        let bad = |why: String| ServeError::Certificate { what: what.to_owned(), why };
        let pair = KeyPair::from_pem(pem).map_err(|error| bad(error.to_string()))?;
        let id = ring::digest::digest(&ring::digest::SHA256, &pair.subject_public_key_info());
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pair.serialized_der(), &random)
            .map_err(|_| bad("it is no key on the curve P-256".to_owned()))?;
        Ok(Self { key, random, id: URL_SAFE_NO_PAD.encode(id) })
    }
}

fn generate(what: &str) -> Result<String, ServeError> {
    let pair = KeyPair::generate().map_err(|error| ServeError::Certificate {
        what: what.to_owned(),
        why: error.to_string(),
    })?;
    Ok(pair.serialize_pem())
}

impl TokenSigner for ServiceAccountKey {
    fn key_id(&self) -> &str {
        &self.id
    }

    fn algorithm(&self) -> &'static str {
        ALGORITHM
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.key.sign(&self.random, message);
        let signature = signature.map_err(|_| SignError("the key does not sign".to_owned()))?;
        Ok(signature.as_ref().to_vec())
    }

    fn verify(&self, key_id: &str, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key());
        key_id == self.id && algorithm == ALGORITHM && key.verify(message, signature).is_ok()
    }

    fn keys(&self) -> Vec<Value> {
        // An uncompressed point: a byte that says so, and both coordinates.
        let point = self.key.public_key().as_ref();
        let coordinate = |at: usize| {
            let from = 1 + at * COORDINATE;
            URL_SAFE_NO_PAD.encode(point.get(from..from + COORDINATE).unwrap_or_default())
        };
        vec![json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": ALGORITHM,
            "x": coordinate(0), "y": coordinate(1)})]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = ServiceAccountKey::open(dir.path()).unwrap();
        let second = ServiceAccountKey::open(dir.path()).unwrap();
        let signature = first.sign(b"message").unwrap();
        assert!(second.verify(first.key_id(), "ES256", b"message", &signature));
        assert_eq!(first.keys(), second.keys());
        let file = dir.path().join("sa.key");
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
        assert_eq!(mode & 0o777, 0o600, "X8");
        let secret = std::fs::read_to_string(&file).unwrap();
        let secret = secret.lines().nth(1).unwrap();
        assert!(!format!("{first:?}{:?}", first.keys()).contains(secret), "X8");
        std::fs::write(&file, "nothing").unwrap();
        let error = ServiceAccountKey::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("sa.key"), "{error}");
    }

    #[test]
    fn nothing_else_passes_for_a_signature_x5() {
        let (key, other) =
            (ServiceAccountKey::ephemeral().unwrap(), ServiceAccountKey::ephemeral().unwrap());
        let signature = key.sign(b"message").unwrap();
        let check = |id: &str, algorithm: &str, message: &[u8], signature: &[u8]| {
            key.verify(id, algorithm, message, signature)
        };
        let id = key.key_id();
        assert!(check(id, "ES256", b"message", &signature));
        assert!(!check(other.key_id(), "ES256", b"message", &signature));
        assert!(!check(id, "none", b"message", &signature));
        assert!(!check(id, "HS256", b"message", &signature));
        assert!(!check(id, "ES256", b"massage", &signature));
        assert!(!check(id, "ES256", b"message", &other.sign(b"message").unwrap()));
        assert!(!check(id, "ES256", b"message", b""));
    }

    #[test]
    fn the_public_key_is_a_jwk_that_verifies() {
        let key = ServiceAccountKey::ephemeral().unwrap();
        let jwk = &key.keys()[0];
        let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        let point = [vec![4], part("x"), part("y")].concat();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        public.verify(b"message", &key.sign(b"message").unwrap()).unwrap();
        assert_eq!((&jwk["kid"], &jwk["crv"]), (&json!(key.key_id()), &json!("P-256")));
    }
}
