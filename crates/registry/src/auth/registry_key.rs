//! Keys of registries in Docker configs: which images an entry of `auths` or `credHelpers` is for.
//!
//! The rules are the kubelet's (`pkg/credentialprovider/keyring.go`), extended by Docker Hub's spellings of
//! containers/image (`pkg/docker/config/config.go`) and by schemes and upper case of docker/cli
//! (`cli/config/credentials/file_store.go`).

use std::fmt;

use zstart_core::Reference;

use super::glob;

/// Docker Hub's name in references.
const DOCKER_HUB: &str = "docker.io";
/// Other names of Docker Hub in keys. `docker login` writes the first.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// Docker Hub's names in credential stores: docker's (docker/cli, `cli/config/configfile/file.go`,
/// `authConfigKey`), then podman's (containers/image, `pkg/docker/config/config.go`).
const DOCKER_HUB_SERVERS: [&str; 2] = ["https://index.docker.io/v1/", DOCKER_HUB];

/// A parsed key. Its text has no scheme and no user name, which could hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RegistryKey {
    host: Host,
    /// Empty without a port. The kubelet compares ports as written: 443 and none differ.
    port: String,
    /// Without slashes at its ends.
    path: String,
    /// Whether the path ended with a slash, so that it can't match the front of a longer name.
    ends_with_slash: bool,
    /// Whether the host is another name of Docker Hub.
    is_alias: bool,
    has_scheme: bool,
}

/// Rule for a key's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PathRule {
    /// Whole components, as for podman: `team` isn't for `teams/app`. A key with a scheme is for its whole host
    /// after all other keys: docker and podman drop the path of `https://registry.example/artifactory`
    /// (docker/cli, `cli/config/credentials/file_store.go`; containers/image, `normalizeAuthFileKey`).
    #[default]
    Components,
    /// Characters, as for the kubelet: `team` is for `teams/app` too.
    Characters,
}

/// Part of an image's name that a key's path matches. The greatest is the most specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathMatch {
    /// The host alone.
    Host,
    /// The path ends inside a component: `registry.example/team` for `registry.example/teams`.
    Characters,
    Components,
}

/// A host in lower case. A name is more specific than a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Pattern(String),
    Name(String),
}

/// Rank of a key that matches an image. The greatest is the most specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Specificity<'a> {
    path_match: PathMatch,
    host: &'a Host,
    path: &'a str,
    is_main_name: bool,
}

impl RegistryKey {
    /// Parses a key. Every text is a key. One that can't match is no error.
    pub(super) fn parse(key: &str) -> Self {
        let (has_scheme, address) = match key.split_once("://") {
            Some((_, address)) => (true, address),
            None => (false, key),
        };
        let address = address.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = address.split_once('/').unwrap_or((address, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = split_port(authority);
        let path = repository_path(path, has_scheme);
        let host = host.to_ascii_lowercase();
        let is_alias = port.is_empty() && DOCKER_HUB_ALIASES.contains(&host.as_str());
        let host = if is_alias { DOCKER_HUB.to_owned() } else { host };
        let is_pattern = host.contains('*') || (host.contains('[') && !host.contains(':'));
        Self {
            host: if is_pattern { Host::Pattern(host) } else { Host::Name(host) },
            port: port.to_owned(),
            path: path.trim_matches('/').to_owned(),
            ends_with_slash: path.ends_with('/'),
            is_alias,
            has_scheme,
        }
    }

    /// Rank of this key for an image, or `None` if the key is for other images.
    pub(super) fn matches(&self, image: &Reference, rule: PathRule) -> Option<Specificity<'_>> {
        if !self.matches_registry(image.registry()) {
            return None;
        }
        let path_match = self.match_path(image.repository(), rule)?;
        let (host, path, is_main_name) = (&self.host, &*self.path, !self.is_alias);
        Some(Specificity { path_match, host, path, is_main_name })
    }

    fn match_path(&self, repository: &str, rule: PathRule) -> Option<PathMatch> {
        let rest = repository.strip_prefix(&self.path);
        if rest.is_some_and(|rest| self.path.is_empty() || rest.is_empty() || rest.starts_with('/')) {
            return Some(PathMatch::Components);
        }
        match rule {
            PathRule::Characters if rest.is_some() && !self.ends_with_slash => Some(PathMatch::Characters),
            PathRule::Components if self.has_scheme && matches!(self.host, Host::Name(_)) => {
                Some(PathMatch::Host)
            }
            PathRule::Components | PathRule::Characters => None,
        }
    }

    fn matches_registry(&self, registry: &str) -> bool {
        let is_hub = |host: &Host| matches!(host, Host::Name(name) if name == DOCKER_HUB);
        if is_hub(&self.host) && self.port.is_empty() && DOCKER_HUB_ALIASES.contains(&registry) {
            return true;
        }
        let (host, port) = split_port(registry);
        let host = host.to_ascii_lowercase();
        self.port == port
            && match &self.host {
                Host::Name(name) => *name == host,
                Host::Pattern(pattern) => glob::matches_host(pattern, &host),
            }
    }
}

impl fmt::Display for RegistryKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Host::Pattern(host) | Host::Name(host)) = &self.host;
        let (colon, slash) =
            (if self.port.is_empty() { "" } else { ":" }, if self.path.is_empty() { "" } else { "/" });
        let text = format!("{host}{colon}{}{slash}{}", self.port, self.path);
        formatter.write_str(&text.replace(char::is_control, "\u{fffd}"))
    }
}

/// Names by which a credential helper may know an image's registry, in the order to ask.
pub(super) fn servers_of(image: &Reference) -> Vec<&str> {
    if image.registry() == DOCKER_HUB { DOCKER_HUB_SERVERS.to_vec() } else { vec![image.registry()] }
}

/// Splits `host:port`. IPv6 addresses keep their brackets.
fn split_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (authority, ""),
    }
}

/// A key's path without the API's version, which is no part of a repository's name. Without a scheme and a
/// slash behind, `v1` is a name.
fn repository_path(path: &str, has_scheme: bool) -> &str {
    let below = ["v1", "v2"].into_iter().find_map(|version| path.strip_prefix(version));
    below.filter(|rest| rest.starts_with('/') || (rest.is_empty() && has_scheme)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(key: &str, image: &str) -> bool {
        RegistryKey::parse(key).matches(&image.parse().unwrap(), PathRule::Characters).is_some()
    }

    #[test]
    fn key_matches_as_in_the_kubelet() {
        for (key, image) in [
            ("https://hello.registry.example", "hello.registry.example/app"),
            ("http://hello.registry.example", "hello.registry.example/app"),
            ("https://*.registry.example", "a.registry.example/app"),
            ("https://a.*.example", "a.registry.example/app"),
            ("https://a.registry.*", "a.registry.example/app"),
            ("https://*.registry.example/path", "a.registry.example/path"),
            ("https://a.*.example/path", "a.registry.example/path/app"),
            ("https://*.registry.example:8888", "a.registry.example:8888/app"),
            ("https://*.registry.example/v1/", "a.registry.example/app"),
            ("https://*.registry.example/v2/", "a.registry.example/app"),
            ("registry.example:1111", "registry.example:1111/path/app"),
            ("*.registry.example:1111", "a.registry.example:1111/path/app"),
            ("registry.example/v1/team", "registry.example/team/app"),
            ("registry.example/v1", "registry.example/v1/app"),
            ("registry.example/team", "registry.example/teams"),
            ("registry.example/team/", "registry.example/team/app"),
            ("registry.example?x=1", "registry.example/app"),
            ("registry.example/team?x=1", "registry.example/team/app"),
            ("https://user:hush@registry.example", "registry.example/app"),
            ("[::1]:5000", "[::1]:5000/app"),
            ("[::1]", "[::1]/app"),
        ] {
            assert!(matches(key, image), "{key} {image}");
        }
        for (key, image) in [
            ("https://*.registry.example", "registry.example/app"),
            ("*.*.registry.example", "a.registry.example/app"),
            ("registry.example", "registry.other/app"),
            ("https://suffix.*.example", "prefix.registry.example/app"),
            ("*.registry.example:1234/path", "a.registry.example:1111/path"),
            ("a.*.example/path", "a.registry.example:1111/path/app"),
            ("registry.example:443", "registry.example/app"),
            ("registry.example", "registry.example:443/app"),
            ("registry.example/path", "registry.example/other"),
            ("registry.example/team/", "registry.example/teams"),
            ("registry.example/team/app:v1", "registry.example/team/app:v1"),
            ("registry.example/v1", "registry.example/app"),
            ("registry.example/v2x", "registry.example/app"),
            ("[::1]", "[::1]:5000/app"),
            ("[::2]:5000", "[::1]:5000/app"),
            ("r?gistry.example", "registry.example/app"),
            ("*", "registry.example/app"),
            ("", "registry.example/app"),
            ("https://", "registry.example/app"),
            ("/", "registry.example/app"),
        ] {
            assert!(!matches(key, image), "{key} {image}");
        }
    }

    #[test]
    fn docker_hub_has_several_names() {
        for key in [
            "https://index.docker.io/v1/",
            "https://index.docker.io/v1",
            "index.docker.io/v1/",
            "http://index.docker.io",
            "index.docker.io",
            "Index.Docker.IO",
            "docker.io",
            "https://docker.io/",
            "registry-1.docker.io",
            "https://registry-1.docker.io/v2/",
            "docker.io/library",
            "*.io",
        ] {
            for image in ["nginx", "docker.io/library/nginx", "index.docker.io/nginx"] {
                assert!(matches(key, image), "{key} {image}");
            }
        }
        assert!(matches("docker.io", "registry-1.docker.io/library/nginx"));
        assert!(matches("registry-1.docker.io", "registry-1.docker.io/library/nginx"));
        // Docker, podman and the kubelet know none of these as Docker Hub.
        for key in
            ["registry.hub.docker.com", "hub.docker.com", "docker.io:443", "*.docker.io", "notdocker.io"]
        {
            assert!(!matches(key, "nginx"), "{key}");
        }
        assert!(!matches("https://index.docker.io/v1/", "registry.example/nginx"));
    }

    #[test]
    fn upper_case_matters_in_paths_only() {
        assert!(matches("HTTPS://Registry.Example/v2/", "registry.example/app"));
        assert!(matches("registry.example", "Registry.EXAMPLE/app"));
        assert!(!matches("registry.example/Team", "registry.example/team"));
    }

    #[test]
    fn most_specific_key_ranks_first() {
        for (image, keys) in [
            // The kubelet's order: keys in reverse.
            ("bar.example/pong", &["bar.example/pong", "bar.example"][..]),
            ("bar.example/pong/pang", &["bar.example/pong", "bar.example"]),
            ("a.bar.example/app", &["https://a.bar.example/v1/", "*.bar.example/app", "*.bar.example"]),
            ("nginx", &["docker.io/library", "docker.io", "https://index.docker.io/v1/"]),
            // A path that ends inside a component is the last resort.
            ("bar.example/pongs", &["bar.example", "bar.example/pong"]),
        ] {
            let image: Reference = image.parse().unwrap();
            let keys: Vec<_> = keys.iter().map(|key| RegistryKey::parse(key)).collect();
            let ranks = keys.iter().map(|key| key.matches(&image, PathRule::Characters).unwrap());
            let ranks: Vec<_> = ranks.collect();
            assert!(ranks.is_sorted_by(|one, next| one > next), "{image}: {ranks:?}");
        }
    }

    #[test]
    fn text_of_a_key_has_no_password() {
        for (key, text) in [
            ("https://user:hush@Registry.example:5000/v1/team/", "registry.example:5000/team"),
            ("user:hush@registry.example", "registry.example"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry\u{1b}[2J.example", "registry\u{fffd}[2j.example"),
        ] {
            assert_eq!(RegistryKey::parse(key).to_string(), text);
        }
    }
}
