//! The conversion engine with a real registry and with injected faults.

mod access;
mod blob_lookups;
mod content;
mod conversion;
mod error_responses;
mod existing_variants;
mod hostile;
mod identity_token;
mod indexes;
mod interruption;
mod layer_reuse;
mod login;
mod login_challenges;
mod manifests;
mod names;
mod own_writes;
mod pull_authorization;
mod redirect_login;
mod redirects;
mod small_blobs;
mod soci;
mod target_lookups;
mod unchanged_entries;
mod write_redirects;
mod write_statuses;
