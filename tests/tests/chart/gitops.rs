//! The examples for Argo CD and Flux: they install this chart, and the tools' own definitions accept them.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::discovery::Discovery;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use zstart_tests::chart::{Helm, find};
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::{definitions, tools};

use crate::deploy::{deploy, documents};

/// Go modules with the definitions, with the checksum of each, and the definitions' files. Flux 2.7 has these versions.
const DEFINITIONS: [(&str, &str, &str); 3] = [
    (
        "github.com/argoproj/argo-cd/v3@v3.2.0",
        "h1:m2eGAV+nXQGgzZbH5SyJD5laaPW27mzWXBrgisUHY/0=",
        "manifests/crds/application-crd.yaml",
    ),
    (
        "github.com/fluxcd/helm-controller@v1.4.0",
        "h1:rkm8rmB6Na7eNc4pJOnvtXEaJ19iKluRtayHKjBxcUM=",
        "config/crd/bases/helm.toolkit.fluxcd.io_helmreleases.yaml",
    ),
    (
        "github.com/fluxcd/source-controller@v1.7.0",
        "h1:/fBgS4CSmT5Jj/fjQDF92y+pC3gst1GJjgNSzY8Ff9I=",
        "config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",
    ),
];

fn example() -> Result<Value> {
    Ok(documents("argocd/application.yaml")?.remove(0))
}

#[tokio::test]
async fn gitops_examples_fit_the_definitions_of_their_tools() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    for (module, sum, file) in DEFINITIONS {
        let module = tools::checked_module_source(module, sum).await?;
        definitions::define_file(&client, &module.join(file)).await?;
    }
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    // Refuses unknown and duplicate fields instead of dropping them.
    let parameters = PatchParams::apply("chart-test").dry_run().validation_strict();
    let check = async |object: &Value| {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let (resource, _) = discovery.resolve_object(&object).context("unknown kind")?;
        let namespace = object.metadata.namespace.as_deref().context("no namespace")?;
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        api.patch(&object.name_any(), &parameters, &Patch::Apply(&object)).await?;
        anyhow::Ok(())
    };
    for name in ["argocd", "flux-system"] {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    }
    let objects = [vec![example()?], documents("flux/zstart.yaml")?].concat();
    assert_eq!(objects.len(), 3);
    for object in &objects {
        check(object).await.with_context(|| format!("{} was refused", object["kind"]))?;
        let mut misspelt = object.clone();
        misspelt["spec"]["intervall"] = json!("1m");
        let refused = check(&misspelt).await.err().context("a misspelt field was accepted")?;
        assert!(format!("{refused:#}").contains("intervall"), "{refused:#}");
    }
    Ok(())
}

#[tokio::test]
async fn gitops_examples_install_this_chart() -> Result<()> {
    let helm = Helm::find().await?;
    let application = example()?;
    let flux = documents("flux/zstart.yaml")?;
    let release = flux.iter().find(|object| object["kind"] == "HelmRelease").context("no HelmRelease")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("values.json");
    for (path, values) in [
        (&application["spec"]["source"]["path"], &application["spec"]["source"]["helm"]["valuesObject"]),
        (&release["spec"]["chart"]["spec"]["chart"], &release["spec"]["values"]),
    ] {
        assert!(deploy().join("..").join(path.as_str().context("no path")?).join("Chart.yaml").is_file());
        std::fs::write(&file, values.to_string())?;
        let objects = helm.render_file("zstart", &file).await?;
        // Both leave alone what the controller writes.
        for (kind, wanted) in
            [("MutatingWebhookConfiguration", "zstart"), ("ConfigMap", "zstart-controller-platforms")]
        {
            find(&objects, kind, wanted)?;
            let ignored =
                [&application["spec"]["ignoreDifferences"], &release["spec"]["driftDetection"]["ignore"]];
            for ignored in ignored.map(Value::to_string) {
                assert!(ignored.contains(&format!("\"{wanted}\"")) && ignored.contains(kind), "{ignored}");
            }
        }
    }
    Ok(())
}
