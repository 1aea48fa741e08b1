//! A repository whose requests the governor permits.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use zstart_core::{Digest, Tag};
use zstart_oci::{Descriptor, RawManifest};
use zstart_registry::{
    BlobUpload, ByteStream, ManifestKey, Presence, RateLimit, RegistryError, Store, TagListing, TagLookup,
};

use super::{Account, Governor};

/// A repository whose requests the governor permits, and learns from.
pub(crate) struct GovernedStore {
    store: Arc<dyn Store>,
    governor: Arc<Governor>,
    account: Account,
}

impl GovernedStore {
    pub(crate) fn new(store: Arc<dyn Store>, governor: Arc<Governor>, account: Account) -> Self {
        Self { store, governor, account }
    }

    /// Sends a request that no registry counts as a pull.
    async fn free<T>(
        &self,
        request: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        self.governor.require_no_pause(&self.account, &*self.store)?;
        self.observed(request).await
    }

    /// Sends a request that registries count as a pull.
    async fn pull<T>(
        &self,
        request: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        self.governor.take_pull(&self.account, &*self.store)?;
        self.observed(request).await
    }

    async fn observed<T>(
        &self,
        request: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let result = request.await;
        self.governor.observe(&self.account, &*self.store, &result);
        result
    }
}

#[async_trait]
impl Store for GovernedStore {
    fn location(&self) -> &str {
        self.store.location()
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        self.store.rate_limit()
    }

    async fn manifest(&self, key: ManifestKey<'_>) -> Result<RawManifest, RegistryError> {
        self.pull(self.store.manifest(key)).await
    }

    async fn find_manifest(&self, key: ManifestKey<'_>) -> Result<Option<RawManifest>, RegistryError> {
        self.pull(self.store.find_manifest(key)).await
    }

    async fn look_up_tag(&self, tag: &Tag) -> Result<TagLookup, RegistryError> {
        self.pull(self.store.look_up_tag(tag)).await
    }

    async fn tag_digest(&self, tag: &Tag) -> Result<Digest, RegistryError> {
        self.free(self.store.tag_digest(tag)).await
    }

    async fn find_tag(&self, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        self.free(self.store.find_tag(tag)).await
    }

    async fn look_up_tags(&self, max: usize) -> Result<TagListing, RegistryError> {
        self.free(self.store.look_up_tags(max)).await
    }

    fn collects_untagged(&self) -> bool {
        self.store.collects_untagged()
    }

    async fn tags(&self, max: usize) -> Result<Vec<Tag>, RegistryError> {
        self.free(self.store.tags(max)).await
    }

    async fn put_manifest(
        &self,
        manifest: &RawManifest,
        media_type: &str,
        tag: Option<&Tag>,
    ) -> Result<(), RegistryError> {
        self.free(self.store.put_manifest(manifest, media_type, tag)).await
    }

    async fn blob(&self, digest: &Digest) -> Result<ByteStream, RegistryError> {
        self.free(self.store.blob(digest)).await
    }

    async fn blob_presence(&self, digest: &Digest) -> Presence {
        self.store.blob_presence(digest).await
    }

    async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.free(self.store.referrers(digest, artifact_type)).await
    }

    async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool, RegistryError> {
        self.free(self.store.mount_blob(digest, from)).await
    }

    async fn put_blob(&self, digest: &Digest, content: Bytes) -> Result<(), RegistryError> {
        self.free(self.store.put_blob(digest, content)).await
    }

    async fn start_upload(&self) -> Result<Box<dyn BlobUpload>, RegistryError> {
        self.free(self.store.start_upload()).await
    }
}
