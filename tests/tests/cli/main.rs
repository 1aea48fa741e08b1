//! The command line: the built program, in an environment of its own.

mod archive;
mod command;
mod convert;
mod credential_helpers;
mod credentials;
mod ecr;
mod exit_codes;
mod inspect;
mod interruption;
mod layer_cache;
mod layout;
mod memory;
mod places;
mod plugin;
mod profiles;
mod proxy;
mod rewrite;
mod styles;
mod target_lookups;
mod tls;
mod tune;
mod variant_digests;
mod verify;
