//! How much memory a conversion takes.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use tokio::sync::Notify;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway};

use crate::command::Zstart;

/// The most that the program may have had at once, in KiB. Here it is built without optimisation; the one
/// that users have takes 5 to 10 MiB less. (Measured: 46 to 49 MiB at the first place, 57 to 63 at the second;
/// 66 and 81 where the encoder gives less at a time than it takes.)
const MAX_KIB: u64 = 72 << 10;
/// Longer than it can take.
const WITHIN: Duration = Duration::from_mins(1);
/// How often it is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Encrypted or compressed files, as far as encoders can tell.
fn noise(size: usize) -> Vec<u8> {
    let words = (1..).scan(0x9e37_79b9_7f4a_7c15_u64, |state, number: u64| {
        *state = (*state ^ (*state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(number);
        Some((*state ^ (*state >> 32)).to_le_bytes())
    });
    words.flatten().take(size).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_layers_stay_within_the_memory_limit() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let gateway = Gateway::start(&registry.host()).await?;
    // The first is encoded in jobs, nothing of it gets smaller; the others side by side.
    let mut image = Fixture::new();
    for size in [48 << 20, 20 << 20, 19 << 20] {
        image = image.layer(&[("noise", &noise(size))]);
    }
    image.push(&registry.host(), "app:v1").await?;
    for (method, part) in [(Method::PATCH, "/blobs/uploads/"), (Method::PUT, "/manifests/")] {
        let arrived = Arc::new(Notify::new());
        gateway.fault(method.clone(), part, Fault::stalled(&arrived));
        let name = format!("{}/app:v1", gateway.host());
        let mut command = zstart.command(&["convert", &name, "--no-layer-cache"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let id = child.id().context("it runs")?;
        tokio::time::timeout(WITHIN, arrived.notified()).await.with_context(|| format!("{method} {part}"))?;
        tokio::time::timeout(WITHIN, wait_until_idle(id)).await.context("until it stands still")??;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        assert!(peak < MAX_KIB, "{peak} KiB at {method} {part}");
        gateway.clear_faults();
    }
    Ok(())
}

/// Until a process has taken no processor time from one look to the next.
async fn wait_until_idle(id: u32) -> Result<()> {
    let mut before = None;
    loop {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // User and system time are the 14th and 15th fields, and the second one may hold spaces (proc(5)).
        let (_, fields) = stat.rsplit_once(") ").context("a name in brackets")?;
        let taken: Vec<String> = fields.split(' ').skip(11).take(2).map(ToOwned::to_owned).collect();
        if before.as_ref() == Some(&taken) {
            return Ok(());
        }
        before = Some(taken);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
