use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("config.yaml"), text)
}

/// Returns the error and its cause, as they are printed.
fn failure(text: &str) -> String {
    let error = parse(text).unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[test]
fn empty_file_gives_the_defaults() {
    for text in ["", "{}", "# nothing\nlisten: 0.0.0.0:8443"] {
        let config = parse(text).unwrap();
        assert_eq!(config.listen.port(), 8443);
        assert_eq!(config.serving_secret, keys::SERVING_SECRET);
        assert_eq!(config.policy.variants.max_staleness, Duration::from_mins(15));
        assert_eq!(config.policy.when_no_node, WhenNoNode::Leave);
    }
}

#[test]
fn chart_rendered_file_is_parsed() {
    let config = parse(
        "listen: 0.0.0.0:9443\nhealthListen: 0.0.0.0:9080\nservingSecret: my-tls\nmaxStaleness: 1h30m\n\
         whenNoNode: rewrite\nallowedTargets: [\"mirror.example:5000/zstd\"]\n\
         allowedControllers: [\"CloneSet.apps.kruise.io\"]\n",
    )
    .unwrap();
    assert_eq!((config.listen.port(), config.health_listen.port()), (9443, 9080));
    assert_eq!(config.serving_secret, "my-tls");
    assert_eq!(config.policy.variants.max_staleness, Duration::from_mins(90));
    assert_eq!(config.policy.when_no_node, WhenNoNode::Rewrite);
    assert!(
        config.policy.variants.allowed_targets[0].covers(&"mirror.example:5000/zstd/app:v1".parse().unwrap())
    );
    assert_eq!(config.policy.allowed_controllers.first().unwrap().to_string(), "CloneSet.apps.kruise.io");
}

#[test]
fn invalid_value_error_names_file_and_field() {
    let cases = [
        ("maxStalenes: 10m", "maxStalenes"),
        ("maxStaleness: 0s", "above zero"),
        ("maxStaleness: -5m", "above zero"),
        ("maxStaleness: soon", "line 1"),
        ("listen: nowhere", "line 1"),
        ("whenNoNode: maybe", "maybe"),
        ("servingSecret: ''", "servingSecret"),
        ("allowedTargets: ['https://mirror.example']", "https://mirror.example"),
        ("allowedTargets: ['']", "allowedTargets"),
        // No normalised reference begins with one of these.
        ("allowedTargets: [myteam]", "myteam"),
        ("allowedTargets: [index.docker.io/team]", "index.docker.io/team"),
        ("allowedTargets: [r.example/Team]", "r.example/Team"),
        ("allowedTargets: [r.example//team]", "r.example//team"),
        ("allowedTargets: ['mirror.example/app:v1']", "without scheme, tag or digest"),
        ("allowedControllers: ['clone set']", "clone set"),
    ];
    for (text, part) in cases {
        let failure = failure(text);
        assert!(failure.contains("config.yaml") && failure.contains(part), "{text}: {failure}");
    }
}
