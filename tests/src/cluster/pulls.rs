//! The kubelet's events about a pod's images.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use zstart_core::Pulled;

use super::Cluster;

/// A pull, as the kubelet reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Reference that the kubelet pulled.
    pub image: String,
    /// Duration of the pull, without waiting for other pulls.
    pub duration: Duration,
}

impl Cluster {
    /// Pulls of a pod's images so far, from its `Pulled` events.
    pub async fn pulls(&self, namespace: &str, pod: &str) -> Result<Vec<Pull>> {
        let events: Api<Event> = Api::namespaced(self.client(), namespace);
        let of_pod = format!("involvedObject.name={pod},reason=Pulled");
        let events = events.list(&ListParams::default().fields(&of_pod)).await?;
        let messages = events.items.into_iter().filter_map(|event| event.message);
        let pull = |message: String| {
            let Pulled { image, took, .. } = Pulled::parse(&message)?;
            Some(Pull { image: image.to_owned(), duration: took })
        };
        Ok(messages.filter_map(pull).collect())
    }
}
