//! Host names of Amazon ECR registries.

/// Registry of Amazon ECR.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EcrRegistry {
    /// Private registry of one account in one region.
    Private {
        /// Account ID: twelve digits.
        account: String,
        /// Service that issues tokens for the registry.
        endpoint: EcrEndpoint,
    },
    /// ECR Public, which is readable without credentials.
    Public,
}

/// ECR service of one region, whose tokens are valid for the registries of all accounts in that region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EcrEndpoint {
    /// Region, e.g. `eu-central-1`.
    pub region: String,
    /// Uses FIPS endpoints.
    pub fips: bool,
    /// Uses dual-stack endpoints, which also have IPv6 addresses.
    pub dual_stack: bool,
}

/// Host name part between account and region, with its two flags: FIPS, dual-stack.
const SERVICE_PREFIXES: [(&str, bool, bool); 4] = [
    ("dkr.ecr", false, false),
    ("dkr.ecr-fips", true, false),
    ("dkr-ecr", false, true),
    ("dkr-ecr-fips", true, true),
];
/// Host names of ECR Public; the second one is dual-stack.
const PUBLIC_HOSTS: [&str; 2] = ["public.ecr.aws", "ecr-public.aws.com"];
const ACCOUNT_DIGITS: usize = 12;

impl EcrRegistry {
    /// Parses the host name of an Amazon ECR registry ("Private registry" and "Dual-stack endpoints" in
    /// the Amazon ECR user guide). Returns `None` for every other host.
    pub fn of(host: &str) -> Option<Self> {
        if PUBLIC_HOSTS.contains(&host) {
            return Some(Self::Public);
        }
        let (account, rest) = host.split_once('.')?;
        if account.len() != ACCOUNT_DIGITS || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let endpoint = SERVICE_PREFIXES.iter().find_map(|(service, fips, dual_stack)| {
            let (region, domain) = rest.strip_prefix(service)?.strip_prefix('.')?.split_once('.')?;
            let belongs = is_region(region) && Some(domain) == domain_of(region, *dual_stack);
            belongs.then(|| EcrEndpoint { region: region.to_owned(), fips: *fips, dual_stack: *dual_stack })
        })?;
        Some(Self::Private { account: account.to_owned(), endpoint })
    }

    /// Returns the registry with its default endpoint. An account has one set of quotas in a region for
    /// all of its host names in that region.
    #[must_use]
    pub fn by_any_endpoint(self) -> Self {
        match self {
            Self::Private { account, endpoint: EcrEndpoint { region, .. } } => {
                Self::Private { account, endpoint: EcrEndpoint { region, fips: false, dual_stack: false } }
            }
            Self::Public => Self::Public,
        }
    }
}

fn is_region(text: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    text.contains('-') && text.split('-').all(is_part)
}

/// Domain of a region's registries, by partition: China, the European sovereign cloud, or the rest.
fn domain_of(region: &str, dual_stack: bool) -> Option<&'static str> {
    match (region.split('-').next(), dual_stack) {
        (Some("cn"), false) => Some("amazonaws.com.cn"),
        (Some("cn"), true) => Some("on.amazonwebservices.com.cn"),
        (Some("eusc"), false) => Some("amazonaws.eu"),
        (Some("eusc"), true) => None,
        (_, false) => Some("amazonaws.com"),
        (_, true) => Some("on.aws"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecr_host_names_are_recognised() {
        for (host, region, fips, dual_stack) in [
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "eu-central-1", false, false),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", true, false),
            ("123456789012.dkr-ecr.us-east-1.on.aws", "us-east-1", false, true),
            ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "us-east-1", true, true),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", false, false),
            ("123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1", false, true),
            ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", false, false),
        ] {
            let endpoint = EcrEndpoint { region: region.to_owned(), fips, dual_stack };
            let expected = EcrRegistry::Private { account: "123456789012".to_owned(), endpoint };
            assert_eq!(EcrRegistry::of(host), Some(expected), "{host}");
        }
        for host in ["public.ecr.aws", "ecr-public.aws.com"] {
            assert_eq!(EcrRegistry::of(host), Some(EcrRegistry::Public), "{host}");
        }
    }

    #[test]
    fn ecr_lookalike_hosts_are_not_recognised() {
        for host in [
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com.cn",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com",
            "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com:443",
            "123456789012.dkr.ecr.eu-central-1.on.aws",
            "123456789012.dkr-ecr.eu-central-1.amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.eu-.amazonaws.com",
            "123456789012.dkr.ecr.evil.example.amazonaws.com",
            "12345678901.dkr.ecr.eu-central-1.amazonaws.com",
            "1234567890123.dkr.ecr.eu-central-1.amazonaws.com",
            "12345678901x.dkr.ecr.eu-central-1.amazonaws.com",
            "a.123456789012.dkr.ecr.eu-central-1.amazonaws.com",
            "123456789012.DKR.ecr.eu-central-1.amazonaws.com",
            "api.ecr.eu-central-1.amazonaws.com",
            "evil.public.ecr.aws",
            "docker.io",
            "",
        ] {
            assert_eq!(EcrRegistry::of(host), None, "{host}");
        }
    }
}
