//! The hash that names a pod template.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Letters no word can be made of, as in generated names.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// The `pod-template-hash` of a template: FNV-1a over its JSON with sorted keys, and over the
/// number of collisions so far, so that a hash that is taken gives way to another.
///
/// It needs only be stable and rare to collide: an existing ReplicaSet is found by its template.
#[must_use]
pub fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    // Values sort their keys, so the hash does not depend on the order of a struct's fields. A
    // template was read from JSON, so it has a JSON form.
    let json = serde_json::to_value(template).unwrap_or_default().to_string();
    let mut bytes = json.into_bytes();
    if collisions > 0 {
        bytes.extend(collisions.to_le_bytes());
    }
    let hash = bytes
        .iter()
        .fold(FNV_OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME));
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit % 27)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_hash_is_stable_and_changes_with_the_template_and_with_collisions() {
        let template = |image: &str| -> PodTemplateSpec {
            serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "image": image}]}}))
                .unwrap()
        };
        let hash = template_hash(&template("a"), 0);
        assert_eq!(hash, template_hash(&template("a"), 0));
        assert_ne!(hash, template_hash(&template("b"), 0));
        assert_ne!(hash, template_hash(&template("a"), 1));
        assert!(hash.len() <= 10 && hash.bytes().all(|letter| LETTERS.contains(&letter)));
    }
}
