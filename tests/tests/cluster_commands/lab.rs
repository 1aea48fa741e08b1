//! An API server with the chart installed by helm, and the webhook as a process. No kubelet and no controller runs:
//! the lab writes the status of Deployments and the endpoints, and the Service leads to loopback.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use zstart_tests::chart::{Helm, NAMESPACE, chart};
use zstart_tests::cluster::built_binaries;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::ports::free_ports;
use zstart_tests::wait;

use crate::objects;

/// Start of a program, and delivery of an object to caches.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);
/// Name by which the API server calls the webhook.
const HOST: &str = "zstart-webhook.zstart-system.svc";

/// A cluster, and the built programs.
pub(crate) struct Lab {
    plane: ControlPlane,
    pub(crate) admin: Client,
    programs: PathBuf,
    kubeconfig: PathBuf,
}

/// An installation whose checks all pass.
pub(crate) struct Installation {
    pub(crate) lab: Lab,
    pub(crate) webhook: Child,
    pub(crate) authority: Authority,
}

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// Exit code and output of the program.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    /// Starts an API server without zstart, and with one node.
    pub(crate) async fn start() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let admin = plane.client().await?;
        let programs = built_binaries()?;
        let program = programs.join("zstart");
        ensure!(program.is_file(), "{} is missing: run `make build`", program.display());
        let kubeconfig = plane.kubeconfig().to_owned();
        let lab = Self { plane, admin, programs, kubeconfig };
        lab.create(None, objects::node("node-1", "containerd://2.1.6")).await?;
        Ok(lab)
    }

    /// Creates an object of any kind.
    pub(crate) async fn create(&self, namespace: Option<&str>, object: Value) -> Result<()> {
        let word = |key: &str| object[key].as_str().map(str::to_owned).context("no kind or version");
        let (version, kind) = (word("apiVersion")?, word("kind")?);
        let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.admin.clone(), namespace, &resource),
            None => Api::all_with(self.admin.clone(), &resource),
        };
        let object: DynamicObject = serde_json::from_value(object)?;
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("failed to create a {kind}"))?;
        Ok(())
    }

    pub(crate) async fn namespace(&self, name: &str, label: &str) -> Result<()> {
        let metadata = json!({"name": name, "labels": {"zstart.dev/rewrite": label}});
        self.create(None, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).await
    }

    /// Creates a ready record of an image, and returns the reference of its variant.
    pub(crate) async fn record(&self, source: &str) -> Result<String> {
        let (record, variant) = objects::record(source)?;
        let name = record["metadata"]["name"].as_str().context("no name")?.to_owned();
        let status = json!({"status": record["status"]});
        self.create(None, record).await?;
        let records: Api<zstart_core::ImageConversion> = Api::all(self.admin.clone());
        records.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(variant)
    }

    /// Writes a kubeconfig file that impersonates a user.
    fn kubeconfig_of(&self, user: &str) -> Result<PathBuf> {
        let mut config: Value = serde_json::from_slice(&std::fs::read(self.plane.kubeconfig())?)?;
        config["users"][0]["user"]["as"] = json!(user);
        let path = self.plane.folder().join(format!("{}.kubeconfig", user.replace(':', "-")));
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Lets later commands run as a user without rights of its own.
    pub(crate) fn impersonate(&mut self, user: &str) -> Result<()> {
        self.kubeconfig = self.kubeconfig_of(user)?;
        Ok(())
    }

    /// Lets later commands use this kubeconfig.
    pub(crate) fn with_kubeconfig(self, content: &Value) -> Result<Self> {
        let kubeconfig = self.file("other.kubeconfig", content)?.into();
        Ok(Self { kubeconfig, ..self })
    }

    /// Path of a file with this content.
    pub(crate) fn file(&self, name: &str, content: &Value) -> Result<String> {
        let path = self.plane.folder().join(name);
        std::fs::write(&path, content.to_string())?;
        Ok(path.display().to_string())
    }

    /// Runs `zstart` with these arguments.
    pub(crate) async fn zstart(&self, arguments: &[&str]) -> Result<Finished> {
        let mut command = Command::new(self.programs.join("zstart"));
        command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.env("HOME", self.plane.folder()).env("KUBECONFIG", &self.kubeconfig);
        let output = command.output().await.context("failed to start zstart")?;
        let text = |bytes| String::from_utf8(bytes);
        Ok(Finished {
            code: output.status.code(),
            stdout: text(output.stdout)?,
            stderr: text(output.stderr)?,
        })
    }

    /// Runs `zstart check` until the check `name` has this outcome, and returns the exit code and the report.
    pub(crate) async fn check_until(&self, name: &str, outcome: &str) -> Result<(Option<i32>, Value)> {
        wait::until(format!("check {name} to be {outcome}"), WITHIN, || async {
            let ended = self.zstart(&["check", "--output", "json"]).await?;
            let report: Value = serde_json::from_str(&ended.stdout).with_context(|| format!("{ended:#?}"))?;
            let found = find(&report, name);
            ensure!(found.is_some_and(|check| check["outcome"] == outcome), "{report:#}");
            Ok(Some((ended.code, report)))
        })
        .await
    }
}

/// Finds a check in a report.
pub(crate) fn find<'a>(report: &'a Value, name: &str) -> Option<&'a Value> {
    let sections = report["sections"].as_array()?.iter();
    sections.filter_map(|section| section["checks"].as_array()).flatten().find(|check| check["name"] == name)
}

/// Creates an authority for the webhook's certificate.
pub(crate) fn authority() -> Result<Authority> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?)
}

impl Installation {
    /// Installs the chart, starts the webhook, and opts the namespace `on` in.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with("controller.executor=pool").await
    }

    /// Installs the chart with `--set` values.
    pub(crate) async fn start_with(sets: &str) -> Result<Self> {
        let lab = Lab::start().await?;
        let [port, health] = free_ports()?;
        let helm = Helm::find().await?.with_kubeconfig(lab.plane.kubeconfig());
        let (chart, ports) = (chart(), format!("webhook.port={port},webhook.healthPort={health}"));
        let options =
            ["--create-namespace", "--namespace", NAMESPACE, "--set", ports.as_str(), "--set", sets];
        helm.run(["install", "zstart"].into_iter().chain(options), [chart.as_os_str()]).await?;
        lab.namespace("on", "enabled").await?;
        let authority = authority()?;
        lab.write_certificate(&authority).await?;
        lab.redirect_service(port).await?;
        lab.report_available().await?;
        let webhook = lab.start_webhook().await?;
        let installation = Self { lab, webhook, authority };
        installation.trust(&installation.authority).await?;
        wait::until("the webhook to be ready", WITHIN, || async {
            let answer = reqwest::get(format!("http://127.0.0.1:{health}/readyz")).await?;
            Ok((answer.status() == 200).then_some(()))
        })
        .await?;
        Ok(installation)
    }

    /// Writes an authority into the webhook configuration's `caBundle`.
    pub(crate) async fn trust(&self, authority: &Authority) -> Result<()> {
        let bundle = STANDARD.encode(authority.pem());
        self.lab.change_webhook(&json!({"clientConfig": {"caBundle": bundle}})).await
    }
}

impl Lab {
    async fn write_certificate(&self, authority: &Authority) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(vec![HOST.to_owned()])?;
        // rcgen's default certificates are valid for millennia.
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2126, 1, 1);
        let certificate = parameters.signed_by(&key, authority)?;
        let data = json!({"tls.crt": certificate.pem(), "tls.key": key.serialize_pem()});
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "zstart-webhook-tls"},
            "type": "kubernetes.io/tls", "stringData": data,
        });
        self.create(Some(NAMESPACE), secret).await
    }

    /// Replaces the Service by one that the API server resolves without a kube-proxy: `ResolveCluster` in
    /// k8s.io/apiserver takes the external name and the port of the webhook configuration.
    async fn redirect_service(&self, port: u16) -> Result<()> {
        let services: Api<Service> = Api::namespaced(self.admin.clone(), NAMESPACE);
        services.delete("zstart-webhook", &DeleteParams::default()).await?;
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "zstart-webhook"},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        });
        self.create(Some(NAMESPACE), service).await?;
        self.change_webhook(&json!({"clientConfig": {"service": {"port": port}}})).await?;
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "zstart-webhook-1", "labels": {"kubernetes.io/service-name": "zstart-webhook"}},
            "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        });
        self.create(Some(NAMESPACE), slice).await
    }

    /// Writes the status that the Deployment controller would write.
    async fn report_available(&self) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.admin.clone(), NAMESPACE);
        for (name, replicas) in [("zstart-controller", 1), ("zstart-webhook", 2)] {
            let status = json!({"status": {
                "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
            }});
            deployments.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        }
        Ok(())
    }

    async fn change_webhook(&self, members: &Value) -> Result<()> {
        let mut webhook = members.clone();
        webhook["name"] = json!("pods.zstart.dev");
        let patch = Patch::Strategic(json!({"webhooks": [webhook]}));
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(self.admin.clone());
        configurations.patch("zstart", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Starts the webhook with the chart's settings and rights, on loopback.
    async fn start_webhook(&self) -> Result<Child> {
        let maps: Api<ConfigMap> = Api::namespaced(self.admin.clone(), NAMESPACE);
        let data = maps.get("zstart-webhook").await?.data.unwrap_or_default();
        let config = data.get("config.yaml").context("no config.yaml")?.replace("0.0.0.0", "127.0.0.1");
        let file = self.plane.folder().join("webhook.yaml");
        std::fs::write(&file, config)?;
        let log = std::fs::File::create(self.plane.folder().join("webhook.log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(self.programs.join("zstart-webhook"));
        command.arg("--config").arg(file).args(["--namespace", NAMESPACE]);
        let user = format!("system:serviceaccount:{NAMESPACE}:zstart-webhook");
        command.env("KUBECONFIG", self.kubeconfig_of(&user)?).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        command.spawn().context("failed to start zstart-webhook with setpriv")
    }
}
