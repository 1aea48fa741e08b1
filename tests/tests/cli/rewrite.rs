//! `zstart rewrite`, on a real registry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use zstart_core::Digest;
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway};

use crate::command::{Finished, Zstart};
use crate::exit_codes::require_failure;

fn image(content: &str) -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 200_000).layer(&[("etc/app", content.as_bytes())])
}

/// Registry with images, and a folder for manifests.
struct Lab {
    zstart: Zstart,
    registry: Registry,
}

impl Lab {
    async fn start() -> Result<Self> {
        Ok(Self { zstart: Zstart::find()?, registry: Registry::start().await? })
    }

    /// Pushes an image, and returns its reference.
    async fn push(&self, name: &str) -> Result<String> {
        image(name).push(&self.registry.host(), name).await?;
        Ok(format!("{}/{name}", self.registry.host()))
    }

    /// Converts an image. Returns the variant's tag and digest.
    async fn convert(&self, reference: &str) -> Result<(String, String)> {
        let made = self.zstart.json(&["convert", reference]).await?;
        let text = |member: &str| made[member].as_str().context("a text").map(ToOwned::to_owned);
        let variant = text("variant")?;
        let (_, tag) = variant.rsplit_once(':').context("a tag")?;
        Ok((tag.to_owned(), text("variantDigest")?))
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.zstart.folder().join(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    async fn rewrite(&self, arguments: &[&str]) -> Result<Finished> {
        self.zstart.run(&[&["rewrite"][..], arguments].concat()).await
    }
}

fn task(image: &str) -> String {
    format!(
        "{{\r\n\t\"family\" : \"web\", \"requiresCompatibilities\":[\"FARGATE\"],\r\n\t\"runtimePlatform\":\
         {{\"cpuArchitecture\":\"X86_64\",\"operatingSystemFamily\":\"LINUX\"}},\r\n\t\"containerDefinitions\": [\
         {{\"name\":\"app\",\"image\" :\"{image}\"}},\r\n\t\t{{\"name\":\"log\",\"image\":\"busybox:1.36\"}}]}}\r\n"
    )
}

fn terraform(image: &str) -> String {
    let text = r#"resource "aws_ecs_task_definition" "web" {
  family = "web"
  container_definitions = jsonencode([
    { name = "app", image = "IMAGE" }, # the application
    { name = "log", image = var.log },
  ])
}
"#;
    text.replace("IMAGE", image)
}

/// The same in JSON syntax.
fn terraform_json(image: &str) -> String {
    let text = r#"{"resource": {"aws_ecs_task_definition": {"web": {"family": "web",
  "container_definitions": "[{\"name\": \"app\", \"image\": \"IMAGE\"}, {\"name\": \"log\", \"image\": \"${var.log}\"}]"
}}}}
"#;
    text.replace("IMAGE", image)
}

/// Three documents with comments, quotes and flow style, as people write them.
fn deployment(app: &str, init: &str) -> String {
    let text = r#"# The shop
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers:
      - name: init   # runs first
        image: 'INIT'   # pinned?
      containers:
      - {name: app, image: "APP", env: [{name: TEXT, value: "APP"}]}
---
apiVersion: v1
kind: ConfigMap
data:
  image: APP
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: night
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers:
            - image: APP
              name: job
"#;
    text.replace("INIT", init).replace("APP", app)
}

#[tokio::test]
async fn manifests_get_ready_variants_and_nothing_else_changes() -> Result<()> {
    let lab = Lab::start().await?;
    let (app, init) = (lab.push("shop/app:v1").await?, lab.push("shop/init:v1").await?);
    let (tag, digest) = lab.convert(&app).await?;
    let text = deployment(&app, &init);
    let file = lab.write("web.yaml", &text)?;
    let ended = lab.rewrite(&["-f", &file]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let variant = format!("{}/shop/app:{tag}@{digest}", lab.registry.host());
    let expected = text
        .replace(&format!("image: \"{app}\""), &format!("image: \"{variant}\""))
        .replace(&format!("- image: {app}"), &format!("- image: {variant}"));
    assert_eq!(ended.stdout, expected);
    for line in [
        format!("web.yaml:10  Deployment/web, init container init  {init}"),
        format!("web.yaml:12  Deployment/web, container app        {app}   → {tag}, "),
    ] {
        assert!(ended.stderr.contains(&line), "{line}: {}", ended.stderr);
    }
    assert!(ended.stderr.contains("no variant; --convert makes one"), "{}", ended.stderr);

    // The result names variants, so another run changes nothing and asks for the other image only.
    let again = lab.write("again.yaml", &ended.stdout)?;
    let again = lab.rewrite(&["-f", &again]).await?;
    assert_eq!((again.code, &again.stdout), (Some(0), &ended.stdout), "{again:#?}");
    assert_eq!(again.stderr.matches("already a variant").count(), 2, "{}", again.stderr);
    Ok(())
}

#[tokio::test]
async fn missing_variants_are_converted_in_place() -> Result<()> {
    let lab = Lab::start().await?;
    let app = lab.push("shop/app:v1").await?;
    let file = lab.write("task.json", &task(&app))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640))?;
    let check = ["--check", "-f", &file];
    assert_eq!(lab.rewrite(&check).await?.code, Some(0), "no variant, nothing to rewrite");
    require_failure(
        &lab.zstart,
        &["rewrite", "--check", "--convert", "-f", &file],
        9,
        &["1 image to convert"],
    )
    .await?;

    let ended = lab.rewrite(&["--convert", "--in-place", "-f", &file]).await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:#?}");
    assert!(ended.stderr.contains(&format!("converting {app}\n")), "{}", ended.stderr);
    assert!(ended.stderr.contains("smaller, converted now"), "{}", ended.stderr);
    let (_, digest) = lab.convert(&app).await?;
    let variant = format!("{}/shop/app@{digest}", lab.registry.host());
    assert_eq!(fs::read_to_string(&file)?, task(&variant), "ECS documents a name with a digest");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o640);

    let ended = lab.rewrite(&["--check", "--convert", "-f", &file]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stderr.contains("already a variant"), "{}", ended.stderr);
    // The first image again: its variant is ready now.
    let old = lab.write(
        "old.json",
        &json!({"taskDefinition": serde_json::from_str::<Value>(&task(&app))?}).to_string(),
    )?;
    let said = ["1 image to replace in 1 file"];
    require_failure(&lab.zstart, &["rewrite", "--check", "-f", &old], 9, &said).await?;
    assert!(fs::read_to_string(&old)?.contains(&app), "a check writes nothing");
    Ok(())
}

#[tokio::test]
async fn terraform_keeps_its_expressions() -> Result<()> {
    let lab = Lab::start().await?;
    let app = lab.push("shop/app:v1").await?;
    let (_, digest) = lab.convert(&app).await?;
    let variant = format!("{}/shop/app@{digest}", lab.registry.host());
    for (name, expression, text, expected) in [
        ("main.tf", "var.log", terraform(&app), terraform(&variant)),
        ("main.tf.json", "${var.log}", terraform_json(&app), terraform_json(&variant)),
    ] {
        let file = lab.write(&format!("ecs/{name}"), &text)?;
        let ended = lab.rewrite(&["-f", &file]).await?;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(ended.stdout, expected);
        assert!(ended.stderr.contains(&format!("container log  {expression}")), "{}", ended.stderr);
        assert!(ended.stderr.contains("computed elsewhere, left alone"), "{}", ended.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn folder_is_rewritten_in_place() -> Result<()> {
    let lab = Lab::start().await?;
    let app = lab.push("shop/app:v1").await?;
    lab.convert(&app).await?;
    for name in ["all/a.yaml", "all/b.yml", "all/deep/c.yaml", "all/.hidden/d.yaml", "all/notes.txt"] {
        lab.write(name, &deployment(&app, "busybox"))?;
    }
    let values = lab.write("all/values.yaml", "image: {repository: shop/app}\n")?;
    let folder = lab.zstart.folder().join("all").display().to_string();
    require_failure(&lab.zstart, &["rewrite", "-f", &folder], 2, &["3 files", "--in-place"]).await?;
    let ended = lab.rewrite(&["-i", "-f", &folder]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let is_rewritten = |name: &str| -> Result<bool> {
        Ok(fs::read_to_string(lab.zstart.folder().join("all").join(name))?.contains("-zstd-"))
    };
    assert!(is_rewritten("a.yaml")? && is_rewritten("b.yml")? && !is_rewritten("deep/c.yaml")?);
    assert_eq!(fs::read_to_string(&values)?, "image: {repository: shop/app}\n");
    lab.rewrite(&["-i", "-R", "-f", &folder]).await?;
    assert!(is_rewritten("deep/c.yaml")? && !is_rewritten(".hidden/d.yaml")? && !is_rewritten("notes.txt")?);
    let empty = lab.zstart.folder().join("empty");
    fs::create_dir(&empty)?;
    let said = ["failed to find .yaml"];
    require_failure(&lab.zstart, &["rewrite", "-i", "-f", &empty.display().to_string()], 2, &said).await
}

#[tokio::test]
async fn stdin_is_rewritten_to_stdout() -> Result<()> {
    let lab = Lab::start().await?;
    let app = lab.push("shop/app:v1").await?;
    lab.convert(&app).await?;
    for text in [deployment(&app, "busybox"), task(&app)] {
        let mut child = lab.zstart.command(&["rewrite", "-f", "-"]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("stdin")?.write_all(text.as_bytes()).await?;
        let output = child.wait_with_output().await?;
        let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert_ne!(stdout, text);
        assert!(stderr.contains("stdin:") && stderr.contains("left alone: it names no registry"), "{stderr}");
    }
    require_failure(&lab.zstart, &["rewrite", "-i", "-f", "-"], 2, &["stdin in place"]).await
}

#[tokio::test]
async fn equal_images_are_looked_up_once() -> Result<()> {
    let lab = Lab::start().await?;
    let app = lab.push("shop/app:v1").await?;
    lab.convert(&app).await?;
    let gateway = Gateway::start(&lab.registry.host()).await?;
    let app = app.replace(&lab.registry.host(), &gateway.host());
    let file = lab.write("web.yaml", &deployment(&app, &app))?;
    let ended = lab.rewrite(&["-f", &file]).await?;
    assert_eq!((ended.code, ended.stderr.matches("% smaller").count()), (Some(0), 3), "{ended:#?}");
    let calls = gateway.calls();
    assert_eq!(calls.iter().filter(|call| call.ends_with("/manifests/v1")).count(), 1, "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn platform_of_a_task_decides_what_is_converted() -> Result<()> {
    let lab = Lab::start().await?;
    let arm = image("arm").platform("linux", "arm64");
    Index::new()
        .image(&image("amd"))?
        .image(&arm)?
        .prepare()?
        .push(&lab.registry.host(), "shop/app:v1")
        .await?;
    let app = format!("{}/shop/app:v1", lab.registry.host());
    let file = lab.write("task.json", &task(&app).replace("X86_64", "ARM64"))?;
    let ended = lab.rewrite(&["--convert", "-f", &file]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let written: Value = serde_json::from_str(&ended.stdout)?;
    let variant = written["containerDefinitions"][0]["image"].as_str().context("an image")?;
    let shown = lab.zstart.json(&["inspect", variant]).await?;
    let made = |platform: &str| -> Result<bool> {
        let manifests = shown["manifests"].as_array().context("manifests")?;
        let manifest = manifests.iter().find(|manifest| manifest["platform"] == platform);
        Ok(!manifest.context("a platform")?["variantOf"].is_null())
    };
    assert!(made("linux/arm64")? && !made("linux/amd64")?, "{shown:#}");

    // The manifest starts anywhere, so it needs a variant of all platforms, unless the user names one.
    let file = lab.write("web.yaml", &deployment(&app, "busybox"))?;
    let all = lab.rewrite(&["-f", &file]).await?;
    assert!(all.stderr.contains("no variant"), "{}", all.stderr);
    let one = lab.rewrite(&["--platform", "linux/arm64", "-f", &file]).await?;
    assert!(one.stdout.contains("-zstd-"), "{one:#?}");
    Ok(())
}

#[tokio::test]
async fn images_that_cannot_have_variants_are_left_alone() -> Result<()> {
    let lab = Lab::start().await?;
    let artifact = image("a").members(json!({"artifactType": "application/x-signature"}));
    artifact.push(&lab.registry.host(), "shop/signature:v1").await?;
    let signature = format!("{}/shop/signature:v1", lab.registry.host());
    let text = deployment(&signature, "docker.io/library/busybox:1.36")
        + "---\napiVersion: v1\nkind: Pod\nspec: {containers: [{image: Not/Valid}, {image: \"${IMAGE}\"}]}\n";
    let file = lab.write("web.yaml", &text)?;
    let ended = lab.rewrite(&["-f", &file]).await?;
    assert_eq!((ended.code, &ended.stdout), (Some(0), &text), "{ended:#?}");
    for said in
        ["marks an artifact", "official image of Docker Hub", "invalid repository", "computed elsewhere"]
    {
        assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
    }
    let ended = lab.rewrite(&["--only", "other.example/*", "-f", &file]).await?;
    assert!(ended.stderr.contains("not selected by --only"), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn failed_lookup_leaves_its_image_and_sets_the_exit_code() -> Result<()> {
    let lab = Lab::start().await?;
    let app = lab.push("shop/app:v1").await?;
    lab.convert(&app).await?;
    let text = deployment(&app, &format!("{}/shop/gone:v1", lab.registry.host()));
    let file = lab.write("web.yaml", &text)?;
    let ended = lab.rewrite(&["-f", &file]).await?;
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(ended.stdout.contains("-zstd-") && ended.stdout.contains("/shop/gone:v1'"), "{}", ended.stdout);
    assert!(ended.stderr.contains("  error: ") && ended.stderr.contains("\nerror: "), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn incomplete_variant_is_not_used() -> Result<()> {
    let lab = Lab::start().await?;
    let app = lab.push("shop/app:v1").await?;
    let (_, digest) = lab.convert(&app).await?;
    let variant = format!("{}/shop/app@{digest}", lab.registry.host());
    let shown = lab.zstart.json(&["inspect", &variant]).await?;
    let layer: Digest = shown["manifests"][0]["layers"][0]["digest"].as_str().context("a layer")?.parse()?;
    let gateway = Gateway::start(&lab.registry.host()).await?;
    for method in [Method::HEAD, Method::GET] {
        gateway.fault(
            method,
            &format!("/blobs/{layer}"),
            Fault::Respond(StatusCode::NOT_FOUND, vec![], "lost"),
        );
    }
    let text = task(&app.replace(&lab.registry.host(), &gateway.host()));
    let file = lab.write("task.json", &text)?;
    let ended = lab.rewrite(&["-f", &file]).await?;
    assert_eq!((ended.code, &ended.stdout), (Some(0), &text), "{ended:#?}");
    assert!(ended.stderr.contains("no variant"), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn files_that_cannot_be_edited_exactly_are_refused() -> Result<()> {
    let lab = Lab::start().await?;
    let app = lab.push("shop/app:v1").await?;
    lab.convert(&app).await?;
    let pod = |image: &str| {
        format!("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: app\n    image: {image}\n")
    };
    let aliased = pod(&format!("&app {app}\n  - name: copy\n    image: *app"));
    for (name, text, said) in [
        ("alias.yaml", aliased.as_str(), "line 6: the image is part of an anchor (&)"),
        ("block.yaml", &pod(&format!(">-\n      {app}")), "the image is a block scalar"),
        ("helm.yaml", &pod("{{ .Values.image }}"), "helm template … | zstart rewrite -f -"),
        ("broken.json", "{\"a\": ", "line 1 is not valid JSON"),
        ("broken.yaml", "a: [", "is not valid YAML"),
        ("broken.tf", "a = [", "is not valid Terraform"),
    ] {
        let file = lab.write(name, text)?;
        require_failure(&lab.zstart, &["rewrite", "-i", "-f", &file], 2, &[name, said]).await?;
        assert_eq!(fs::read_to_string(&file)?, text);
    }
    let binary = lab.zstart.folder().join("binary.yaml");
    fs::write(&binary, [0xff, 0xfe])?;
    require_failure(&lab.zstart, &["rewrite", "-f", &binary.display().to_string()], 1, &["UTF-8"]).await?;
    require_failure(&lab.zstart, &["rewrite", "-f", "nowhere.yaml"], 1, &["failed to read nowhere.yaml"])
        .await?;
    // Without a variant, there is nothing to edit.
    let other = lab.push("shop/other:v1").await?;
    let file = lab.write("other.yaml", &pod(&format!("&app {other}\n  - name: copy\n    image: *app")))?;
    assert_eq!(lab.rewrite(&["-f", &file]).await?.code, Some(0));
    require_failure(&lab.zstart, &["rewrite", "--convert", "-f", &file], 2, &["line 6"]).await?;
    let ended = lab.rewrite(&["-f", &file]).await?;
    assert!(ended.stderr.contains("no variant"), "nothing was converted: {}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn denied_conversion_leaves_the_file_unwritten() -> Result<()> {
    let lab = Lab::start().await?;
    let app = lab.push("shop/app:v1").await?;
    let gateway = Gateway::start(&lab.registry.host()).await?;
    gateway.fault(Method::POST, "/blobs/uploads/", Fault::Respond(StatusCode::UNAUTHORIZED, vec![], "no"));
    let text = task(&app.replace(&lab.registry.host(), &gateway.host()));
    let file = lab.write("task.json", &text)?;
    let before = fs::metadata(&file)?.modified()?;
    require_failure(&lab.zstart, &["rewrite", "--convert", "-i", "-f", &file], 4, &["HTTP 401", "  error: "])
        .await?;
    assert_eq!((fs::read_to_string(&file)?, fs::metadata(&file)?.modified()?), (text, before));
    Ok(())
}
