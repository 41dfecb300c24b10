//! Forged tokens.

use k8s_openapi::ByteString;
use rcgen::{KeyPair, SigningKey};
use serde_json::{Value, json};

/// Changes the claims of a token, and signs it with this key.
pub fn re_signed(token: &str, key: &KeyPair, change: impl FnOnce(&mut Value)) -> String {
    let mut parts = token.split('.');
    let (head, claims) = (parts.next().unwrap(), parts.next().unwrap());
    let mut claims: Value = serde_json::from_slice(&decoded(claims)).unwrap();
    change(&mut claims);
    let signed = format!("{head}.{}", encoded(claims.to_string().into_bytes()));
    let signature = key.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", encoded(fixed(&signature)))
}

/// ECDSA's two numbers side by side, as JSON Web Signatures have them, from ASN.1.
fn fixed(signature: &[u8]) -> Vec<u8> {
    let mut rest = &signature[2..];
    let mut fixed = Vec::with_capacity(64);
    while let [2, length, tail @ ..] = rest {
        let (number, tail) = tail.split_at(usize::from(*length));
        let number = &number[number.len().saturating_sub(32)..];
        fixed.extend(std::iter::repeat_n(0, 32 - number.len()));
        fixed.extend_from_slice(number);
        rest = tail;
    }
    fixed
}

fn encoded(bytes: Vec<u8>) -> String {
    let text = json!(ByteString(bytes)).as_str().unwrap().to_owned();
    let text = text.replace('+', "-").replace('/', "_");
    text.trim_end_matches('=').to_owned()
}

fn decoded(text: &str) -> Vec<u8> {
    let padding = "=".repeat((4 - text.len() % 4) % 4);
    let text = text.replace('-', "+").replace('_', "/") + &padding;
    serde_json::from_value::<ByteString>(json!(text)).unwrap().0
}
