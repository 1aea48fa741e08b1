//! Output that nothing reads.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde_json::json;
use zstart_tests::wait;

use crate::installation::{Installation, Registration, WITHIN};
use crate::program::Program;
use crate::records::{pod, record, variant_of};

const APP: &str = "r.example/app:v1";

#[tokio::test(flavor = "multi_thread")]
async fn webhook_with_an_unread_log_pipe_answers() -> Result<()> {
    let zstart = Installation::ready_for_webhook().await?;
    let program = Program::new(&zstart, "drain: {grace: 0s}")?;
    let webhook = program.start(Stdio::piped).await?;
    zstart.register_webhook(program.https, Registration::default()).await?;
    zstart.record(&record(APP)).await?;
    zstart.wait_until_rewritten(APP).await?;

    // Each request logs a line of 4 KB. A pipe holds 64 KiB, and the webhook 1 MiB.
    let root = reqwest::Certificate::from_pem(zstart.authority.pem().as_bytes())?;
    let client = reqwest::Client::builder().tls_certs_only([root]).timeout(WITHIN).build()?;
    let malformed = json!({"apiVersion": "x".repeat(4000), "kind": "AdmissionReview"}).to_string();
    for _ in 0..1_000 {
        let url = format!("https://{}/mutate", program.https);
        let answer = client.post(url).body(malformed.clone()).send().await.context("no answer")?;
        assert_eq!(answer.status(), 400);
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(webhook.get(path).await?.0, 200, "{path}");
    }
    let made = zstart.pod("on", &pod(APP)).await?;
    assert_eq!(made["spec"]["containers"][0]["image"], json!(variant_of(APP)));
    wait::until("dropped lines to be counted", WITHIN, || async {
        let (_, text) = webhook.get("/metrics").await?;
        let count =
            text.lines().find_map(|line| line.strip_prefix("zstart_webhook_log_lines_dropped_total "));
        Ok(count.context("no metric")?.parse::<u64>().is_ok_and(|count| count > 100).then_some(()))
    })
    .await?;
    // The exit doesn't wait for a reader either.
    assert!(webhook.stop().await?.success());
    Ok(())
}
