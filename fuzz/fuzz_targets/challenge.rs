//! Whatever a registry writes into `WWW-Authenticate` is read, or is an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &[u8]| zstart_registry::auth::fuzz_challenge(header));
