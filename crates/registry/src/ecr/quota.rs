//! Amazon ECR: the quota for manifests, and the hint for a missing repository.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex as SyncMutex};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use zstart_core::sync::lock;

use super::host::{EcrEndpoint, EcrRegistry};

/// Manifests that a registry accepts a second ("Amazon ECR service quotas", `PutImage`).
const MAX_PUTS: usize = 10;
/// One second and a margin: requests sent within two seconds may arrive within one.
const PUT_WINDOW: Duration = Duration::from_millis(1100);

/// The registries of Amazon ECR that the process has met.
#[derive(Debug, Default)]
pub(crate) struct EcrRegistries(SyncMutex<HashMap<EcrRegistry, Arc<Ecr>>>);

impl EcrRegistries {
    /// The registry at `host`, if it is one of Amazon ECR. A registry's other host names share its quota: the
    /// quota is an account's, in a region.
    pub(crate) fn get(&self, host: &str) -> Option<Arc<Ecr>> {
        let registry = EcrRegistry::of(host)?.by_any_endpoint();
        let mut met = lock(&self.0);
        Some(Arc::clone(met.entry(registry.clone()).or_insert_with(|| Arc::new(Ecr::new(registry)))))
    }
}

/// One registry's quota, shared by all clients of its repositories.
#[derive(Debug)]
pub(crate) struct Ecr {
    registry: EcrRegistry,
    /// Times of the last manifests, the oldest first.
    puts: Mutex<VecDeque<Instant>>,
}

impl Ecr {
    fn new(registry: EcrRegistry) -> Self {
        Self { registry, puts: Mutex::default() }
    }

    /// Whether this is ECR Public.
    pub(crate) fn is_public(&self) -> bool {
        self.registry == EcrRegistry::Public
    }

    /// Waits until the quota allows another manifest, first come, first served.
    pub(crate) async fn acquire_put(&self) {
        let mut puts = self.puts.lock().await;
        if puts.len() == MAX_PUTS
            && let Some(oldest) = puts.front().copied()
        {
            tokio::time::sleep_until(oldest + PUT_WINDOW).await;
            puts.pop_front();
        }
        puts.push_back(Instant::now());
    }

    /// A hint with the command that creates a repository.
    pub(crate) fn create_hint(&self, repository: &str) -> String {
        match &self.registry {
            EcrRegistry::Public => format!(
                "repository {repository} doesn't exist: create it with `aws ecr-public create-repository --region \
                 us-east-1 --repository-name {}`",
                repository.split_once('/').map_or(repository, |(_, name)| name),
            ),
            EcrRegistry::Private { account: _, endpoint: EcrEndpoint { region, .. } } => format!(
                "repository {repository} doesn't exist: create it with `aws ecr create-repository --region {region} \
                 --repository-name {repository}`, or let the first push create it, by a repository \
                 creation template that applies to CREATE_ON_PUSH"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ecr(host: &str) -> Ecr {
        Ecr::new(EcrRegistry::of(host).unwrap())
    }

    #[test]
    fn quota_is_shared_by_all_host_names_of_an_account_and_region() {
        let registries = EcrRegistries::default();
        let quota = |host: &str| registries.get(host).unwrap();
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
        assert!(registries.get("registry.example").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_ten_manifests_are_put_in_a_second() {
        let ecr = ecr("public.ecr.aws");
        let put = async || {
            ecr.acquire_put().await;
            Instant::now()
        };
        let sent = futures::future::join_all((0..35).map(|_| put())).await;
        for (earlier, later) in sent.iter().zip(&sent[MAX_PUTS..]) {
            assert!(*later - *earlier >= Duration::from_secs(1), "{earlier:?} {later:?}");
        }
        assert!(sent[34] - sent[0] < Duration::from_secs(4), "they wait longer than the quota asks for");
    }

    #[test]
    fn missing_repository_hint_names_the_command() {
        let private = ecr("123456789012.dkr.ecr.eu-west-1.amazonaws.com").create_hint("team/app");
        assert!(private.contains("--region eu-west-1 --repository-name team/app"), "{private}");
        assert!(private.contains("CREATE_ON_PUSH"), "{private}");
        let public = ecr("public.ecr.aws").create_hint("alias/team/app");
        assert!(public.contains("ecr-public create-repository"), "{public}");
        assert!(public.contains("--repository-name team/app"), "{public}");
    }
}
