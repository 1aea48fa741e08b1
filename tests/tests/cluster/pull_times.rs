//! Pull times that real kubelets report.

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use serde_json::json;
use zstart_core::record::MeasuredPulls;
use zstart_tests::{cluster, wait};

use crate::shop::{NAMESPACE, PLAIN, Shop, WITHIN, deployment_of, images, pod, source};

const APP: &str = "measured";

/// One node pulls the original for a namespace that isn't opted in, another one the variant.
async fn measure(mut shop: Shop) -> Result<()> {
    let joined = shop.cluster.join_node().await?;
    let digest = shop.push(APP, "measured").await?;
    let container = json!({"name": "app", "image": source(APP), "imagePullPolicy": "IfNotPresent"});
    let not_joined = json!({"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [joined]});
    let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [not_joined]}]});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
    let spec = json!({"containers": [container], "affinity": affinity});
    shop.apply(&deployment_of(APP, 0, &spec))?;
    let variant = shop.variant(APP, &digest).await?;
    shop.looked_at(APP, &[APP]).await?;
    let mut plain = pod(PLAIN, APP, &json!({"app": APP}), &container);
    plain["spec"]["nodeName"] = json!(joined);
    shop.create(&plain)?;
    shop.running(PLAIN, APP, 1, |pod| images(pod) == [&source(APP)]).await?;
    shop.kubectl(&["scale", "deployment", APP, "--replicas=1"])?;
    let pods = shop.running(NAMESPACE, APP, 1, |pod| images(pod) == [&variant]).await?;
    let pulls = shop.cluster.pulls(NAMESPACE, &pods[0].name_any()).await?;
    ensure!(pulls.len() == 1 && pulls[0].image == variant, "{pulls:?}");

    let measured = wait::until("the measured pulls", WITHIN, || async {
        let measured = shop.record(APP).await?.and_then(|status| status.pulls);
        Ok(measured.filter(|measured| measured.original.is_some() && measured.variant.is_some()))
    });
    let measured = measured.await.with_context(|| shop.diagnostics())?;
    let MeasuredPulls { source_digest, original: Some(original), variant: Some(pulled), summary } = measured
    else {
        unreachable!("both are there")
    };
    assert_eq!((source_digest, original.pulls, pulled.pulls, &*summary.saved), (digest, 1, 1, "too few"));
    let reported = i64::try_from(pulls[0].duration.as_millis())?;
    assert_eq!(pulled.median_milliseconds, reported, "the time in the kubelet's event");
    ensure!(original.image_bytes.is_some_and(|bytes| bytes > 0), "{original:?}");
    ensure!(pulled.image_bytes < original.image_bytes, "{original:?} {pulled:?}");
    let table = shop.cluster.kubectl(&["get", "imgconv", "--output", "wide"])?;
    shop.say(&format!("kubectl get imgconv --output wide\n{table}"));
    for text in ["GZIP PULL", "ZSTD PULL", "PULL SAVED", "too few", &*summary.original, &*summary.variant] {
        ensure!(table.contains(text), "{text} is missing:\n{table}");
    }
    Ok(())
}

#[test]
#[ignore = "takes most of a minute; make scenarios runs it"]
fn pulls_by_two_nodes_are_on_the_record() {
    cluster::run("pull_times::pulls_by_two_nodes_are_on_the_record", |cluster| async move {
        measure(Shop::open(cluster, &[])?).await
    });
}
