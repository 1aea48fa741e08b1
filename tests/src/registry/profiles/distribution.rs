//! The CNCF's distribution, as itself: the lab's own release, and Debian's.

use super::{Anonymous, Fact, NewRepository, Product, Release, Server};

pub(super) static MODULE: Product = Product {
    name: "distribution 3.1",
    test: "distribution_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    server: Server::Real(Release::Module),
    facts: &[
        Fact {
            says: "ignores the content of a POST with a digest, and opens a session",
            source: "distribution `registry/handlers/blobupload.go`",
        },
        Fact { says: "has no API for referrers", source: "distribution/distribution#3859" },
    ],
};

pub(super) static DEBIAN: Product = Product {
    name: "distribution 2.8 (Debian)",
    test: "debian_registry_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    server: Server::Real(Release::Debian),
    facts: &[Fact { says: "sends all tags at once", source: "distribution/distribution#3143" }],
};
