//! An API server that is away, or silent.

use anyhow::Result;
use zstart_tests::tcp_proxy::TcpProxy;
use zstart_tests::wait;

use crate::installation::{Installation, WITHIN};
use crate::records::{pod, record, variant_of};
use crate::{APP, image};

#[tokio::test(flavor = "multi_thread")]
async fn old_data_is_not_believed_until_it_is_confirmed() -> Result<()> {
    let (zstart, first) = Installation::with_webhook().await?;
    zstart.record(&record(APP)).await?;
    first.stop().await?;
    let mut proxy = TcpProxy::start(zstart.api_server().await?).await?;
    // An API server sends a bookmark about once a minute, so each pause between two is too long here.
    let webhook = zstart.start_through("maxCacheAge: 10s", &proxy).await?;
    webhook.wait_until_ready().await?;
    zstart.point_webhook_to(webhook.https).await?;
    zstart.wait_until_rewritten(APP).await?;

    // Watches are cut, and can't be opened again.
    proxy.stop().await;
    wait::until("the webhook's data to be old", WITHIN, || async {
        let made = zstart.pod("on", &pod(APP)).await?;
        Ok((image(&made) == APP).then_some(()))
    })
    .await?;
    assert_eq!(webhook.decisions("CacheStale").await?, 1);
    let (_, metrics) = webhook.get("/metrics").await?;
    assert!(metrics.contains("zstart_webhook_cache_age_seconds{resource=\"nodes\"} 1"), "{metrics}");

    // The watches recover alone.
    proxy.restart().await?;
    zstart.wait_until_rewritten(APP).await?;
    assert_eq!(image(&zstart.pod("on", &pod(APP)).await?), variant_of(APP));
    webhook.stop().await
}
