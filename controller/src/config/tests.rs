//! Tests of the configuration file.

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("config.yaml"), text)
}

#[test]
fn an_empty_file_has_every_default() {
    let config = parse("").unwrap();
    assert_eq!(config.conversion.level.get(), 3);
    assert_eq!(config.conversion.platforms, Platforms::Nodes);
    assert_eq!(config.conversion.recheck_interval, Duration::from_mins(5));
    assert_eq!(config.conversion.credentials_file, None);
    assert_eq!(config.webhook, CertificateSettings::default());
}

#[test]
fn every_field_can_be_written() {
    let config = parse(
        "healthListen: 127.0.0.1:9090\nlevel: 19\nplatforms: [linux/amd64, linux/arm64]\nworkers: 3\n\
         layersAtOnce: 4\nrecheckInterval: 90s\nplainHttpRegistries: ['127.0.0.1:5000']\n\
         credentialsFile: /etc/zstart/credentials/config.json\nwebhook:\n  configuration: a\n  service: b\n  \
         servingSecret: c\n  caSecret: d\n",
    )
    .unwrap();
    assert_eq!(config.health_listen.port(), 9090);
    let conversion = config.conversion;
    assert_eq!(conversion.level.get(), 19);
    assert_eq!(
        conversion.platforms,
        Platforms::Only(vec![Platform::new("linux", "amd64"), Platform::new("linux", "arm64")])
    );
    assert_eq!((conversion.workers, conversion.layers_at_once), (3, 4));
    assert_eq!(conversion.recheck_interval, Duration::from_secs(90));
    assert_eq!(conversion.plain_http_registries, ["127.0.0.1:5000"]);
    assert!(conversion.credentials_file.is_some());
    assert_eq!(config.webhook.ca_secret, "d");
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    for (text, part) in [
        ("level: 23", "level"),
        ("platforms: some", "nodes, all, or a list"),
        ("platforms: []", "nodes, all, or a list"),
        ("workers: 0", "workers is 0"),
        ("layersAtOnce: 0", "layersAtOnce is 0"),
        ("recheckInterval: 0s", "recheckInterval"),
        ("webhook: {service: ''}", "webhook.service is empty"),
        ("unknown: 1", "config.yaml"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("config.yaml"), "{text}: {error}");
    }
}
