use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Reference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn short_names_are_normalised_as_by_docker() {
    let cases = [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("registry.example/a/b/c:v1", "registry.example/a/b/c:v1"),
        ("127.0.0.1:5000/app:v1", "127.0.0.1:5000/app:v1"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("Upper/app", "Upper/app:latest"),
        ("foo_bar__baz/a-b--c.d", "docker.io/foo_bar__baz/a-b--c.d:latest"),
    ];
    for (given, normal) in cases {
        assert_eq!(parse(given).to_string(), normal, "{given}");
    }
}

#[test]
fn digest_with_and_without_tag_is_parsed() {
    let alone = parse(&format!("nginx@{DIGEST}"));
    assert_eq!(alone.tag(), None);
    assert_eq!(alone.version(), DIGEST);

    let both = parse(&format!("localhost:5000/app:v1@{DIGEST}"));
    assert_eq!(both.tag().unwrap().as_str(), "v1");
    assert_eq!(both.version(), DIGEST);
    assert_eq!(both.to_string(), format!("localhost:5000/app:v1@{DIGEST}"));
    assert_eq!(both.identity().to_string(), format!("localhost:5000/app@{DIGEST}"));
}

#[test]
fn invalid_reference_error_names_the_faulty_part() {
    let cases = [
        ("", "empty"),
        (" ", "empty"),
        ("https://registry.example/app", "scheme"),
        ("registry.example/App", "repository \"App\""),
        ("registry.example/", "repository \"\""),
        ("registry.example//app", "repository \"/app\""),
        ("app/../etc", "repository"),
        ("a___b", "repository"),
        ("nginx:", "tag \"\""),
        ("nginx:-x", "tag \"-x\""),
        ("registry.example:0/app", "registry \"registry.example:0\""),
        ("registry.example:99999/app", "registry"),
        ("-bad.example/app", "registry"),
        ("user@registry.example/app", "digest"),
        ("nginx@sha256:abc", "digest"),
        ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "repository"),
    ];
    for (given, part) in cases {
        let error = given.parse::<Reference>().unwrap_err().to_string();
        assert!(error.contains(part), "{given:?}: {error}");
    }
    let long = format!("registry.example/{}", "a".repeat(239));
    assert_eq!(long.parse::<Reference>(), Err(ReferenceError::TooLong { text: long.clone() }));
    assert!(format!("nginx:{}", "t".repeat(129)).parse::<Reference>().is_err());
}

prop_compose! {
    fn any_reference()(
        host in prop::option::of("([a-z0-9]{1,8}\\.[a-z]{2,5}|localhost)(:[1-9][0-9]{1,3})?/"),
        path in "[a-z0-9]{1,9}((_|__|-{1,3})[a-z0-9]{1,9}){0,2}(/[a-z0-9]{1,9}){0,3}",
        tag in prop::option::of(":[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"),
        digest in prop::option::of("@sha256:[0-9a-f]{64}"),
    ) -> String {
        [host, Some(path), tag, digest].into_iter().flatten().collect()
    }
}

proptest! {
    #[test]
    fn printed_reference_parses_to_itself(text in any_reference()) {
        let reference = parse(&text);
        prop_assert_eq!(&parse(&reference.to_string()), &reference);
        prop_assert_eq!(reference.identity().identity(), reference.identity());
        prop_assert!(reference.tag().is_some() || reference.digest().is_some());
    }

    #[test]
    fn parser_never_panics(text in "\\PC{0,80}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(parse(&reference.to_string()), reference);
        }
    }
}

#[test]
fn written_name_keeps_the_authors_spelling() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (reference, name, names_host) in [
        ("app".to_owned(), "app", false),
        ("team/app:v1".to_owned(), "team/app", false),
        ("docker.io/team/app:v1".to_owned(), "docker.io/team/app", true),
        ("localhost:5000/app:v1".to_owned(), "localhost:5000/app", true),
        ("registry.example:5000/app".to_owned(), "registry.example:5000/app", true),
        (format!("team/app:v1@{digest}"), "team/app", false),
        (format!("registry.example/app@{digest}"), "registry.example/app", true),
    ] {
        assert_eq!((written_name(&reference), names_registry(&reference)), (name, names_host), "{reference}");
    }
}
