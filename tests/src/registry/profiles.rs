//! Real products: how each registry answers, as far as its source, its documentation and public reports say.
//!
//! [`server::ProfileServer`] interprets a [`Behaviour`] in front of a real registry. Registries that run here
//! run as themselves, and Amazon ECR is the fake in [`super::ecr`]. The other products were never compared
//! with the real ones.

use std::fmt::Write as _;

use self::behaviour::Behaviour;

pub mod behaviour;
pub mod counts;
pub mod server;

mod acr;
mod artifact_registry;
mod artifactory;
mod distribution;
mod docker_hub;
mod ecr;
mod ghcr;
mod gitlab;
mod harbor;
mod nexus;
mod quay;
mod zot;

/// User of every product.
pub const USERNAME: &str = "user";
/// The user's password.
pub const PASSWORD: &str = "right";
/// The user's identity token, for products that take one.
pub const IDENTITY_TOKEN: &str = "an-identity-token";

/// A product.
#[derive(Debug)]
pub struct Product {
    /// Name in the documentation.
    pub name: &'static str,
    /// Test that runs the suite against the product.
    pub test: &'static str,
    /// Server that stands for the product.
    pub server: Server,
    /// Outcome for a client without credentials.
    pub anonymous: Anonymous,
    /// Outcome of the first push to a repository.
    pub new_repository: NewRepository,
    /// Its own ways.
    pub facts: &'static [Fact],
}

/// Server that stands for a product.
#[derive(Debug)]
pub enum Server {
    /// A profile in front of the lab's registry.
    Profile(&'static Behaviour),
    /// The fake of Amazon ECR, under this host name.
    FakeEcr(&'static str),
    /// The product itself.
    Real(Release),
}

/// A release of distribution that runs in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// From its Go module.
    Module,
    /// Debian's package.
    Debian,
}

/// Outcome for a client without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// It may not pull.
    Refused,
    /// It may pull.
    Pulls,
}

/// Outcome of the first push to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewRepository {
    /// The push creates the repository.
    Created,
    /// The push fails: the user must create the repository.
    Refused,
}

/// One of a product's ways, and its source.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    /// The product … (a verb first).
    pub says: &'static str,
    /// Document, source file or report.
    pub source: &'static str,
}

/// All products.
pub static PRODUCTS: [&Product; 14] = [
    &docker_hub::DOCKER_HUB,
    &ecr::PRIVATE,
    &ecr::PUBLIC,
    &ghcr::GHCR,
    &gitlab::GITLAB,
    &harbor::HARBOR,
    &quay::QUAY,
    &artifactory::ARTIFACTORY,
    &nexus::NEXUS,
    &acr::ACR,
    &artifact_registry::ARTIFACT_REGISTRY,
    &zot::ZOT,
    &distribution::MODULE,
    &distribution::DEBIAN,
];

/// Product with this name.
pub fn product(name: &str) -> Option<&'static Product> {
    PRODUCTS.into_iter().find(|product| product.name == name)
}

/// The documentation's table.
pub fn table() -> String {
    let mut table =
        String::from("| Product | In its own way, it … | Known from | Test |\n|---|---|---|---|\n");
    for product in PRODUCTS {
        let compared = match product.server {
            Server::Profile(_) | Server::FakeEcr(_) => "not compared with the real one",
            Server::Real(_) => "runs as itself",
        };
        for (number, fact) in product.facts.iter().enumerate() {
            let name = if number == 0 {
                format!("**{}** ({compared})", product.name)
            } else {
                product.name.to_owned()
            };
            let Fact { says, source } = fact;
            // Writing into a string succeeds.
            let _ = writeln!(table, "| {name} | {says} | {source} | `{}` |", product.test);
        }
    }
    table
}
