//! What wakes the keeper: any change of the three objects.

use std::fmt::Debug;

use futures::stream::{self, BoxStream, StreamExt as _};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::CertificateSettings;

/// A stream with one item for each change. It never ends, and it carries no content: whoever is woken
/// reads the objects anew.
pub(super) fn changes(
    client: &Client,
    settings: &CertificateSettings,
    namespace: &str,
) -> BoxStream<'static, ()> {
    let CertificateSettings { configuration, service: _, serving_secret, ca_secret } = settings;
    let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), namespace);
    let configurations: Api<PartialObjectMeta<MutatingWebhookConfiguration>> = Api::all(client.clone());
    stream::select_all([
        changes_of(secrets.clone(), ca_secret),
        changes_of(secrets, serving_secret),
        changes_of(configurations, configuration),
    ])
    .boxed()
}

/// Metadata only: a key need not travel for somebody to know that it changed.
fn changes_of<K>(api: Api<K>, name: &str) -> BoxStream<'static, ()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let name = name.to_owned();
    // By name: the right to list and watch is granted for that name alone.
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher(api, config)
        .default_backoff()
        .filter_map(move |event| {
            let change = match event {
                // The end of a listing counts: something may have gone while nobody watched.
                Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => Some(()),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Err(error) => {
                    warn!(name, error = &error as &dyn std::error::Error, "failed to watch, trying again");
                    None
                }
            };
            std::future::ready(change)
        })
        .boxed()
}
