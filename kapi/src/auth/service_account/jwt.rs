//! JSON Web Tokens in their compact form.
//! <https://datatracker.ietf.org/doc/html/rfc7515#section-7.1>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Claims, SignError, TokenSigner};

/// The longest token that is looked at, in bytes; it comes in a header of a request.
const MAX_TOKEN: usize = 16 << 10;

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
}

/// A token out of claims.
pub(super) fn encode(claims: &Claims, signer: &dyn TokenSigner) -> Result<String, SignError> {
    let header = Header { alg: signer.algorithm(), kid: signer.key_id() };
    let json = |value: serde_json::Result<Vec<u8>>| {
        value.map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|error| SignError(error.to_string()))
    };
    let (header, claims) = (json(serde_json::to_vec(&header))?, json(serde_json::to_vec(claims))?);
    let mut token = format!("{header}.{claims}");
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// What a token says, if it is signed.
pub(super) fn decode(token: &str, signer: &dyn TokenSigner) -> Result<Claims, &'static str> {
    const DAMAGED: &str = "the token is damaged";
    if token.len() > MAX_TOKEN {
        return Err("the token is too long");
    }
    let (message, signature) = token.rsplit_once('.').ok_or(DAMAGED)?;
    let (header, claims) = message.split_once('.').ok_or(DAMAGED)?;
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| DAMAGED);
    let (header, signature) = (bytes(header)?, bytes(signature)?);
    let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| DAMAGED)?;
    if !signer.verify(header.kid, header.alg, message.as_bytes(), &signature) {
        return Err("the token is not signed by a key of this issuer");
    }
    serde_json::from_slice(&bytes(claims)?).map_err(|_| DAMAGED)
}

/// Who a token says issued it, before anybody believes it.
pub(super) fn issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    if token.len() > MAX_TOKEN {
        return None;
    }
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice::<Issuer>(&claims).ok().map(|claims| claims.iss)
}
