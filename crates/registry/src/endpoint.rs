//! Address of a registry.

use reqwest::Url;

use crate::error::{RequestError, UrlError};

/// Host of Docker Hub's registry; image names say `docker.io`.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A registry's base address.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Name as references write it.
    registry: String,
    is_plain_http: bool,
    /// `https://HOST/v2/`; a reference may name a port that no URL can hold.
    base: Result<Url, UrlError>,
}

impl Endpoint {
    /// The address of a registry as references name it (`host` or `host:port`).
    pub(crate) fn new(registry: &str, is_plain_http: bool) -> Self {
        let scheme = if is_plain_http { "http" } else { "https" };
        let (hub, hub_host) = DOCKER_HUB;
        let host = if registry == hub { hub_host } else { registry };
        let base = format!("{scheme}://{host}/v2/").parse();
        Self { registry: registry.to_owned(), is_plain_http, base }
    }

    /// The registry's name in references.
    pub(crate) fn registry(&self) -> &str {
        &self.registry
    }

    /// Whether the registry is reached without TLS.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.is_plain_http
    }

    /// The API's base, by which registries say which login they want.
    pub(crate) fn base(&self) -> Result<&Url, RequestError> {
        self.base
            .as_ref()
            .map_err(|source| RequestError::Address { registry: self.registry.clone(), source: *source })
    }

    /// The address of `path` in a repository.
    pub(crate) fn url(&self, repository: &str, path: &str) -> Result<Url, RequestError> {
        self.base()?
            .join(&format!("{repository}/{path}"))
            .map_err(|source| RequestError::Address { registry: self.registry.clone(), source })
    }

    /// Host name, with the port unless it is the scheme's own.
    pub(crate) fn authority(&self) -> Result<String, RequestError> {
        Ok(self.base()?.authority().to_owned())
    }

    /// Whether `url` has the registry's scheme, host and port: only then do credentials go with a request.
    pub(crate) fn is_same_origin(&self, url: &Url) -> bool {
        self.base.as_ref().is_ok_and(|base| base.origin() == url.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_is_reached_at_its_registry_host() {
        let endpoint = Endpoint::new("docker.io", false);
        assert_eq!(
            endpoint.url("library/nginx", "manifests/1").unwrap().as_str(),
            "https://registry-1.docker.io/v2/library/nginx/manifests/1"
        );
        assert_eq!(endpoint.registry(), "docker.io");
        assert_eq!(endpoint.authority().unwrap(), "registry-1.docker.io");
        assert_eq!(
            Endpoint::new("registry.example:5000", false).authority().unwrap(),
            "registry.example:5000"
        );
    }

    #[test]
    fn same_origin_means_scheme_host_and_port() {
        let endpoint = Endpoint::new("registry.example:5000", false);
        for (url, is_same) in [
            ("https://registry.example:5000/v2/app/blobs/x", true),
            ("https://registry.example/v2/", false),
            ("http://registry.example:5000/v2/", false),
            ("https://other.example:5000/v2/", false),
        ] {
            assert_eq!(endpoint.is_same_origin(&url.parse().unwrap()), is_same, "{url}");
        }
    }

    #[test]
    fn impossible_port_is_an_error_with_the_registry_name() {
        let error = Endpoint::new("registry.example:99999", false).base().unwrap_err();
        assert!(error.to_string().contains("registry.example:99999"), "{error}");
    }
}
