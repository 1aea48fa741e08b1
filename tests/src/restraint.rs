//! `make restraint`: requests, events and writes about images that can't be converted, in half an hour.
//!
//! One image is in a registry that permits no push. Many more are in a registry that closes each connection. API
//! server, registry and controller are real.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::{Method, StatusCode};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use zstart_core::{ImageConversion, keys};

use crate::api_requests::Requests;
use crate::chart::NAMESPACE as SYSTEM;
use crate::control_plane::ControlPlane;
use crate::definitions;
use crate::images::Fixture;
use crate::ports::free_ports;
use crate::process::Component;
use crate::registry::Registry;
use crate::registry::gateway::{Fault, Gateway};
use crate::steps::step;
use crate::table::table;
use crate::wait;

/// Opted-in namespace of all workloads.
const NAMESPACE: &str = "shop";
/// Concurrent writes. The API server doesn't limit the administrator's requests (priority level `exempt`).
const CONCURRENT_WRITES: usize = 16;
/// Time limit for the records of all images.
const WITHIN: Duration = Duration::from_mins(10);

/// Options of the measurement.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The program zstart-controller.
    #[arg(long, value_name = "FILE")]
    pub controller: PathBuf,
    /// Images in the registry that closes each connection.
    #[arg(long, default_value_t = 1_000)]
    pub images: usize,
    /// Rows of the report.
    #[arg(long, default_value_t = 6)]
    pub rows: usize,
    /// Seconds of each row.
    #[arg(long, default_value_t = 300)]
    pub seconds: u64,
}

/// Numbers since the start of the controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Time since the start.
    pub elapsed: Duration,
    /// HEAD requests to the registry that permits no push.
    pub heads: usize,
    /// GET requests for manifests and blobs, which may count as pulls.
    pub pulls: usize,
    /// Other GET requests to it: the API's version, and lists of tags.
    pub others: usize,
    /// Attempts to push to it.
    pub pushes: usize,
    /// Connections that the other registry closed.
    pub connections: usize,
    /// Events of the controller.
    pub events: usize,
    /// Writes of records and their statuses.
    pub record_writes: u64,
}

/// A registry that closes each connection.
struct DeadRegistry {
    host: String,
    connections: Arc<AtomicUsize>,
    _server: AbortOnDropHandle<()>,
}

impl DeadRegistry {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let host = listener.local_addr()?.to_string();
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        let server = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self { host, connections, _server: AbortOnDropHandle::new(server) })
    }
}

/// Measures the program, and returns a row for each interval.
pub async fn run(options: &Options) -> Result<Vec<Row>> {
    let Options { controller, images, rows, seconds } = options;
    ensure!(controller.is_file(), "the program {} is missing: run `make restraint`", controller.display());
    let (plane, registry) = step("starting an API server and a registry", async {
        tokio::try_join!(ControlPlane::start(), Registry::start())
    })
    .await?;
    let gateway = Gateway::start(&registry.host()).await?;
    let denied = r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#;
    gateway.fault(Method::POST, "/blobs/uploads/", Fault::Respond(StatusCode::FORBIDDEN, vec![], denied));
    let dead = DeadRegistry::start().await?;
    Fixture::new().layer(&[("etc/app", b"app")]).push(&registry.host(), "app:v1").await?;
    let client = plane.client().await?;
    set_up(&client).await?;
    step(&format!("creating {} Deployments", images + 1), async {
        deploy(&client, "unpushable", &format!("{}/app:v1", gateway.host())).await?;
        let all = stream::iter(0..*images).map(|number| {
            let (client, image) = (&client, format!("{}/app-{number}:v1", dead.host));
            async move { deploy(client, &format!("dead-{number}"), &image).await }
        });
        all.buffer_unordered(CONCURRENT_WRITES).try_collect::<()>().await
    })
    .await?;
    let before = Requests::read(&client).await?;
    let started = Instant::now();
    let registries = [gateway.host(), dead.host.clone()];
    let _controller = start(controller, &plane, &registries)?;
    step("waiting for all records", async {
        let records = Api::<ImageConversion>::all(client.clone());
        wait::until("all records", WITHIN, || async {
            let found = records.list_metadata(&ListParams::default()).await?.items.len();
            Ok((found == images + 1).then_some(()))
        })
        .await
    })
    .await?;
    let mut report = Vec::new();
    for number in 1..=*rows {
        let end = Duration::from_secs(seconds * u64::try_from(number)?);
        step(&format!("measuring until {} s after the start", end.as_secs()), async {
            tokio::time::sleep(end.saturating_sub(started.elapsed())).await;
            Ok(())
        })
        .await?;
        let calls = gateway.calls();
        let count = |methods: &[&str]| {
            calls.iter().filter(|call| methods.iter().any(|method| call.starts_with(method))).count()
        };
        let is_pull = |call: &&String| call.contains("/manifests/") || call.contains("/blobs/");
        let pulls = calls.iter().filter(|call| call.starts_with("GET ")).filter(is_pull).count();
        report.push(Row {
            elapsed: started.elapsed(),
            heads: count(&["HEAD "]),
            pulls,
            others: count(&["GET "]) - pulls,
            pushes: count(&["POST ", "PUT ", "PATCH "]),
            connections: dead.connections.load(Ordering::Relaxed),
            events: events(&client).await?,
            record_writes: Requests::read(&client).await?.since(&before).writes("imageconversions"),
        });
    }
    Ok(report)
}

/// Counts the controller's events.
async fn events(client: &Client) -> Result<usize> {
    let events = Api::<Event>::all(client.clone()).list(&ListParams::default()).await?;
    Ok(events.iter().filter(|event| event.reporting_controller.as_deref() == Some(keys::CONTROLLER)).count())
}

/// Formats the rows.
pub fn text(options: &Options, rows: &[Row]) -> String {
    let head =
        ["minutes", "HEAD", "pulls", "other GET", "push attempts", "connections", "events", "record writes"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for Row { elapsed, heads, pulls, others, pushes, connections, events, record_writes } in rows {
        let minutes = format!("{:.1}", elapsed.as_secs_f64() / 60.0);
        let numbers =
            [*heads, *pulls, *others, *pushes, *connections, *events].map(|number| number.to_string());
        cells.push([vec![minutes], numbers.to_vec(), vec![record_writes.to_string()]].concat());
    }
    format!(
        "\nSince the start of the controller: requests about an image whose registry permits no push; connections \
         to a registry that closes them, of {} images; events; writes of records and their statuses\n\n{}\n",
        options.images,
        table(&cells)
    )
}

/// Creates zstart's definitions, namespaces and a node.
async fn set_up(client: &Client) -> Result<()> {
    definitions::define(client).await?;
    let labels = json!({"zstart.dev/rewrite": "enabled"});
    let namespaces = Api::<Namespace>::all(client.clone());
    create(&namespaces, json!({"metadata": {"name": SYSTEM}})).await?;
    create(&namespaces, json!({"metadata": {"name": NAMESPACE, "labels": labels}})).await?;
    let labels = json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
    create::<Node>(&Api::all(client.clone()), json!({"metadata": {"name": "a", "labels": labels}})).await
}

async fn deploy(client: &Client, name: &str, image: &str) -> Result<()> {
    let labels = json!({"app": name});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}});
    let spec = json!({"selector": {"matchLabels": labels}, "template": template});
    let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
    create(&deployments, json!({"metadata": {"name": name}, "spec": spec})).await
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let created = api.create(&PostParams::default(), &serde_json::from_value(object)?).await;
    created.map(drop).with_context(|| format!("failed to create a {}", K::kind(&())))
}

/// Starts the controller with its default settings.
fn start(program: &Path, plane: &ControlPlane, registries: &[String]) -> Result<Component> {
    let [port] = free_ports()?;
    let config = plane.folder().join("controller.yaml");
    let registries = json!(registries);
    std::fs::write(
        &config,
        format!(
            "healthListen: 127.0.0.1:{port}\nrotateCertificates: false\nplainHttpRegistries: {registries}\n"
        ),
    )?;
    Component::start("zstart-controller", plane.folder(), program, |command| {
        command.arg("--config").arg(&config).env("KUBECONFIG", plane.kubeconfig());
        command.env("POD_NAMESPACE", SYSTEM).env("POD_NAME", "zstart-controller-0")
    })
}
