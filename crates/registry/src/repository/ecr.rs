//! What is peculiar to Amazon ECR: how often it takes manifests, and that repositories must be there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zstart_core::ecr::{EcrEndpoint, EcrRegistry};

use super::pull;
use super::session::Session;
use crate::{RepositoryError, Trouble};

/// How many manifests a registry takes in a second ("Amazon ECR service quotas", `PutImage`).
const PUTS: usize = 10;
/// The second, and some more: what leaves in two seconds may arrive in one.
const SECOND: Duration = Duration::from_millis(1100);

/// The registries of Amazon ECR that were met.
#[derive(Debug, Default)]
pub(super) struct EcrRegistries(SyncMutex<HashMap<EcrRegistry, Arc<Ecr>>>);

impl EcrRegistries {
    /// The registry of that host, where it is one. Its other names lead to the same: what it takes in a
    /// second is an account's share in a region.
    pub(super) fn of(&self, host: &str) -> Option<Arc<Ecr>> {
        let registry = EcrRegistry::of(host)?.by_any_endpoint();
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(met.entry(registry.clone()).or_insert_with(|| Arc::new(Ecr::new(registry)))))
    }
}

/// One registry, shared by all who write to its repositories.
#[derive(Debug)]
pub(super) struct Ecr {
    registry: EcrRegistry,
    /// When the last manifests were sent, the oldest first.
    puts: Mutex<VecDeque<Instant>>,
}

impl Ecr {
    fn new(registry: EcrRegistry) -> Self {
        Self { registry, puts: Mutex::default() }
    }

    /// Whether it is ECR Public.
    pub(super) fn is_public(&self) -> bool {
        self.registry == EcrRegistry::Public
    }

    /// Waits until the registry takes another manifest. Whoever asked first goes first.
    pub(super) async fn before_put(&self) {
        let mut puts = self.puts.lock().await;
        if puts.len() == PUTS
            && let Some(oldest) = puts.front().copied()
        {
            tokio::time::sleep_until(oldest + SECOND).await;
            puts.pop_front();
        }
        puts.push_back(Instant::now());
    }

    /// How to make a repository.
    fn hint(&self, repository: &str) -> String {
        match &self.registry {
            EcrRegistry::Public => format!(
                "there is no such repository: make it with `aws ecr-public create-repository --region \
                 us-east-1 --repository-name {}`",
                repository.split_once('/').map_or(repository, |(_, name)| name),
            ),
            EcrRegistry::Private { account: _, endpoint: EcrEndpoint { region, .. } } => format!(
                "there is no such repository: make it with `aws ecr create-repository --region {region} \
                 --repository-name {repository}`, or have it made by the first push, with a repository \
                 creation template that applies to CREATE_ON_PUSH"
            ),
        }
    }
}

/// Says what to do about an upload that couldn't begin, where it is because there is no repository. Amazon
/// ECR answers so, or cuts the connection.
pub(super) async fn explain(session: &Session, mut error: RepositoryError) -> RepositoryError {
    let Some(ecr) = session.ecr() else { return error };
    let is_missing = match error.trouble {
        Trouble::NotFound => true,
        Trouble::Unavailable => has_no_tags(session).await,
        _ => false,
    };
    if is_missing {
        error.trouble = Trouble::NotFound;
        error.message = format!("{} ({})", ecr.hint(session.repository()), error.message);
    }
    error
}

async fn has_no_tags(session: &Session) -> bool {
    const OPERATION: &str = "look for the repository";
    let Ok(url) = session.url(crate::Access::Pull, "tags/list?n=1") else { return false };
    let answer = pull::request_at(session, Method::GET, url, "*/*", OPERATION).await;
    answer.is_ok_and(|response| response.status() == reqwest::StatusCode::NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ecr(host: &str) -> Ecr {
        Ecr::new(EcrRegistry::of(host).unwrap())
    }

    #[test]
    fn an_account_has_one_quota_in_a_region_whatever_its_registry_is_called() {
        let registries = EcrRegistries::default();
        let quota = |host: &str| registries.of(host).unwrap();
        let first = quota("123456789012.dkr.ecr.eu-west-1.amazonaws.com");
        for (host, same) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", true),
            ("123456789012.dkr.ecr-fips.eu-west-1.amazonaws.com", true),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", true),
            ("123456789012.dkr.ecr.eu-west-2.amazonaws.com", false),
            ("210987654321.dkr.ecr.eu-west-1.amazonaws.com", false),
            ("public.ecr.aws", false),
        ] {
            assert_eq!(Arc::ptr_eq(&first, &quota(host)), same, "{host}");
        }
        assert!(registries.of("registry.example").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_than_ten_manifests_however_many_wait() {
        let ecr = ecr("public.ecr.aws");
        let put = async || {
            ecr.before_put().await;
            Instant::now()
        };
        let sent = futures::future::join_all((0..35).map(|_| put())).await;
        for (earlier, later) in sent.iter().zip(&sent[PUTS..]) {
            assert!(*later - *earlier >= Duration::from_secs(1), "{earlier:?} {later:?}");
        }
        assert!(sent[34] - sent[0] < Duration::from_secs(4), "they wait no longer than that");
    }

    #[test]
    fn whoever_misses_a_repository_is_told_how_to_make_it() {
        let private = ecr("123456789012.dkr.ecr.eu-west-1.amazonaws.com").hint("team/app");
        assert!(private.contains("--region eu-west-1 --repository-name team/app"), "{private}");
        assert!(private.contains("CREATE_ON_PUSH"), "{private}");
        let public = ecr("public.ecr.aws").hint("alias/team/app");
        assert!(public.contains("ecr-public create-repository"), "{public}");
        assert!(public.contains("--repository-name team/app"), "{public}");
    }
}
