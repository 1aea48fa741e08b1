//! Defaults, fields and errors of the configuration file.

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("config.yaml"), text)
}

#[test]
fn empty_file_gives_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.level.get(), 3);
    assert_eq!((config.method, config.verify), (Method::Auto, Verification::Sampled));
    assert_eq!(config.platforms, Platforms::Nodes);
    assert_eq!(config.tag_children, TagChildren::Auto);
    assert_eq!(config.platform_retention, Duration::from_hours(168));
    assert_eq!(config.recheck_interval, Duration::from_mins(5));
    assert_eq!(config.recheck_interval_always, Duration::from_mins(1));
    assert_eq!(config.credentials_file, None);
    assert_eq!(config.certificates, Some(CertificateSettings::default()));
}

#[test]
fn certificates_of_others_have_no_settings() {
    assert_eq!(parse("rotateCertificates: false").unwrap().certificates, None);
}

#[test]
fn every_field_is_read() {
    let config = parse(
        "healthListen: 127.0.0.1:1\nlease: seat\nlevel: 19\nmethod: transcode\nverify: full\nplatforms: [linux/amd64]\n\
         platformRetention: 48h\nplatformsConfigMap: seen\nworkers: 4\nlayersAtOnce: 3\n\
         tagChildren: never\nconversionTimeout: 2h\n\
         recheckInterval: 90s\nrecheckIntervalAlways: 2s\nconfirmInterval: 3h\n\
         measurePulls: false\nkeepRecordsFor: 24h\nimmutableTags: ['r.example/*:v*']\n\
         plainHttpRegistries: ['registry.lab:5000']\ntokenServers: [login.example]\n\
         credentialsFile: /a/config.json\necrRegistries: [public.ecr.aws]\n\
         usePullSecrets: false\npullSecretNames: [pull]\npullSecretNamespaces: [shop]\n\
         excludedNamespaces: [quiet]\nallowedControllers: [CloneSet.apps.kruise.io]\n\
         rotateCertificates: true\n\
         webhook: {configuration: a, service: b, servingSecret: c, caSecret: d}\n",
    )
    .unwrap();
    // No `..`: the compiler reports a new field that is not tested here.
    let Config {
        health_listen,
        lease,
        level,
        method,
        verify,
        platforms,
        platform_retention,
        platforms_config_map,
        executor,
        layers_at_once,
        tag_children,
        conversion_timeout,
        recheck_interval,
        recheck_interval_always,
        confirm_interval,
        measure_pulls,
        keep_records_for,
        immutable_tags,
        plain_http_registries,
        token_servers,
        credentials_file,
        ecr_registries,
        pull_secrets: PullSecretAccess { is_enabled, names: secrets, namespaces: secret_namespaces },
        exclusions: Exclusions { namespaces, allowed_controllers },
        certificates,
    } = config;
    assert_eq!(health_listen.to_string(), "127.0.0.1:1");
    assert_eq!(lease, "seat");
    assert_eq!((level.get(), layers_at_once.get()), (19, 3));
    assert_eq!((method, verify), (Method::Transcode, Verification::Full));
    assert_eq!(executor, ExecutorSettings::Pool { workers: 4 });
    assert_eq!(tag_children, TagChildren::Never);
    assert_eq!(platforms, Platforms::List(vec![Platform::new("linux", "amd64")]));
    assert_eq!((platform_retention, &*platforms_config_map), (Duration::from_hours(48), "seen"));
    assert_eq!(conversion_timeout, Duration::from_hours(2));
    assert_eq!(recheck_interval, Duration::from_secs(90));
    assert_eq!(recheck_interval_always, Duration::from_secs(2));
    assert_eq!((confirm_interval, keep_records_for), (Duration::from_hours(3), Duration::from_hours(24)));
    assert!(!measure_pulls);
    assert_eq!(immutable_tags, ["r.example/*:v*".parse().unwrap()]);
    assert!(plain_http_registries.contains("registry.lab:5000"));
    assert!(token_servers.contains("login.example"));
    assert_eq!(credentials_file, Some("/a/config.json".into()));
    assert!(ecr_registries.contains("public.ecr.aws"));
    assert!(!is_enabled && secrets.contains("pull") && secret_namespaces.contains("shop"));
    assert!(namespaces.contains("quiet"));
    assert!(allowed_controllers.contains(&"CloneSet.apps.kruise.io".parse().unwrap()));
    let CertificateSettings { configuration, service, serving_secret, ca_secret } = certificates.unwrap();
    let names = [configuration, service, serving_secret, ca_secret];
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn jobs_have_settings_of_their_own() {
    let template = "template: {spec: {containers: [{name: convert, image: c}]}}";
    let config = parse(&format!(
        "executor: jobs\njobs: {{maxJobs: 7, queue: batch, ttl: 2m, ecrRole: 'arn:aws:iam::1:role/r', {template}}}"
    ));
    let executor = config.unwrap().executor;
    assert_eq!(executor.max_conversions(), 7);
    let ExecutorSettings::Jobs(jobs) = executor else { panic!("{executor:?}") };
    assert_eq!((jobs.queue.as_deref(), jobs.ttl), (Some("batch"), Duration::from_mins(2)));
    assert_eq!(jobs.ecr_role.as_deref(), Some("arn:aws:iam::1:role/r"));
    let config = parse(&format!("executor: jobs\njobs: {{{template}}}")).unwrap();
    let ExecutorSettings::Jobs(jobs) = config.executor else { panic!("no jobs") };
    assert_eq!((jobs.max_jobs, jobs.queue, jobs.ttl), (20, None, Duration::from_hours(1)));
}

#[test]
fn errors_name_the_file_and_the_field() {
    for (text, part) in [
        ("level: 23", "level"),
        ("method: fast", "transcode"),
        ("verify: all", "full"),
        ("lease: ''", "lease is empty"),
        ("platforms: some", "platforms"),
        ("platformRetention: 0s", "platformRetention"),
        ("workers: 0", "workers"),
        ("executor: cloud", "executor"),
        ("executor: jobs", "container named convert"),
        ("executor: jobs\njobs: {maxJobs: 0}", "jobs.maxJobs"),
        ("executor: jobs\njobs: {ttl: 0s}", "jobs.ttl"),
        ("executor: jobs\njobs: {template: {spec: {containers: [{name: convert}]}}}", "has an image"),
        ("recheckInterval: 0s", "recheckInterval"),
        ("recheckInterval: -5m", "recheckInterval"),
        ("recheckIntervalAlways: 0s", "recheckIntervalAlways"),
        ("confirmInterval: 0s", "confirmInterval"),
        ("confirmInterval: 21h", "at most 20h"),
        ("keepRecordsFor: 0s", "keepRecordsFor"),
        ("conversionTimeout: 0s", "conversionTimeout"),
        ("immutableTags: ['a b']", "white space"),
        ("tagChildren: sometimes", "auto, always, never"),
        ("allowedControllers: ['clone set']", "allowedControllers"),
        ("ecrRegistries: [ecr.example]", "\"ecr.example\""),
        ("lvl: 3", "config.yaml"),
    ] {
        let error = zstart_core::chain(&parse(text).unwrap_err());
        assert!(error.contains(part) && error.contains("config.yaml"), "{text}: {error}");
    }
}
