//! Watches the three objects.

use std::fmt::Debug;

use futures::stream::{self, BoxStream, StreamExt as _};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use zstart_process::watch;

use super::CertificateSettings;

/// An endless stream with one item for each change. The items are empty: the rotation reads the objects
/// again.
pub(super) fn changes(
    client: &Client,
    settings: &CertificateSettings,
    namespace: &str,
) -> BoxStream<'static, ()> {
    let CertificateSettings { configuration, service: _, serving_secret, ca_secret } = settings;
    let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), namespace);
    let configurations: Api<PartialObjectMeta<MutatingWebhookConfiguration>> = Api::all(client.clone());
    stream::select_all([
        changes_of("secrets", secrets.clone(), ca_secret),
        changes_of("secrets", secrets, serving_secret),
        changes_of("mutatingwebhookconfigurations", configurations, configuration),
    ])
    .boxed()
}

/// Watches one object's metadata, so no private key is transferred.
fn changes_of<K>(kind: &str, api: Api<K>, name: &str) -> BoxStream<'static, ()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    // The right to list and watch is granted for this name alone.
    let config = Config::default().fields(&format!("metadata.name={name}"));
    let changes =
        watch::events(format!("{kind}/{name}"), api, config).filter_map(async |event| match event {
            // The end of a list counts: the object may have been deleted while the watch was down.
            Event::Apply(_) | Event::Delete(_) | Event::InitDone => Some(()),
            Event::Init | Event::InitApply(_) => None,
        });
    changes.boxed()
}
