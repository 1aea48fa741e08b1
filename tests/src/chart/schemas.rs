//! JSON schemas of the kinds of several Kubernetes versions, for kubeconform.
//!
//! They are made once from the `OpenAPI` document in the Go module of each version, which the Go module proxy offers. A
//! field that a version doesn't have is an error.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use crate::{process, settings};

/// Versions that the chart supports, one of each minor, with the checksum of the Go module.
pub const VERSIONS: [(&str, &str); 8] = [
    ("v1.30.14", "h1:MrlKXh9uhLIJpyxOeXhcndzRVSvwiV9iJ8NgH8nqPsg="),
    ("v1.31.14", "h1:UtjLfqvXLuSVDdJ4+NpQCIfFkKkLnAAVmxAEMsnkhjk="),
    ("v1.32.13", "h1:5TGYdZ6YZqdp6h/Rp1vX/4TIoybMPdgv97LCZCtPuNQ="),
    ("v1.33.13", "h1:bmH31xUdSzeA5vk0wZAK9MZp11mdLuzUSeKk0qN3hPQ="),
    ("v1.34.4", "h1:Yy6R4QB8C9kJPp25GFqEvX5XQwY5qzKeqD0Xx6oAcmk="),
    ("v1.35.4", "h1:o/8dBC/pHVpYoGV4OAIytAlNPZbdYVTXJHoYvXC4qzM="),
    ("v1.36.3", "h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o="),
    ("v1.37.2", "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE="),
];
/// Changes with the conversion below, so that schemas of an older one aren't used.
const FORMAT: u32 = 1;
const MODULE: &str = "k8s.io/kubernetes";
const REFERENCE: &str = "#/definitions/";

/// Folder with a folder of schemas for each version. The first call downloads for about 40 seconds.
pub async fn folder() -> Result<PathBuf> {
    tokio::task::spawn_blocking(|| {
        let parent = settings::cache_folder()?.join("schemas");
        fs::create_dir_all(&parent).with_context(|| format!("failed to create {}", parent.display()))?;
        let lock = File::create(parent.join("lock"))?;
        lock.lock().context("failed to lock the cache of schemas")?;
        let folder = parent.join(FORMAT.to_string());
        for (version, sum) in VERSIONS {
            let target = folder.join(version);
            if !target.is_dir() {
                make(version, sum, &target)
                    .with_context(|| format!("failed to make the schemas of Kubernetes {version}"))?;
            }
        }
        Ok(folder)
    })
    .await?
}

/// Definitions of a version's types to which the kinds of the chart refer, by their full names.
pub async fn types(version: &str) -> Result<Map<String, Value>> {
    let folder = folder().await?.join(version);
    let mut types = Map::new();
    for kind in
        ["deployment-apps", "networkpolicy-networking", "mutatingwebhookconfiguration-admissionregistration"]
    {
        let path = folder.join(format!("{kind}-v1.json"));
        let text = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let mut schema: Value = serde_json::from_slice(&text)?;
        let definitions = schema["definitions"].as_object_mut();
        types.append(definitions.with_context(|| format!("{} has no definitions", path.display()))?);
    }
    Ok(types)
}

#[expect(clippy::print_stderr, reason = "the first run takes a while")]
fn make(version: &str, sum: &str, target: &Path) -> Result<()> {
    eprintln!("==> downloading the API of Kubernetes {version} (once; 20 MB)");
    let parent = target.parent().context("the target has a parent folder")?;
    fs::create_dir_all(parent)?;
    // A cache of its own: 100 MB of files, of which one is needed.
    let modules = tempfile::tempdir_in(parent)?;
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", &format!("{MODULE}@{version}")]).current_dir(modules.path());
    go.env("GOMODCACHE", modules.path().join("modules")).env("GOFLAGS", "-modcacherw");
    let output = process::run(&mut go).context("failed to download the Go module (is Go installed?)")?;
    let download: Value = serde_json::from_str(&output)?;
    ensure!(download["Sum"] == sum, "the module's checksum is {}, expected {sum}", download["Sum"]);
    let module = PathBuf::from(download["Dir"].as_str().context("go names no folder")?);
    let document = fs::read(module.join("api/openapi-spec/swagger.json"))?;
    let schemas = schemas(&serde_json::from_slice(&document)?)?;
    let partial = tempfile::tempdir_in(parent)?;
    for (name, schema) in schemas {
        fs::write(partial.path().join(name), serde_json::to_vec(&schema)?)?;
    }
    fs::rename(partial.keep(), target)?;
    Ok(())
}

/// A schema of each kind, under the file name by which kubeconform looks for it.
fn schemas(document: &Value) -> Result<Vec<(String, Value)>> {
    let definitions = document["definitions"].as_object().context("the document has no definitions")?;
    let mut schemas = Vec::new();
    for (name, definition) in definitions {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        // Types such as DeleteOptions belong to many groups, and are no objects.
        let Some([kind]) = kinds.map(Vec::as_slice) else { continue };
        let part = |name: &str| kind[name].as_str().unwrap_or_default().to_lowercase();
        let group = part("group").split('.').next().map(str::to_owned).unwrap_or_default();
        let group = if group.is_empty() { group } else { format!("-{group}") };
        let mut schema = strict(definition, Some((kind["group"].as_str().unwrap_or_default(), kind)));
        schema["definitions"] = Value::Object(referenced(name, definitions));
        schemas.push((format!("{}{group}-{}.json", part("kind"), part("version")), schema));
    }
    Ok(schemas)
}

/// All definitions to which a definition refers, directly or not.
fn referenced(name: &str, definitions: &Map<String, Value>) -> Map<String, Value> {
    let mut found = Map::new();
    let mut seen = BTreeSet::from([name.to_owned()]);
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        let mut names = Vec::new();
        if let Some(definition) = definitions.get(&name) {
            references(definition, &mut names);
        }
        for name in names {
            if let Some(definition) = definitions.get(&name).filter(|_| seen.insert(name.clone())) {
                found.insert(name.clone(), strict(definition, None));
                open.push(name);
            }
        }
    }
    // A recursive kind refers to itself.
    found.entry(name.to_owned()).or_insert_with(|| strict(&definitions[name], None));
    found
}

fn references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().and_then(|text| text.strip_prefix(REFERENCE)) {
                    Some(target) if name == "$ref" => into.push(target.to_owned()),
                    _ => references(member, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

/// A definition in which unknown fields are errors. A kind's own definition fixes `apiVersion` and `kind`.
fn strict(definition: &Value, kind: Option<(&str, &Value)>) -> Value {
    let mut schema = converted(definition);
    if let Some((group, kind)) = kind {
        let version = kind["version"].as_str().unwrap_or_default();
        let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        schema["properties"]["apiVersion"] = json!({"const": version});
        schema["properties"]["kind"] = json!({"const": kind["kind"]});
    }
    schema
}

fn converted(value: &Value) -> Value {
    let Some(members) = value.as_object() else {
        let items = value.as_array().map(|items| Value::Array(items.iter().map(converted).collect()));
        return items.unwrap_or_else(|| value.clone());
    };
    // Quantities and ports may be numbers, which the document calls text.
    let name = members.get("$ref").and_then(Value::as_str).unwrap_or_default();
    if members.get("format").is_some_and(|format| format == "int-or-string")
        || name.ends_with("resource.Quantity")
    {
        return json!({"type": ["string", "number"]});
    }
    let mut schema = Map::new();
    for (name, member) in members {
        match name.as_str() {
            "description" | "format" | "default" => {}
            name if name.starts_with("x-kubernetes-") => {}
            // The names of fields, which may be those of keywords.
            "properties" => {
                let fields = member.as_object().into_iter().flatten();
                let fields = fields.map(|(name, field)| (name.clone(), converted(field)));
                schema.insert(name.clone(), Value::Object(fields.collect()));
            }
            _ => drop(schema.insert(name.clone(), converted(member))),
        }
    }
    if schema.contains_key("properties") {
        schema.entry("additionalProperties").or_insert(json!(false));
    }
    Value::Object(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_refuse_unknown_fields_and_keep_free_maps() {
        let document = json!({"definitions": {
            "v1.Thing": {
                "type": "object", "description": "text",
                "properties": {
                    "kind": {"type": "string"}, "format": {"type": "string"},
                    "port": {"type": "string", "format": "int-or-string"},
                    "size": {"$ref": "#/definitions/resource.Quantity"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "part": {"$ref": "#/definitions/v1.Part"},
                },
                "x-kubernetes-group-version-kind": [{"group": "apps.k8s.io", "version": "v1", "kind": "Thing"}],
            },
            "v1.Part": {"type": "object", "properties": {"part": {"$ref": "#/definitions/v1.Part"}}},
            "v1.Other": {"type": "object"},
        }});
        let mut made = schemas(&document).unwrap();
        let (name, schema) = made.pop().unwrap();
        assert_eq!((name.as_str(), made.len()), ("thing-apps-v1.json", 0));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["apiVersion"], json!({"const": "apps.k8s.io/v1"}));
        assert_eq!(schema["properties"]["format"], json!({"type": "string"}));
        assert_eq!(schema["properties"]["port"], json!({"type": ["string", "number"]}));
        assert_eq!(schema["properties"]["size"], json!({"type": ["string", "number"]}));
        assert_eq!(schema["properties"]["labels"]["additionalProperties"], json!({"type": "string"}));
        assert_eq!(schema["definitions"]["v1.Part"]["additionalProperties"], false);
        assert_eq!(schema["definitions"].get("v1.Other"), None);
    }
}
