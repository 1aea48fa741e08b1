//! The chart on a real API server: it accepts every object and guards records; upgrades and uninstalls keep
//! what isn't Helm's.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::discovery::{Discovery, Scope};
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde_json::{Value, json};
use zstart_core::record::{ImageConversionSpec, record_name};
use zstart_core::{ImageConversion, Reference};
use zstart_tests::control_plane::ControlPlane;

use zstart_tests::chart::{Helm, NAMESPACE, cert_manager, chart, ci_values, set_arguments};
use zstart_tests::prometheus::operator;

mod lifecycle;
mod pods;
mod writers;

pub(crate) const CONTROLLER: &str = "system:serviceaccount:zstart-system:zstart-controller";

/// A control plane of its own with the chart installed. No controllers run, so there are no pods: these tests
/// concern objects, rights and admission.
pub(crate) struct Installation {
    plane: ControlPlane,
    helm: Helm,
    client: Client,
}

impl Installation {
    pub(crate) async fn start(sets: &[&str]) -> Result<Self> {
        Self::start_in(&[], sets).await
    }

    /// Installs the chart in a cluster that has these namespaces.
    pub(crate) async fn start_in(namespaces: &[&str], sets: &[&str]) -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let client = plane.client().await?;
        let helm = Helm::find().await?.with_kubeconfig(plane.kubeconfig());
        // The kinds of mode certManager, which cert-manager would define.
        cert_manager::define(&client).await?;
        for name in namespaces {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        }
        let installation = Self { plane, helm, client };
        installation.helm("install", "--create-namespace", sets).await?;
        Ok(installation)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn helm_client(&self) -> &Helm {
        &self.helm
    }

    pub(crate) async fn helm(&self, verb: &str, flag: &str, sets: &[&str]) -> Result<String> {
        let chart = chart();
        let arguments = [verb.as_ref(), "zstart".as_ref(), chart.as_os_str()];
        let more = ["--namespace".as_ref(), NAMESPACE.as_ref(), flag.as_ref()];
        self.helm.run(arguments, more.into_iter().chain(set_arguments(sets))).await
    }

    /// Client that impersonates a user in these groups and in `system:authenticated`.
    pub(crate) async fn user(&self, name: &str, groups: &[&str]) -> Result<Client> {
        let mut config: Config = self.plane.config().await?;
        config.auth_info.impersonate = Some(name.to_owned());
        config.auth_info.impersonate_groups = Some(groups.iter().map(|&group| group.to_owned()).collect());
        Ok(Client::try_from(config)?)
    }

    /// Gives a user every RBAC right on records, so that only the admission policy can refuse.
    async fn grant_records(&self, user: &str) -> Result<()> {
        let role: ClusterRole = serde_json::from_value(json!({
            "metadata": {"name": "record-writer"},
            "rules": [{
                "apiGroups": ["zstart.dev"],
                "resources": ["imageconversions", "imageconversions/status", "ownerholds", "freshnesssweeps"],
                "verbs": ["*"],
            }],
        }))?;
        self.apply(&role).await?;
        self.bind(user, "record-writer").await
    }

    async fn bind(&self, user: &str, role: &str) -> Result<()> {
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": format!("{user}-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }))?;
        self.apply(&binding).await
    }

    async fn apply<K>(&self, object: &K) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let parameters = PatchParams::apply("chart-test");
        Api::<K>::all(self.client.clone())
            .patch(&object.name_any(), &parameters, &Patch::Apply(object))
            .await?;
        Ok(())
    }
}

fn record(source: &str) -> Result<ImageConversion> {
    let source: Reference = source.parse()?;
    Ok(ImageConversion::new(&record_name(&source), ImageConversionSpec { source }))
}

/// Creates a record as a dry run.
async fn try_to_create(client: &Client, record: &ImageConversion) -> kube::Result<ImageConversion> {
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    Api::all(client.clone()).create(&parameters, record).await
}

/// Waits until the policy refuses a record of `client`, a user with every RBAC right on records.
async fn wait_for_policy(client: &Client, record: &ImageConversion) -> Result<()> {
    eventually("the policy is in force", async || match try_to_create(client, record).await {
        Err(kube::Error::Api(status)) if status.message.contains("ValidatingAdmissionPolicy") => Ok(true),
        Ok(_) | Err(kube::Error::Api(_)) => Ok(false),
        Err(error) => Err(error.into()),
    })
    .await
}

/// The API server's message about a refusal.
fn refusal<T>(answer: kube::Result<T>) -> Result<String> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(status.message.clone()),
        Err(error) => Err(error.into()),
        Ok(_) => bail!("the API server allowed the write"),
    }
}

/// Polls until the condition holds; the API server applies new policies and roles with a delay.
async fn eventually<F: Future<Output = Result<bool>>>(what: &str, ask: impl Fn() -> F) -> Result<()> {
    let asking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            if ask().await? {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking)
        .await
        .with_context(|| format!("waited 30 s until {what}"))?
}

#[tokio::test]
async fn rendered_objects_are_accepted_by_a_real_api_server() -> Result<()> {
    let zstart = Installation::start_in(&["monitoring"], &[]).await?;
    operator::define(&zstart.client).await?;
    let discovery = Discovery::new(zstart.client.clone()).run_aggregated().await?;
    // Refuses unknown and duplicate fields instead of dropping them.
    let parameters = PatchParams::apply("chart-test").force().dry_run().validation_strict();
    for values in ci_values()? {
        let objects = zstart.helm.render_file("zstart", &values).await?;
        // A dry run in a namespace that doesn't exist is refused.
        for namespace in objects.iter().filter(|object| object["kind"] == "Namespace") {
            zstart.apply::<Namespace>(&serde_json::from_value(namespace.clone())?).await?;
        }
        for object in objects {
            let object: DynamicObject = serde_json::from_value(object)?;
            let (resource, capabilities) =
                discovery.resolve_object(&object).with_context(|| format!("unknown kind: {object:?}"))?;
            let api: Api<DynamicObject> = match capabilities.scope {
                Scope::Cluster => Api::all_with(zstart.client.clone(), &resource),
                Scope::Namespaced => Api::namespaced_with(
                    zstart.client.clone(),
                    object.metadata.namespace.as_deref().context("the object has no namespace")?,
                    &resource,
                ),
            };
            api.patch(&object.name_any(), &parameters, &Patch::Apply(&object)).await.with_context(|| {
                format!("{}: {} {} was refused", values.display(), resource.kind, object.name_any())
            })?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn records_are_writable_by_controller_and_admins_only() -> Result<()> {
    let zstart = Installation::start(&["records.writers.groups={platform-team}"]).await?;
    zstart.grant_records("mallory").await?;
    zstart.bind("eks-administrator", "cluster-admin").await?;
    let mallory = zstart.user("mallory", &["developers"]).await?;
    let record = record("registry.example/team/app:v1")?;

    wait_for_policy(&mallory, &record).await?;
    let message = refusal(try_to_create(&mallory, &record).await)?;
    assert!(message.contains("only zstart's controller and cluster administrators may write"), "{message}");
    assert!(message.contains("mallory is neither"), "{message}");
    assert!(message.contains("records.writers"), "{message}");

    // The controller writes as in production: by server-side apply, record and status.
    let controller: Api<ImageConversion> = Api::all(zstart.user(CONTROLLER, &[]).await?);
    let apply = PatchParams::apply("zstart-controller");
    let name = record.name_any();
    controller.patch(&name, &apply, &Patch::Apply(&record)).await?;
    let status = json!({
        "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion", "status": {"observedGeneration": 1},
    });
    controller.patch_status(&name, &apply, &Patch::Apply(&status)).await?;

    // Mallory can't change or delete records, singly or as a collection, nor forge their status.
    let hers: Api<ImageConversion> = Api::all(mallory);
    let merge = PatchParams::default();
    let label = Patch::Merge(json!({"metadata": {"labels": {"hers": "true"}}}));
    refusal(hers.patch(&name, &merge, &label).await)?;
    refusal(
        hers.patch_status(&name, &merge, &Patch::Merge(json!({"status": {"observedGeneration": 2}}))).await,
    )?;
    refusal(hers.delete(&name, &DeleteParams::default()).await)?;
    refusal(hers.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await)?;
    let kept = controller.get(&name).await?;
    assert_eq!(kept.status.and_then(|status| status.observed_generation), Some(1));

    // Three kinds of administrators.
    zstart.bind("colleague", "record-writer").await?;
    for (user, groups) in [
        ("root", ["system:masters"]),
        ("eks-administrator", ["access-entry"]),
        ("colleague", ["platform-team"]),
    ] {
        let client = zstart.user(user, &groups).await?;
        try_to_create(&client, &crate::server::record("registry.example/team/app:v2")?)
            .await
            .with_context(|| format!("{user} of {groups:?} was refused"))?;
    }
    Ok(())
}

#[tokio::test]
async fn upgrade_keeps_the_ca_bundle_of_the_controller() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    let controller: Api<MutatingWebhookConfiguration> = Api::all(zstart.user(CONTROLLER, &[]).await?);
    let authority = rcgen::generate_simple_self_signed(["zstart".to_owned()])?.cert.pem();
    let bundle = ByteString(authority.into_bytes());
    let patch: Value = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "webhooks": [{"name": "pods.zstart.dev", "clientConfig": {"caBundle": bundle}}],
    });
    controller.patch("zstart", &PatchParams::apply("zstart-controller"), &Patch::Apply(&patch)).await?;

    // A changed port changes the key of a list, which could leave the old port in the pod.
    for (flag, timeout, port) in [("--server-side=true", 1, 10250), ("--server-side=false", 2, 8443)] {
        let sets = [format!("webhook.timeoutSeconds={timeout}"), format!("webhook.port={port}")];
        zstart.helm("upgrade", flag, &[&sets[0], &sets[1]]).await?;
        let deployments: Api<Deployment> = Api::namespaced(zstart.client.clone(), NAMESPACE);
        let pod = deployments.get("zstart-webhook").await?.spec.and_then(|spec| spec.template.spec);
        let ports = pod.and_then(|mut pod| pod.containers.pop()).and_then(|container| container.ports);
        let ports = ports.into_iter().flatten().map(|port| port.container_port);
        assert_eq!(ports.collect::<BTreeSet<_>>(), BTreeSet::from([port, 8080]), "{flag}");
        let webhooks = controller.get("zstart").await?.webhooks.unwrap_or_default();
        assert_eq!(webhooks.len(), 1);
        assert_eq!(webhooks[0].timeout_seconds, Some(timeout), "{flag}");
        assert_eq!(webhooks[0].client_config.ca_bundle.as_ref(), Some(&bundle), "{flag}");
        assert!(webhooks[0].client_config.service.is_some(), "{flag}");
    }
    Ok(())
}

#[tokio::test]
async fn upgrade_notes_say_how_a_level_is_applied() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    let notes = zstart.helm("upgrade", "--server-side=true", &["controller.level=9"]).await?;
    assert!(notes.contains("The zstd level is 9.") && notes.contains("zstart reconvert --all"), "{notes}");
    Ok(())
}

#[tokio::test]
async fn uninstall_keeps_records_and_removes_the_rest() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    let records: Api<ImageConversion> = Api::all(zstart.client.clone());
    let record = record("registry.example/team/app:v1")?;
    records.create(&PostParams::default(), &record).await?;

    zstart.helm.run(["uninstall", "zstart", "--namespace", NAMESPACE], [] as [&str; 0]).await?;
    records.get(&record.name_any()).await.context("the record is gone")?;
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(zstart.client.clone());
    assert!(webhooks.get_opt("zstart").await?.is_none());
    let roles: Api<ClusterRole> = Api::all(zstart.client.clone());
    assert!(roles.get_opt("zstart-controller").await?.is_none());
    let namespaces: Api<Namespace> = Api::all(zstart.client.clone());
    assert!(
        namespaces.get_opt(NAMESPACE).await?.is_some(),
        "helm keeps a namespace created by --create-namespace"
    );

    // The next installation adopts the definition.
    zstart.helm("install", "--create-namespace", &[]).await?;
    records.get(&record.name_any()).await.context("the record is gone")?;
    Ok(())
}
