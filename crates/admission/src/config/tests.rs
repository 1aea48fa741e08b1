use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("config.yaml"), text)
}

/// Returns the error and its causes, as they are printed.
fn failure(text: &str) -> String {
    zstart_core::chain(&parse(text).unwrap_err())
}

#[test]
fn empty_file_gives_the_defaults() {
    for text in ["", "{}", "# nothing\nlisten: 0.0.0.0:8443"] {
        let config = parse(text).unwrap();
        assert_eq!(config.listen.port(), 8443);
        assert_eq!(config.serving_secret, keys::SERVING_SECRET);
        assert_eq!(config.drain.grace, Duration::from_secs(12));
        assert_eq!(config.policy.variants.max_staleness, Duration::from_mins(15));
        assert_eq!(config.policy.variants.max_staleness_always, Duration::from_mins(2));
        assert_eq!(config.policy.when_no_node, WhenNoNode::Leave);
        assert_eq!(config.policy.runtimes, SupportedRuntimes::default());
    }
}

#[test]
fn chart_rendered_file_is_parsed() {
    let config = parse(
        "listen: 0.0.0.0:9443\nhealthListen: 0.0.0.0:9080\nservingSecret: my-tls\nmaxStaleness: 1h30m\n\
         drain: {grace: 20s}\nwhenNoNode: rewrite\nallowedTargets: [\"mirror.example:5000/zstd\"]\n\
         allowedControllers: [\"CloneSet.apps.kruise.io\"]\n",
    )
    .unwrap();
    assert_eq!((config.listen.port(), config.health_listen.port()), (9443, 9080));
    assert_eq!(config.serving_secret, "my-tls");
    assert_eq!(config.drain.grace, Duration::from_secs(20));
    assert_eq!(config.policy.variants.max_staleness, Duration::from_mins(90));
    assert_eq!(config.policy.when_no_node, WhenNoNode::Rewrite);
    assert!(config.policy.variants.allowed_targets[0].covers("mirror.example:5000/zstd/app"));
    assert_eq!(config.policy.allowed_controllers.first().unwrap().to_string(), "CloneSet.apps.kruise.io");
}

#[test]
fn settings_of_decisions_are_parsed() {
    let config = parse(
        "maxStalenessAlways: 30s\nimmutableTags: ['r.example/*:v*']\nruntimes: {containerd: '1.7', cri-o: '1.30'}\n\
         whenNoNode: ['pool=spot', 'karpenter.sh/nodepool in (a, b)']\nminSize: 10Mi\nminGain: 2.5\n\
         signedImages: ['r.example/signed/*']\nallowedControllers: [Pod]\n",
    )
    .unwrap();
    let Policy { variants, runtimes, when_no_node, allowed_controllers, signed_images, .. } = config.policy;
    assert_eq!(variants.max_staleness_always, Duration::from_secs(30));
    assert!(variants.immutable_tags[0].matches("r.example/app:v1"));
    assert_eq!((variants.min_size, variants.min_gain.to_string()), (10 << 20, "2.5".to_owned()));
    assert_eq!(runtimes.to_string(), "containerd 1.7 or later, cri-o 1.30 or later");
    let WhenNoNode::Vouched(nodes) = when_no_node else { panic!("{when_no_node:?}") };
    let selectors: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    assert_eq!(selectors, ["pool=spot", "karpenter.sh/nodepool in (a, b)"]);
    assert_eq!(allowed_controllers.first().unwrap().to_string(), "Pod");
    assert!(signed_images[0].matches("r.example/signed/app"));
    assert_eq!(parse("minSize: 4096").unwrap().policy.variants.min_size, 4096);
}

#[test]
fn invalid_value_error_names_file_and_field() {
    let cases = [
        ("maxStalenes: 10m", "maxStalenes"),
        ("maxStaleness: 0s", "above zero"),
        ("maxStaleness: -5m", "above zero"),
        ("maxStaleness: soon", "line 1"),
        ("drain: {grace: 21s}", "drain.grace has an invalid value: 21s"),
        ("drain: {grace: -1s}", "from 0s to 20s"),
        ("drain: {graze: 1s}", "graze"),
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
        ("maxStalenessAlways: 0s", "above zero"),
        ("maxCacheAge: 0s", "above zero"),
        ("immutableTags: ['']", "immutableTags"),
        ("whenNoNode: ['pool!=a']", "pool!=a"),
        ("whenNoNode: 3", "whenNoNode"),
        ("runtimes: {containerd: '1.4'}", "can since 1.5"),
        ("runtimes: {containerd: newest}", "newest"),
        ("minSize: 10MB", "10MB"),
        ("minSize: -1", "minSize"),
        ("minGain: 101", "percentage"),
        ("minGain: .nan", "percentage"),
        ("signedImages: ['a b']", "a b"),
    ];
    for (text, part) in cases {
        let failure = failure(text);
        assert!(failure.contains("config.yaml") && failure.contains(part), "{text}: {failure}");
    }
}
