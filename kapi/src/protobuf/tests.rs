//! What comes out of envelopes: as Go clients write it in JSON, and errors for the rest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

const SAMPLES: &str = include_str!("samples.txt");

fn samples() -> impl Iterator<Item = (Vec<u8>, Value)> {
    let lines = SAMPLES.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (body, object) = line.split_once(' ').unwrap();
        (STANDARD.decode(body).unwrap(), serde_json::from_str(object).unwrap())
    })
}

fn decoded(body: &[u8]) -> Result<Option<Value>, ProtobufError> {
    let json = to_json(body)?;
    Ok(json.map(|json| serde_json::from_slice(&json).unwrap()))
}

/// A field that holds bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let of = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC, &field(1, &of), &field(2, raw)].concat()
}

#[test]
fn objects_come_out_as_go_clients_write_them_in_json() {
    assert!(samples().count() >= 14);
    for (body, mut object) in samples() {
        // A list that there is not: null in their JSON, nothing in protobuf.
        if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
            status.retain(|_, member| !member.is_null());
        }
        assert_eq!(decoded(&body).unwrap().unwrap(), object, "A8");
    }
}

#[test]
fn options_of_a_deletion_are_of_any_group() {
    let body = envelope("apps/v1", "DeleteOptions", &[1 << 3, 0]);
    let object = json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
    assert_eq!(decoded(&body).unwrap().unwrap(), object);
}

#[test]
fn a_kind_of_no_built_in_group_is_not_understood() {
    assert_eq!(to_json(&envelope("example.com/v1", "Gadget", &[])), Ok(None));
    assert_eq!(to_json(b"{}"), Err(ProtobufError::NoEnvelope));
}

#[test]
fn what_cannot_be_read_is_told_with_its_field() {
    // spec.containers.name, which is no text.
    let container = field(1, b"\xff");
    let body = envelope("v1", "Pod", &field(2, &field(2, &container)));
    let error = to_json(&body).unwrap_err();
    assert_eq!(
        error.to_string(),
        "protobuf body cannot be decoded: Pod.spec.containers.name: the text is not UTF-8"
    );
    let error = to_json(b"k8s\0\x0a\x7f").unwrap_err();
    assert!(error.to_string().contains("envelope: the message ends in the middle"), "{error}");
}

#[test]
fn no_sample_that_was_cut_or_changed_does_any_harm() {
    for (body, _) in samples() {
        for at in 0..body.len() {
            let _ = to_json(&body[..at]);
            for bit in 0..8 {
                let mut changed = body.clone();
                changed[at] ^= 1 << bit;
                let _ = to_json(&changed);
            }
        }
    }
}
