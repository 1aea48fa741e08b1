//! Programs of the lab that are built together.

/// Programs of one version, from a Go module under `tests/tools/`.
#[derive(Debug)]
pub(super) struct Module {
    /// Name in messages and in the cache.
    pub(super) name: &'static str,
    /// Folder under `tests/tools/` of the Go module.
    pub(super) folder: &'static str,
    /// Version required in go.mod (a test compares them).
    pub(super) version: &'static str,
    /// Import path and file name of each program.
    pub(super) packages: &'static [(&'static str, &'static str)],
    /// Build tags.
    pub(super) tags: &'static str,
    /// Additional linker flags, mostly the version that the program reports.
    pub(super) linker_flags: &'static str,
    /// Additional flags of the Go compiler. The last one that names a package counts for it.
    pub(super) compiler_flags: &'static [&'static str],
    /// Additional environment of the Go compiler.
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// Debian packages for its C parts.
    pub(super) debian_packages: &'static [&'static str],
    /// Measured duration of a cold build on two cores.
    pub(super) cold_build: &'static str,
}
