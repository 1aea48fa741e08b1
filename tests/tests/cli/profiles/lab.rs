//! A product's server, and the program with each kind of credentials.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use zstart_tests::images::Fixture;
use zstart_tests::registry::ecr::{self, FakeEcr};
use zstart_tests::registry::gateway::Gateway;
use zstart_tests::registry::profiles::server::ProfileServer;
use zstart_tests::registry::profiles::{IDENTITY_TOKEN, PASSWORD, Product, Server, USERNAME, behaviour};
use zstart_tests::registry::request_log::Recording;
use zstart_tests::registry::{Login, Registry};

use crate::command::{Finished, Zstart, finish};

/// Size of the base layer in bytes: more than makes a search for its variant worthwhile (4 MiB).
const BASE_BYTES: usize = 5 << 20;
/// Repository of the fake of Amazon ECR, and one that it doesn't have.
const ECR_REPOSITORIES: [&str; 2] = ["team/app", "team/fresh"];

/// A product's server in front of a registry, and the program.
pub(super) struct ProductLab {
    pub(super) product: &'static Product,
    /// The registry behind the product, without a login.
    pub(super) registry: Registry,
    front: Front,
    user: Zstart,
    anonymous: Zstart,
    intruder: Zstart,
    /// As after `az acr login`.
    by_identity_token: Zstart,
}

/// Server that the program sees.
enum Front {
    Profile { server: ProfileServer, repositories: [&'static str; 2] },
    Ecr { ecr: FakeEcr, host: &'static str },
    Real { gateway: Gateway, _registry: Registry },
}

/// Credentials of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    User,
    Anonymous,
    WrongPassword,
    /// An identity token.
    StoredToken,
}

impl ProductLab {
    pub(super) async fn start(product: &'static Product) -> Result<Self> {
        let registry = Registry::start().await?;
        let front = match &product.server {
            Server::Profile(behaviour) => Front::Profile {
                server: ProfileServer::start(behaviour, &registry.host()).await?,
                repositories: [behaviour.repository, behaviour.new_repository],
            },
            Server::FakeEcr(host) => {
                Front::Ecr { ecr: FakeEcr::start(&registry.host(), &ECR_REPOSITORIES[..1]).await?, host }
            }
            Server::Real(release) => {
                let login = Login::Basic { username: USERNAME.to_owned(), password: PASSWORD.to_owned() };
                let real = Registry::start_over(&registry, *release, login).await?;
                Front::Real { gateway: Gateway::start(&real.host()).await?, _registry: real }
            }
        };
        let (user, anonymous, intruder) = (Zstart::find()?, Zstart::find()?, Zstart::find()?);
        let by_identity_token = Zstart::find()?;
        let lab = Self { product, registry, front, user, anonymous, intruder, by_identity_token };
        let entry = |password: &str| {
            let name = if matches!(lab.front, Front::Ecr { .. }) { "AWS" } else { USERNAME };
            json!({"auths": {lab.host(): {"auth": STANDARD.encode(format!("{name}:{password}"))}}})
        };
        if !matches!(lab.front, Front::Ecr { .. }) {
            lab.user.docker_config(&entry(PASSWORD))?;
        }
        lab.intruder.docker_config(&entry("wrong-password"))?;
        let no_user = STANDARD.encode("00000000-0000-0000-0000-000000000000:");
        let entry = json!({"auth": no_user, "identitytoken": IDENTITY_TOKEN});
        lab.by_identity_token.docker_config(&json!({"auths": {lab.host(): entry}}))?;
        Ok(lab)
    }

    fn host(&self) -> String {
        match &self.front {
            Front::Profile { server, .. } => server.host(),
            Front::Ecr { host, .. } => (*host).to_owned(),
            Front::Real { gateway, .. } => gateway.host(),
        }
    }

    fn repositories(&self) -> [&'static str; 2] {
        match &self.front {
            Front::Profile { repositories, .. } => *repositories,
            Front::Ecr { .. } | Front::Real { .. } => ECR_REPOSITORIES,
        }
    }

    /// Repository of the images.
    pub(super) fn repository(&self) -> String {
        self.repositories()[0].to_owned()
    }

    /// Repository that doesn't exist.
    pub(super) fn new_repository(&self) -> String {
        self.repositories()[1].to_owned()
    }

    /// Name of an image.
    pub(super) fn name(&self, tag: &str) -> String {
        format!("{}/{}:{tag}", self.host(), self.repository())
    }

    /// Name of an image in the repository that doesn't exist.
    pub(super) fn new_name(&self, tag: &str) -> String {
        format!("{}/{}:{tag}", self.host(), self.new_repository())
    }

    /// Pushes an image past the product: all versions share a base layer.
    pub(super) async fn push(&self, version: &str) -> Result<()> {
        let image = Fixture::new().layer(&[("usr/lib/base", &noise(BASE_BYTES))]);
        let image = image.layer(&[("etc/version", version.as_bytes())]);
        image.push(&self.registry.host(), &format!("{}:{version}", self.repository())).await?;
        Ok(())
    }

    pub(super) fn record(&self) -> Recording {
        match &self.front {
            Front::Profile { server, .. } => server.record(),
            Front::Ecr { ecr, .. } => ecr.record(),
            Front::Real { gateway, .. } => gateway.record(),
        }
    }

    /// Runs the program with these credentials.
    pub(super) async fn run(&self, identity: Identity, arguments: &[&str]) -> Result<Finished> {
        let (zstart, aws) = match identity {
            Identity::User => (&self.user, ecr::Identity::Environment),
            Identity::Anonymous => (&self.anonymous, ecr::Identity::None),
            Identity::WrongPassword => (&self.intruder, ecr::Identity::None),
            Identity::StoredToken => (&self.by_identity_token, ecr::Identity::None),
        };
        let mut command = zstart.command(arguments);
        if let Front::Ecr { ecr, .. } = &self.front {
            command.envs(ecr.environment(&aws)?);
        }
        finish(&mut command).await
    }

    /// Whether the product takes identity tokens.
    pub(super) fn takes_identity_tokens(&self) -> bool {
        let Server::Profile(behaviour) = self.product.server else { return false };
        matches!(&behaviour.login, behaviour::Login::Token(login)
            if matches!(login.post, behaviour::TokenPost::IdentityToken(_)))
    }

    /// Makes all tags immutable, where the product's response is known.
    pub(super) fn make_tags_immutable(&self) -> bool {
        match (&self.front, &self.product.server) {
            (Front::Profile { server, .. }, Server::Profile(behaviour)) => {
                server.make_tags_immutable();
                behaviour.manifests.immutable.is_some()
            }
            (Front::Ecr { ecr, .. }, _) => {
                ecr.make_tags_immutable();
                true
            }
            _ => false,
        }
    }

    /// Faults of the program that the product's server saw.
    pub(super) fn violations(&self) -> Vec<String> {
        match &self.front {
            Front::Profile { server, .. } => server.violations(),
            Front::Ecr { .. } | Front::Real { .. } => Vec::new(),
        }
    }
}

/// Bytes that don't compress, equal in each run.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
