use super::{NEW, images, parse, parse_error, replace, require_edit};
use crate::{EditError, Format, ImageValue, Obstacle, ParseError};

const OLD: &str = "registry.example/app:v1";

fn pod(image: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - name: app\n      image: {image}\n")
}

#[test]
fn every_notation_of_a_scalar_is_kept() {
    for text in [
        pod(OLD),
        pod("'registry.example/app:v1'"),
        pod("\"registry.example/app:v1\"   # why"),
        pod("!!str registry.example/app:v1 # tagged"),
        pod("&image registry.example/app:v1"),
        pod("   registry.example/app:v1\t# tab").replace('\n', "\r\n"),
        format!("\u{feff}# überschrift é 漢字 😀\n{}", pod(OLD)),
        "{apiVersion: v1, kind: Pod, spec: {containers: [{image: registry.example/app:v1, name: a}]}}"
            .to_owned(),
        format!("%YAML 1.2\n---\n{}...\n# end", pod(OLD)),
        pod("\n        registry.example/app:v1"),
        "kind: Pod\napiVersion: v1\nspec:\n  containers:\n  \
         - {name: é, \"image\": \"registry.example/app:v1\"}"
            .to_owned(),
    ] {
        require_edit(&text, Format::Yaml, OLD);
    }
}

#[test]
fn escaped_string_is_replaced_in_its_quotes() {
    let text = pod(r#""registry.example\/app:\x76\u0031""#);
    let edited = replace(&parse(&text, Format::Yaml), OLD, NEW).unwrap();
    assert_eq!(edited, pod(&format!("\"{NEW}\"")));
}

#[test]
fn same_text_elsewhere_is_left() {
    let text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  image: registry.example/app:v1\n---\n".to_owned()
        + &pod(OLD)
        + "    # registry.example/app:v1\n      env: [{name: IMAGE, value: registry.example/app:v1}]\n";
    let edited = replace(&parse(&text, Format::Yaml), OLD, NEW).unwrap();
    assert_eq!(edited, text.replace("      image: registry.example/app:v1", &format!("      image: {NEW}")));
}

#[test]
fn image_of_an_alias_or_a_shared_anchor_is_refused() {
    for (text, obstacle) in [
        (pod("&i registry.example/app:v1\n    - {name: b, image: *i}"), Obstacle::Anchor),
        (format!("x: &i registry.example/app:v1\n{}", pod("*i")), Obstacle::Alias),
        (
            format!("x: &c {{image: registry.example/app:v1}}\n{}", pod("busybox\n    - {name: b, <<: *c}")),
            Obstacle::Alias,
        ),
        (pod(">-\n        registry.example/app:v1"), Obstacle::Block),
        (pod("busybox\n      image: registry.example/app:v1"), Obstacle::Duplicate),
        (pod("\"registry.example/\\\n        app:v1\""), Obstacle::Unclear),
    ] {
        let refused = replace(&parse(&text, Format::Yaml), OLD, NEW).unwrap_err();
        assert!(
            matches!(refused, EditError::Obstacle { obstacle: found, .. } if found == obstacle),
            "{text}: {refused:?}"
        );
    }
}

#[test]
fn refusal_names_document_and_line() {
    let text =
        format!("{}---\n{}", pod("busybox"), pod("&i registry.example/app:v1\n    - {name: b, image: *i}"));
    let refused = replace(&parse(&text, Format::Yaml), OLD, NEW).unwrap_err();
    assert!(refused.to_string().starts_with("document 2, line 13: "), "{refused}");
}

#[test]
fn templates_of_helm_are_refused_with_the_way_out() {
    for text in [
        pod("{{ .Values.image }}"),
        pod("\"{{ .Values.image }}:v1\""),
        pod("{{ .Values.image }}:{{ .Values.tag }}"),
        format!("{{{{- if .Values.enabled }}}}\n{}{{{{- end }}}}\n", pod(OLD)),
    ] {
        let refused = parse_error(&text, Format::Yaml);
        assert!(matches!(refused, ParseError::HelmTemplate { .. }), "{text}: {refused:?}");
        assert!(refused.to_string().contains("helm template … | zstart rewrite -f -"), "{refused}");
    }
    // Braces in other values are data.
    require_edit(&(pod(OLD) + "      args: [\"{{ .Name }}\"]\n"), Format::Yaml, OLD);
}

#[test]
fn invalid_yaml_is_refused_with_its_line() {
    let refused = parse_error("a: b\nb: ]\nc: '{{'\n", Format::Yaml);
    assert!(matches!(refused, ParseError::Syntax { format: "YAML", line: 2, .. }), "{refused:?}");
}

#[test]
fn shell_variable_in_an_image_is_an_expression() {
    let manifest = parse(&pod("registry.example/app:${TAG}"), Format::Yaml);
    let expression = ImageValue::Expression("registry.example/app:${TAG}".to_owned());
    assert_eq!(manifest.images()[0].value, expression);
    let manifest = parse(&pod("!Sub registry.example/app"), Format::Yaml);
    assert!(matches!(manifest.images()[0].value, ImageValue::Expression(_)), "{:?}", images(&manifest));
}

#[test]
fn missing_and_empty_images_are_skipped() {
    for image in ["", "null", "~", "''", "[a]", "{a: b}"] {
        assert_eq!(images(&parse(&pod(image), Format::Yaml)), [""; 0], "{image}");
    }
    assert_eq!(images(&parse("", Format::Yaml)), [""; 0]);
    assert_eq!(images(&parse("# nothing\n---\n---\n", Format::Yaml)), [""; 0]);
}

#[test]
fn alias_in_its_own_anchor_ends() {
    let text = "&a\napiVersion: v1\nkind: List\nitems: [*a]\n";
    assert_eq!(images(&parse(text, Format::Yaml)), [""; 0]);
}
