//! The schemas of every type that is served, as OpenAPI v3 has them.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, Patch, Status};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::registry::{Registry, Verbs};
use crate::schema::{self, Facts};

/// Where schemas are within a document, for whoever refers to them.
const SCHEMAS: &str = "#/components/schemas/";
const GVK: &str = "x-kubernetes-group-version-kind";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an \
                           object.";
const KIND: &str = "Kind is a string value representing the REST resource this object represents.";

/// A reference to the schema of a type.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("{SCHEMAS}{name}")})
}

/// The schema names that requests and replies of every kind share.
pub(super) fn name_of<T: JsonSchema>() -> String {
    T::schema_name().into_owned()
}

/// The schemas of all types of a registry, by name.
pub(super) struct Everything(BTreeMap<String, Value>);

impl Everything {
    pub(super) fn of(registry: &Registry) -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        let mut generator = settings.into_generator();
        for row in registry.rows() {
            row.schema.add(&mut generator);
        }
        let _ = generator.subschema_for::<Status>();
        let _ = generator.subschema_for::<DeleteOptions>();
        let _ = generator.subschema_for::<ListMeta>();
        let _ = generator.subschema_for::<Patch>();
        let _ = generator.subschema_for::<Scale>();
        let _ = generator.subschema_for::<Binding>();
        let _ = generator.subschema_for::<Eviction>();
        let _ = generator.subschema_for::<TokenRequest>();
        let mut schemas = BTreeMap::new();
        for (name, mut schema) in generator.take_definitions(false) {
            decorate(&name, &mut schema);
            schemas.insert(name, schema);
        }
        let mut this = Self(schemas);
        this.name_kinds(registry);
        this
    }

    /// Says of which kind the schemas of objects are, and adds those of their lists.
    fn name_kinds(&mut self, registry: &Registry) {
        let mut versions = Vec::new();
        for row in registry.rows() {
            let resource = &row.resource;
            let name = row.schema.name();
            if row.verbs == Verbs::All {
                let mut list = list_of(&name, &resource.kind);
                let kind = format!("{}List", resource.kind);
                list[GVK] = json!([gvk(&resource.group, &resource.version, &kind)]);
                self.0.insert(format!("{name}List"), list);
            }
            self.name_kind(&name, &[gvk(&resource.group, &resource.version, &resource.kind)]);
            let options = gvk(&resource.group, &resource.version, "DeleteOptions");
            if !versions.contains(&options) {
                versions.push(options);
            }
        }
        self.name_kind(&name_of::<DeleteOptions>(), &versions);
        self.name_kind(&name_of::<Status>(), &[gvk("", "v1", "Status")]);
        self.name_kind(&name_of::<Scale>(), &[gvk("autoscaling", "v1", "Scale")]);
        self.name_kind(&name_of::<Binding>(), &[gvk("", "v1", "Binding")]);
        self.name_kind(&name_of::<Eviction>(), &[gvk("policy", "v1", "Eviction")]);
        let request = gvk("authentication.k8s.io", "v1", "TokenRequest");
        self.name_kind(&name_of::<TokenRequest>(), &[request]);
    }

    fn name_kind(&mut self, schema: &str, kinds: &[Value]) {
        if let Some(schema) = self.0.get_mut(schema) {
            schema[GVK] = json!(kinds);
        }
    }

    /// The schemas that `from` refers to, and those that they refer to.
    pub(super) fn reachable(&self, from: &Value) -> Map<String, Value> {
        let mut found = Map::new();
        let mut open = Vec::new();
        references(from, &mut open);
        while let Some(name) = open.pop() {
            if found.contains_key(name) {
                continue;
            }
            let Some(schema) = self.0.get(name) else { continue };
            references(schema, &mut open);
            found.insert(name.to_owned(), schema.clone());
        }
        found
    }
}

/// What tells a kind.
pub(super) fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        Value::Object(map) => {
            for (name, value) in map {
                match value.as_str().and_then(|text| text.strip_prefix(SCHEMAS)) {
                    Some(target) if name == "$ref" => found.push(target),
                    _ => references(value, found),
                }
            }
        }
        _ => {}
    }
}

fn list_of(name: &str, kind: &str) -> Value {
    let meta = name_of::<ListMeta>();
    json!({
        "description": format!("{kind}List is a list of {kind} objects."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": API_VERSION},
            "items": {"type": "array", "items": reference(name), "description": "The objects."},
            "kind": {"type": "string", "description": KIND},
            "metadata": {"allOf": [reference(&meta)], "default": {},
                "description": "Standard list metadata."},
        },
    })
}

/// Brings a type's schema into the form that clients of the API know.
fn decorate(name: &str, schema: &mut Value) {
    let description = schema["description"].clone();
    if schema["x-kubernetes-int-or-string"] == true {
        *schema = match name.ends_with(".Quantity") {
            true => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            false => json!({
                "format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        };
        schema["description"] = description;
        return;
    }
    // JSON of any shape, and JSON schemas that may be something simpler.
    if name.ends_with(".apiextensions.v1.JSON") || name.contains(".JSONSchemaPropsOr") {
        *schema = json!({"description": description});
        return;
    }
    let facts = schema::of_type(name);
    if let Some(facts) = facts.and_then(|facts| facts.get("")) {
        add_facts(schema, facts);
    }
    let Some(properties) = schema["properties"].as_object_mut() else { return };
    for (field, schema) in properties {
        if let (Some(target), true) =
            (schema.get("$ref").cloned(), schema["description"].is_string())
        {
            // A reference stands alone: what is said beside it goes around it.
            let description = schema["description"].clone();
            *schema = json!({"allOf": [{"$ref": target}], "description": description});
        }
        if let Some(facts) = facts.and_then(|facts| facts.get(field)) {
            add_facts(schema, facts);
        }
    }
}

fn add_facts(schema: &mut Value, facts: &Facts) {
    let texts = [
        ("x-kubernetes-list-type", &facts.list_type),
        ("x-kubernetes-map-type", &facts.map_type),
        ("x-kubernetes-patch-merge-key", &facts.patch_merge_key),
        ("x-kubernetes-patch-strategy", &facts.patch_strategy),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            schema[name] = json!(value);
        }
    }
    if !facts.list_map_keys.is_empty() {
        schema["x-kubernetes-list-map-keys"] = json!(facts.list_map_keys);
    }
}
