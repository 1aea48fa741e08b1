//! Tests of `index.json`.

use serde_json::{Value, json};
use zstart_core::variant::ContentHash;

use super::*;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const VARIANT: &str = "rancher/local:v1-zstd-0123456789ab";

fn digest(seed: &str) -> Digest {
    Digest::sha256_of(seed.as_bytes())
}

fn entry(seed: &str, annotations: &Value) -> Value {
    json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest(seed), "size": 2, "annotations": annotations})
}

fn named(seed: &str, name: &str) -> Value {
    entry(seed, &json!({REF_NAME: name}))
}

fn index(entries: &[Value]) -> LayoutIndex {
    let text = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    LayoutIndex::parse("oci:i", text.as_bytes()).unwrap()
}

fn select(entries: &[Value], selection: &LayoutSelection) -> Result<(Digest, Option<String>), String> {
    let selected = index(entries).select(selection).map_err(|error| error.to_string());
    selected.map(|image| (image.digest, image.name.map(|name| name.to_string())))
}

fn name(name: &str) -> LayoutSelection {
    LayoutSelection::Name(name.to_owned())
}

#[test]
fn only_image_needs_no_name() {
    let only = |entries: &[Value]| select(entries, &LayoutSelection::Only);
    let unnamed = entry("a", &Value::Null);
    assert_eq!(only(std::slice::from_ref(&unnamed)).unwrap(), (digest("a"), None));
    let reference = named("a", "rancher/local:v1");
    assert_eq!(
        only(std::slice::from_ref(&reference)).unwrap(),
        (digest("a"), Some("rancher/local:v1".into()))
    );
    // The variant that a conversion added is no second image, unless there is nothing else.
    let variant = named("z", VARIANT);
    assert_eq!(only(&[variant.clone(), reference]).unwrap().0, digest("a"));
    for name in ["sha256-0123456789ab-zstd", "sha256-0123456789ab-zstd-01234567"] {
        assert_eq!(only(&[unnamed.clone(), named("z", name)]).unwrap(), (digest("a"), None), "{name}");
    }
    assert_eq!(only(&[variant]).unwrap(), (digest("z"), Some(VARIANT.into())));
    // One image with two names is one image.
    assert_eq!(only(&[unnamed.clone(), named("a", "v1"), named("a", "v2")]).unwrap().1, Some("v1".into()));
    let other = json!({"mediaType": "application/xml", "digest": digest("xml"), "size": 2});
    assert_eq!(only(&[other, unnamed]).unwrap().0, digest("a"));
    assert!(only(&[]).unwrap_err().contains("lists no image"));
}

#[test]
fn ambiguous_selection_lists_arguments_that_select() {
    let mut platform = named("c", "v3");
    platform["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let entries = [named("a", "v1"), named("b", "v1"), platform, entry("d", &Value::Null)];
    let (a, b, d) = (digest("a"), digest("b"), digest("d"));
    let error = select(&entries, &LayoutSelection::Only).unwrap_err();
    assert_eq!(
        error,
        format!(
            "index.json lists 4 images; name one of these: oci:i@{a}, oci:i@{b}, \
             oci:i:v3 (linux/arm64), oci:i@{d}"
        )
    );
    let error = select(&entries, &name("v1")).unwrap_err();
    assert!(error.ends_with(&format!("by its digest: oci:i@{a}, oci:i@{b}")), "{error}");
    let error = select(&entries, &name("v2")).unwrap_err();
    assert!(error.contains("names no image \"v2\"") && error.contains("oci:i:v3"), "{error}");
    assert!(index(&entries).select(&name("v2")).unwrap_err().is_not_found());
    assert_eq!(select(&entries, &LayoutSelection::Position(1)).unwrap(), (b, None));
    assert!(select(&entries, &LayoutSelection::Position(4)).unwrap_err().contains("only 4 entries"));
    assert_eq!(select(&entries, &LayoutSelection::Digest(a.clone())).unwrap(), (a.clone(), None));
    assert_eq!(select(&entries, &name(&format!("v1@{a}"))).unwrap(), (a, None), "the digest decides");
    let many: Vec<Value> = (0..30).map(|seed| named(&seed.to_string(), &format!("v{seed}"))).collect();
    let error = select(&many, &LayoutSelection::Only).unwrap_err();
    assert!(error.ends_with("oci:i:v19 and 10 more"), "{error}");
}

#[test]
fn names_that_are_no_arguments_are_never_printed() {
    // `@1` selects the second image, and a shell runs the command in the second name.
    let names = ["@1", "v1 ; touch pwned", "a b", "v\u{202e}1", "v1\u{1b}", "$(id)", "v1@sha256:00", "-v1"];
    let entries: Vec<Value> = names.iter().map(|name| named(name, name)).collect();
    let expected: Vec<String> = names.iter().map(|name| format!("oci:i@{}", digest(name))).collect();
    for selection in [LayoutSelection::Only, name("v2")] {
        let error = select(&entries, &selection).unwrap_err();
        assert!(error.ends_with(&format!("name one of these: {}", expected.join(", "))), "{error}");
    }
    for text in names {
        assert_eq!(select(&entries, &name(text)).unwrap(), (digest(text), None), "{text:?}");
    }
    // containerd's name selects too.
    let odd = entry("a", &json!({REF_NAME: "@1", CONTAINERD_NAME: "docker.io/library/app:v1"}));
    let error = select(&[odd, named("b", "v1")], &LayoutSelection::Only).unwrap_err();
    assert!(error.ends_with("oci:i:docker.io/library/app:v1, oci:i:v1"), "{error}");
}

#[test]
fn buildkit_names_select_by_tag_and_by_whole_name() {
    // `docker buildx build -t app:v1 -t other:v1 -o type=oci` (BuildKit, exporter/oci/export.go).
    let entries = [
        entry("a", &json!({REF_NAME: "v1", CONTAINERD_NAME: "docker.io/library/app:v1"})),
        entry("a", &json!({REF_NAME: "v1", CONTAINERD_NAME: "docker.io/library/other:v1"})),
    ];
    assert_eq!(select(&entries, &LayoutSelection::Only).unwrap(), (digest("a"), Some("v1".into())));
    assert_eq!(select(&entries, &name("v1")).unwrap().0, digest("a"));
    assert_eq!(select(&entries, &name("docker.io/library/other:v1")).unwrap().0, digest("a"));
    // `ctr images export FILE app:v1 other:v1`: two images of one tag.
    let entries = [
        entry("a", &json!({REF_NAME: "v1", CONTAINERD_NAME: "docker.io/library/app:v1"})),
        entry("b", &json!({REF_NAME: "v1", CONTAINERD_NAME: "docker.io/library/other:v1"})),
    ];
    assert_eq!(select(&entries, &name("docker.io/library/other:v1")).unwrap().0, digest("b"));
    let error = select(&entries, &name("v1")).unwrap_err();
    assert!(error.contains("oci:i:docker.io/library/app:v1, oci:i:docker.io/library/other:v1"), "{error}");
}

#[test]
fn name_in_the_form_of_a_variants_proves_nothing() {
    let only = |entries: &[Value]| select(entries, &LayoutSelection::Only);
    let look_alike = named("b", "v2-zstd-0123456789ab");
    let error = only(&[named("a", "v1"), look_alike.clone()]).unwrap_err();
    assert!(error.contains("oci:i:v1, oci:i:v2-zstd-0123456789ab"), "{error}");
    assert_eq!(only(&[look_alike.clone(), entry("b", &Value::Null)]).unwrap().0, digest("b"));
    // The digits are those of the source.
    let of = |seed: &str, name: &str| named(seed, &format!("{name}-zstd-{}", digest("a").short()));
    assert_eq!(only(&[named("a", "v1"), of("z", "other/app:v1")]).unwrap().0, digest("a"));
    assert_eq!(only(&[of("z", "v1"), entry("a", &Value::Null)]).unwrap().0, digest("a"));
    // The tag moved after the conversion.
    assert_eq!(only(&[named("b", "v1"), of("z", "v1")]).unwrap().0, digest("b"));
    let long = "v".repeat(120);
    let names = VariantNames::new(Some(&long.parse().unwrap()), &digest("a"));
    let made = names.tag(&ContentHash::of([&digest("made")], ""));
    for cut in [names.first_form(), &made] {
        assert_eq!(only(&[named("b", &long), named("z", &cut.to_string())]).unwrap().0, digest("b"));
    }
    let made = named("z", "v1-zstd-0123456789ab-01234567");
    assert_eq!(only(&[named("b", "v1"), made]).unwrap().0, digest("b"));
    let error = only(&[named("b", "rancher/local:v1"), of("z", "v1")]).unwrap_err();
    assert!(error.contains("lists 2 images"), "{error}");
}

#[test]
fn malformed_entries_are_kept_and_never_selected() {
    let odd = [
        "null",
        "[ 1 ]",
        r#"{"mediaType": "x", "digest": "blake3:aa", "size": 1,
            "annotations": {"org.opencontainers.image.ref.name": "blake"}}"#,
        r#"{"digest":1}"#,
        r#"{"digest":"sha256:00","digest":"sha256:01"}"#,
    ];
    let good = named("a", "v1").to_string();
    let text = format!("{{\"manifests\":[{},{good}]}}", odd.join(","));
    let mut index = LayoutIndex::parse("oci:i", text.as_bytes()).unwrap();
    let select = |index: &LayoutIndex, selection: &LayoutSelection| index.select(selection);
    for selection in [LayoutSelection::Only, name("v1"), LayoutSelection::Position(odd.len())] {
        assert_eq!(select(&index, &selection).unwrap().digest, digest("a"));
    }
    for (selection, position) in [(name("blake"), 2), (LayoutSelection::Position(4), 4)] {
        let error = select(&index, &selection).unwrap_err();
        assert!(
            matches!(error, SelectionError::Unreadable { position: at, .. } if at == position),
            "{error}"
        );
        assert!(!error.is_not_found());
    }
    let bytes = index.put(&"v2".parse().unwrap(), media_type::OCI_INDEX, &digest("new"), 9).unwrap();
    let written = String::from_utf8(bytes).unwrap();
    assert!(written.starts_with(text.strip_suffix("]}").unwrap()), "{written}");

    let index = LayoutIndex::parse("oci:i", br#"{"manifests":[{"digest":"blake3:aa"}]}"#).unwrap();
    for selection in [LayoutSelection::Only, name("v1")] {
        let error = select(&index, &selection).unwrap_err().to_string();
        assert!(error.starts_with("entry 0 of index.json") && error.contains("blake3"), "{error}");
    }
}

#[test]
fn entry_needs_a_digest_only() {
    for members in [
        json!({}),
        json!({"size": -1, "mediaType": media_type::OCI_MANIFEST}),
        json!({"size": "2", "mediaType": null}),
        json!({"size": 2, "mediaType": "", "platform": 1}),
    ] {
        let mut entry = members;
        entry["digest"] = json!(digest("a"));
        entry["annotations"] = json!({REF_NAME: "v1"});
        assert_eq!(select(std::slice::from_ref(&entry), &name("v1")).unwrap().0, digest("a"), "{entry}");
        assert_eq!(select(&[entry], &LayoutSelection::Only).unwrap().0, digest("a"));
    }
    // An entry without a media type may be an image, so the choice is the user's.
    let entries = [json!({"digest": digest("a")}), named("b", "v1")];
    assert!(select(&entries, &LayoutSelection::Only).unwrap_err().contains("lists 2 images"));
}

#[test]
fn null_list_is_an_empty_list() {
    let index = LayoutIndex::parse("oci:i", br#"{"schemaVersion":2,"manifests":null}"#).unwrap();
    assert_eq!(index.select(&LayoutSelection::Only), Err(SelectionError::Empty));
}

#[test]
fn put_replaces_one_name_and_keeps_other_entries() {
    let mut index = index(&[named("a", "v1"), named("b", "rancher/local:v1"), entry("c", &Value::Null)]);
    let bytes = index.put(&"v1".parse().unwrap(), media_type::OCI_INDEX, &digest("new"), 9).unwrap();
    let index = LayoutIndex::parse("oci:i", &bytes).unwrap();
    assert_eq!(index.names().collect::<Vec<_>>(), ["rancher/local:v1", "v1"]);
    assert_eq!(index.select(&name("v1")).unwrap().digest, digest("new"));
    assert_eq!(index.entries.len(), 3);
}

#[test]
fn marker_of_another_version_is_refused() {
    check_marker(&marker().unwrap()).unwrap();
    check_marker(br#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    let refused = |text: &str| check_marker(text.as_bytes()).unwrap_err().to_string();
    assert!(refused(r#"{"imageLayoutVersion":"2.0.0"}"#).contains("\"2.0.0\"; zstart knows version 1.0.0"));
    assert!(refused("{}").contains("malformed"));
}
