//! etcd's keys and values, by the JSON gateway of its clients' port (etcd's documentation, "gRPC gateway").

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::baseline::{Entries, Restoration};

/// Keys of Kubernetes, and the first key after them.
const FIRST: &str = "/registry/";
const END: &str = "/registry0";
/// Writes of one transaction; etcd accepts 128 (`--max-txn-ops`).
const WRITES: usize = 100;

/// An etcd on this machine.
pub(super) struct Etcd {
    client: reqwest::Client,
    port: u16,
}

/// Answer to a range request: a field without a value is left out.
#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: String,
}

impl Etcd {
    pub(super) fn new(port: u16) -> Self {
        super::install_crypto();
        Self { client: reqwest::Client::new(), port }
    }

    /// All objects.
    pub(super) async fn read(&self) -> Result<Entries> {
        let request = json!({"key": encoded(FIRST), "range_end": encoded(END)});
        let range: Range = serde_json::from_value(self.request("range", &request).await?)?;
        let entries = range.kvs.into_iter().map(|entry| {
            let key = String::from_utf8(BASE64_STANDARD.decode(entry.key)?)?;
            Ok((key, entry.value))
        });
        entries.collect()
    }

    /// Writes a restoration. The API server sees it as it sees the writes of another API server.
    pub(super) async fn write(&self, restoration: &Restoration) -> Result<()> {
        let deletions =
            restoration.delete.iter().map(|key| json!({"request_delete_range": {"key": encoded(key)}}));
        let puts = restoration.put.iter();
        let puts = puts.map(|(key, value)| json!({"request_put": {"key": encoded(key), "value": value}}));
        let writes: Vec<Value> = deletions.chain(puts).collect();
        for writes in writes.chunks(WRITES) {
            let answer = self.request("txn", &json!({"success": writes})).await?;
            ensure!(answer["succeeded"] == true, "etcd refused to write: {answer}");
        }
        Ok(())
    }

    async fn request(&self, method: &str, body: &Value) -> Result<Value> {
        let request = self.client.post(format!("http://127.0.0.1:{}/v3/kv/{method}", self.port)).json(body);
        let answer = async { request.send().await?.error_for_status()?.json().await }.await;
        answer.with_context(|| format!("failed to ask etcd for {method}"))
    }
}

fn encoded(key: &str) -> String {
    BASE64_STANDARD.encode(key)
}
