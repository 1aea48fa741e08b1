//! Registries that send false or malformed responses, one fault per test. Each conversion must end with an
//! error that says what is wrong, in time and in little memory, with nothing tagged and the password sent to
//! the registry only.

use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};
use zstart_convert::ErrorClass;
use zstart_core::Digest;
use zstart_registry::{Backoff, MinThroughput, RegistryOptions, RetryPolicy, Timeouts};
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::Registry;
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};
use zstart_tests::registry::repository_reader::{RepositoryReader, text};

use crate::conversion::Conversion;

mod layers;
mod manifests;
mod protocol;
mod redirects;
mod tokens;
mod uploads;

/// Password that only the registry may receive.
const PASSWORD: &str = "very-secret";
/// Maximum duration of a conversion with the time-outs below.
const MAX_DURATION: Duration = Duration::from_secs(30);
/// Memory limit of the process, in KiB. (Measured: 18 to 47 MiB, without optimisation.)
const MEMORY_KIB: u64 = 64 << 10;

/// A registry with an image, a fault server in front of it, and another host as the target of redirects.
struct HostileLab {
    registry: Registry,
    server: RawFaultServer,
    other_host: RawFaultServer,
    source: Value,
    source_digest: Digest,
}

/// Timeouts and retries for registries that misbehave on purpose.
fn impatient() -> RegistryOptions {
    let backoff = Backoff { initial: Duration::from_millis(20), max: Duration::from_secs(10) };
    RegistryOptions {
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            read_idle: Duration::from_millis(400),
            response: Duration::from_millis(800),
            write_idle: Duration::from_millis(800),
        },
        min_throughput: MinThroughput { bytes: 20 << 10, window: Duration::from_millis(300) },
        retry: RetryPolicy { backoff, attempts: 4 },
        ..RegistryOptions::default()
    }
}

impl HostileLab {
    async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        let image = Fixture::new()
            .large_layer("usr/bin/app", 300_000)
            .layer_as(Compression::Zstd, &[("etc/zstd", b"zstd ".repeat(300).as_slice())]);
        let source_digest = image.push(&registry.host(), "app:v1").await?;
        let server = RawFaultServer::start(&registry.host()).await?;
        let other_host = RawFaultServer::start(&registry.host()).await?;
        let source = RepositoryReader::new(&registry, "app").manifest("v1").await?.json;
        Ok(Self { registry, server, other_host, source, source_digest })
    }

    /// The digest of the gzip layer.
    fn layer(&self) -> &str {
        text(&self.source["layers"][0]["digest"]).expect("a digest")
    }

    fn config(&self) -> &str {
        text(&self.source["config"]["digest"]).expect("a digest")
    }

    /// URL on another host than the registry's: the name differs, the machine doesn't.
    fn other_host_url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.other_host.port())
    }

    /// Sends this response to reads of this path.
    fn respond_to_get(&self, path_part: &str, head: &[&str], body: &[u8]) {
        self.respond(Method::GET, path_part, RawResponse::Send(http_response(head, body)));
    }

    fn respond(&self, method: Method, path_part: &str, response: RawResponse) {
        self.server.respond(method, path_part, response);
    }

    /// Requires that the conversion fails with an error of this class that contains all these texts, in time
    /// and without a side effect.
    async fn fails_with(&self, class: ErrorClass, expected: &[&str]) -> Result<()> {
        let conversion = Conversion::of(&format!("{}/app:v1", self.server.host()));
        let conversion = conversion.login("user", PASSWORD).options(impatient());
        let ended = tokio::time::timeout(MAX_DURATION, conversion.run()).await;
        let error =
            ended.context("the conversion exceeded its time limit")?.expect_err("the conversion succeeded");
        let chain = error.chain();
        assert_eq!(error.class(), class, "{chain}");
        for text in expected {
            assert!(chain.contains(text), "{text:?} is not in: {chain}");
        }
        assert!(!chain.contains(PASSWORD) && chain.len() < 2000, "{chain}");
        assert!(!chain.contains(char::is_control), "{chain:?}");
        self.require_harmless().await
    }

    async fn require_harmless(&self) -> Result<()> {
        let stored = RepositoryReader::new(&self.registry, "app");
        assert_eq!(stored.tags().await?, ["v1"]);
        assert_eq!(stored.digest("v1").await?, self.source_digest);
        for head in self.other_host.request_heads() {
            assert!(!head.contains("authorization") && !head.contains(PASSWORD), "sent elsewhere: {head}");
        }
        let status = std::fs::read_to_string("/proc/self/status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        assert!(peak < MEMORY_KIB, "{peak} KiB of memory at the peak");
        Ok(())
    }

    /// Requests to the other host, as `method /path`.
    fn requests_to_other_host(&self) -> Vec<String> {
        let request_heads = self.other_host.request_heads();
        request_heads
            .iter()
            .filter_map(|head| head.split(" http/1.1").next().map(ToOwned::to_owned))
            .collect()
    }
}

/// The image's manifest with members added or replaced.
fn manifest_with(source: &Value, members: &Value) -> Vec<u8> {
    let mut manifest = source.clone();
    for (name, value) in members.as_object().into_iter().flatten() {
        manifest[name] = value.clone();
    }
    json!(manifest).to_string().into_bytes()
}
