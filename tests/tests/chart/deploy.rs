//! The files under `deploy/`: consistent with the chart, the code and the documents.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zstart_tests::chart::{Helm, name};

pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(path: &str) -> Result<String> {
    let path = deploy().join(path);
    std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
}

/// Documents of a YAML file, which JSON is too.
pub(crate) fn documents(path: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(&read(path)?)?)
}

/// Actions that a policy allows.
fn actions(policy: &str) -> Result<BTreeSet<String>> {
    let policy: Value = serde_json::from_str(&read(&format!("iam/{policy}.json"))?)?;
    let mut actions = BTreeSet::new();
    for statement in policy["Statement"].as_array().context("a policy has statements")? {
        ensure!(statement["Effect"] == "Allow", "{statement}");
        match &statement["Action"] {
            Value::String(action) => drop(actions.insert(action.clone())),
            Value::Array(all) => actions.extend(all.iter().filter_map(Value::as_str).map(str::to_owned)),
            other => anyhow::bail!("unexpected action {other}"),
        }
    }
    Ok(actions)
}

#[test]
fn policies_allow_what_document_and_code_name() -> Result<()> {
    let document = read("../docs/ecr.md")?;
    let required =
        document.split("Required rights: ").nth(1).and_then(|rest| rest.split(". The controller").next());
    let words = required.context("docs/ecr.md names the rights")?.split('`').skip(1).step_by(2);
    let required: BTreeSet<String> =
        words.filter(|word| word.starts_with("ecr:")).map(str::to_owned).collect();
    let allowed = actions("pull-push")?;
    assert_eq!(allowed, required);
    // The session policy of a Job asks for no more than the role has.
    let code = read("../crates/ecr/src/session.rs")?;
    let list = code.split("const ACTIONS").nth(1).and_then(|rest| rest.split("];").next());
    let session = list.context("the code lists the actions of a session")?.split('"').skip(1).step_by(2);
    for action in session {
        assert!(allowed.contains(action), "pull-push.json lacks {action}");
    }
    let pull = actions("pull")?;
    assert!(pull.is_subset(&allowed), "{pull:?}");
    let writes = ["Put", "Upload", "Create", "Delete", "Initiate"];
    assert!(pull.iter().all(|action| writes.iter().all(|write| !action.contains(write))), "{pull:?}");
    assert_eq!(actions("immutable-tags")?, BTreeSet::from(["ecr:DescribeRepositories".to_owned()]));
    assert!(document.contains("ecr:DescribeRepositories"));
    Ok(())
}

#[test]
fn every_policy_is_in_the_document_and_names_no_wildcard() -> Result<()> {
    let document = read("../docs/ecr.md")?;
    for entry in std::fs::read_dir(deploy().join("iam"))? {
        let file = entry?.file_name().into_string().ok().context("a file has a name")?;
        assert!(document.contains(&format!("`{file}`")), "docs/ecr.md lacks {file}");
        let policy: Value = serde_json::from_str(&read(&format!("iam/{file}"))?)?;
        assert_eq!(policy["Version"], "2012-10-17", "{file}");
        for statement in policy["Statement"].as_array().context("a policy has statements")? {
            assert!(!statement["Action"].to_string().contains('*'), "{file}: {statement}");
            // Tokens belong to no repository.
            let is_token = statement["Sid"] == "Token";
            assert_eq!(statement["Resource"] == "*", is_token, "{file}: {statement}");
        }
    }
    Ok(())
}

/// `*` matches any characters, as in a lifecycle policy.
fn matches(pattern: &str, tag: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == tag,
        Some((start, rest)) => tag.strip_prefix(start).is_some_and(|tag| {
            (0..=tag.len()).filter(|at| tag.is_char_boundary(*at)).any(|at| matches(rest, &tag[at..]))
        }),
    }
}

#[test]
fn lifecycle_policy_selects_variants_and_no_source() -> Result<()> {
    let policy: Value = serde_json::from_str(&read("ecr-lifecycle-policy.json")?)?;
    let rules = policy["rules"].as_array().context("no rules")?;
    let patterns = rules[0]["selection"]["tagPatternList"].as_array().context("no patterns")?;
    let [pattern] = patterns.as_slice() else {
        anyhow::bail!("several patterns would have to match at once")
    };
    let pattern = pattern.as_str().context("a pattern is text")?;
    for tag in ["v1.4-zstd-1a2b3c4d5e6f-27893757", "sha256-1a2b3c4d5e6f-zstd-27893757"] {
        assert!(matches(pattern, tag), "{tag}");
    }
    for tag in ["v1.4", "latest", "zstd", "v1-zstd", "app-zstd1.5"] {
        assert!(!matches(pattern, tag), "{tag}");
    }
    // The earlier rule has the lower number. Parts of an index have no tag.
    let priorities: Vec<_> = rules.iter().map(|rule| rule["rulePriority"].as_u64()).collect();
    assert_eq!(priorities, [Some(1), Some(2)]);
    assert_eq!(rules[1]["selection"]["tagStatus"], "untagged");
    Ok(())
}

#[tokio::test]
async fn manifests_are_the_charts_objects_in_their_namespace() -> Result<()> {
    let manifests = documents("manifests/zstart.yaml")?;
    let rendered = Helm::find().await?.render("zstart", &[]).await?;
    let is_test = |object: &Value| object["metadata"]["annotations"]["helm.sh/hook"] == "test";
    let mut expected: Vec<Value> = rendered.into_iter().filter(|object| !is_test(object)).collect();
    let mut found: Vec<Value> = manifests.into_iter().filter(|object| !object.is_null()).collect();
    let namespace = found.remove(0);
    assert_eq!((namespace["kind"].as_str(), name(&namespace)), (Some("Namespace"), "zstart-system"));
    let key = |object: &Value| format!("{} {}", object["kind"], name(object));
    expected.sort_by_key(key);
    found.sort_by_key(key);
    assert_eq!(found, expected);
    // The kustomization renames the images that the manifests name.
    let kustomization = documents("manifests/kustomization.yaml")?.remove(0);
    let text = read("manifests/zstart.yaml")?;
    for image in kustomization["images"].as_array().context("no images")? {
        let image = image["name"].as_str().context("an image has a name")?;
        assert!(text.contains(&format!("image: \"{image}:")), "{image}");
    }
    Ok(())
}
