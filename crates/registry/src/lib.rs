//! A client for OCI registries and OCI image layouts that trusts neither.
//!
//! A registry names the token server, redirects readers, and sends bodies of any size at any speed. This client
//! is made for programs that hold many users' pull secrets and talk to registries that those users chose.
//! The client adds to the protocol:
//!
//! - **An address policy after DNS.** It never connects to link-local addresses, where clouds serve instance
//!   metadata, and to private addresses only for registries whose own addresses are all private. Every spelling of an
//!   IPv4 address inside IPv6 counts.
//! - **Credentials that stay.** The client sends them to the registry's own scheme, host and port alone. A
//!   password or an identity token goes to a token server only if the server is listed or in the registry's
//!   own registrable domain. A registry to which another one redirects issues an anonymous token, or none. No
//!   redirect and no `Location` leads from https to http.
//! - **Logins as registries really ask for them**: at `/v2/` or at any other request, by several challenges,
//!   readable or not.
//! - **No proxy for this machine.** Requests to loopback, in any spelling, never use a proxy. `NO_PROXY` has all
//!   forms of curl and Go.
//! - **Errors that say what to do** ([`ConnectionError`]): certificates, plain HTTP in the place of TLS, proxies.
//! - **Bounded bodies.** Manifests, tokens, lists and error bodies have limits; blobs are streamed.
//! - **Minimum throughput** of downloads and uploads, next to idle timeouts: the client aborts a
//!   transfer of a byte a minute.
//! - **`Retry-After`**, as seconds and as a date, and one [`Backoff`] with jitter for every retry.
//! - **Errors by class** ([`ErrorKind`]), never by text, with the HTTP status and the chain of causes.
//! - **Streamed uploads whose digest is known at the end only**, mounts, single-request uploads with a
//!   fallback, paged tags and referrers, immutable tags, and the quirks of Amazon ECR.
//! - **Tests against registries that lie**: see `docs/hostile-registries.md` in the repository.
//!
//! ```no_run
//! use zstart_registry::auth::Credentials;
//! use zstart_registry::{ManifestKey, RegistryClient, RegistryOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = RegistryClient::new(RegistryOptions::default())?;
//! let reference = "registry.example/team/app:v1".parse()?;
//! let repository = client.repository(&reference, Credentials::Anonymous);
//! let manifest = repository.manifest(ManifestKey::from(&reference)).await?;
//! println!("{} has {} bytes", manifest.digest, manifest.bytes.len());
//! # Ok(())
//! # }
//! ```
//!
//! [`Store`] is the common interface of a registry's repository, a [`LayoutFolder`] and a [`LayoutArchive`].

mod api;
pub mod auth;
mod backoff;
mod client;
mod connection_error;
pub mod ecr;
mod endpoint;
mod error;
mod error_kind;
mod error_response;
mod http;
mod layout;
mod loopback;
mod observed;
mod operation;
mod options;
mod probe;
mod refusal;
mod registries;
mod repository;
mod request;
mod store;
mod transport;

pub use backoff::{Backoff, OWN_WRITES, RetryPolicy, TimedRetryPolicy, jittered};
pub use connection_error::ConnectionError;
pub use error::RegistryError;
pub use error_kind::ErrorKind;
pub use http::{ClientError, MinThroughput, RateLimit, Timeouts};
pub use layout::{
    LayoutArchive, LayoutChoices, LayoutFolder, LayoutImage, LayoutIndex, LayoutName, LayoutNameError,
    LayoutSelection, SelectionError,
};
pub use operation::{Access, Operation};
pub use options::RegistryOptions;
pub use probe::is_plain_http_loopback;
pub use registries::RegistryClient;
pub use store::{BlobUpload, ByteStream, ManifestKey, Presence, Store, TagListing, TagLookup};
