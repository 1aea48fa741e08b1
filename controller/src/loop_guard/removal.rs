//! Question whether a pod that left the watch of unfinished pods was deleted or finished.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, VersionMatch};
use kube::{Api, Client, ResourceExt as _};
use zstart_core::chain;

/// Time limit for the answer. The pod's watch waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Returns whether a pod existed after it had left the watch. An owner deletes a failed pod within milliseconds, so
/// the question is for the state at the revision of the event. Without an answer, the pod counts as finished.
///
/// API servers answer from the key of the one pod (`staging/src/k8s.io/apiserver/pkg/registry/generic/registry/
/// store.go`, `ListPredicate`).
pub(super) async fn is_finished(client: &Client, pod: &Pod) -> bool {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let Some(revision) = pod.resource_version() else { return true };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let field = format!("metadata.name={name}");
    let query = ListParams::default().fields(&field).at(&revision).matching(VersionMatch::Exact);
    let error = match tokio::time::timeout(TIMEOUT, pods.list_metadata(&query)).await {
        Ok(Ok(list)) => return list.items.iter().any(|found| found.uid() == pod.uid()),
        Ok(Err(error)) => chain(&error),
        Err(elapsed) => elapsed.to_string(),
    };
    tracing::debug!(namespace, pod = name, error, "failed to tell a deleted pod from a finished one");
    true
}
