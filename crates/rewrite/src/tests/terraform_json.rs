use super::{NEW, images, parse, parse_error, replace};
use crate::{Cpu, EditError, Format, Obstacle, ParseError, Target};

const OLD: &str = "r.example/app:v1";

/// File with a value of `container_definitions`.
fn file(value: &str) -> String {
    format!(
        "{{\"//\": {{\"container_definitions\": \"[{{] {OLD}\"}}, \"resource\": {{\"aws_ecs_task_definition\": {{\"web\": [{{\n  \
         \"runtime_platform\": [{{\"cpu_architecture\": \"ARM64\"}}],\n  \"container_definitions\": {value}\n}}]}}}}}}\n"
    )
}

/// Requires that these are the images, and that only the reference of the first changes.
fn require_edit(value: &str, expected: &[&str]) {
    let text = file(value);
    let manifest = parse(&text, Format::TerraformJson);
    let expected: Vec<String> =
        expected.iter().map(|image| format!("aws_ecs_task_definition.web{image}")).collect();
    assert_eq!(images(&manifest), expected, "{text}");
    let first = &manifest.images()[0];
    assert_eq!((first.line, first.target), (3, Target::Ecs(Some(Cpu::Arm))));
    let edited = replace(&manifest, OLD, NEW).expect("the text can be edited");
    let (comment, rest) = text.split_at(text.find("resource").expect("the resource follows"));
    assert_eq!(edited, format!("{comment}{}", rest.replace(OLD, NEW)));
}

#[test]
fn json_in_a_string_is_edited() {
    require_edit(
        r#""[\n {\"name\":\"app é\\n\\\"\",\"cpu\": ${var.cpu},\"image\":\"r.example/app:v1\"},\t{\"name\":\"log\",\"image\":\"${var.tags[\"log\"]}\"}]""#,
        &[", container app é\n\": r.example/app:v1", r#", container log: (${var.tags[\"log\"]})"#],
    );
}

#[test]
fn expression_in_a_string_is_edited() {
    require_edit(
        r#""${jsonencode([{image = \"r.example/app:v1\", command = \"{{.Name}}\"}])}\n""#,
        &[", container -: r.example/app:v1"],
    );
    require_edit(
        r#""${jsonencode(concat([{name = \"app\", \"image\" : \"r.example/app:v1\"}, {\"image\": var.log}], local.more))}""#,
        &[", container app: r.example/app:v1", ", container -: (var.log)", ": (local.more)"],
    );
}

#[test]
fn containers_of_a_module_are_edited() {
    let text = r#"{"module": {"ecs": {"services": {"web": {"container_definitions": {
        "app": {"image": "r.example/app:v1", "environment": [{"name": "IMAGE", "value": "r.example/b:v1"}]},
        "log": {"image": "${var.log}"}}}}}}}"#;
    let expected = ["ecs, container app: r.example/app:v1", "ecs, container log: (\"${var.log}\")"];
    assert_eq!(images(&parse(text, Format::TerraformJson)), expected);
    super::require_edit(text, Format::TerraformJson, OLD);
}

#[test]
fn value_computed_elsewhere_is_listed() {
    for (value, expected) in [
        (r#""${file(\"task.json\")}""#, r#": (file(\"task.json\"))"#),
        (r#""${local.a}${local.b}""#, ": (${local.a}${local.b})"),
        (r#""[{}${local.more}]""#, ": ([{}${local.more}])"),
        (r#""%{ if var.x }[]%{ endif }""#, ": (%{ if var.x }[]%{ endif })"),
        (r#""task.json""#, ": (task.json)"),
        (r#""${""#, r#": ("${")"#),
    ] {
        let found = images(&parse(&file(value), Format::TerraformJson));
        assert_eq!(found, [format!("aws_ecs_task_definition.web{expected}")], "{value}");
    }
    for value in ["\"\"", "null", "[]", "\"[]\"", r#""[{\"name\": \"a\"}]""#] {
        assert_eq!(images(&parse(&file(value), Format::TerraformJson)), [""; 0], "{value}");
    }
}

#[test]
fn invalid_json_in_a_string_is_refused() {
    let refused = parse_error(&file(r#""[\n{\"name\": }\n]""#), Format::TerraformJson);
    assert!(matches!(refused, ParseError::Syntax { format: "JSON", line: 3, .. }), "{refused:?}");
}

#[test]
fn image_with_its_own_escapes_is_refused() {
    let text = file(r#""[{\"name\": \"app\", \"image\": \"r.example\\/app:v1\"}]""#);
    let refused = replace(&parse(&text, Format::TerraformJson), OLD, NEW).unwrap_err();
    assert_eq!(refused, EditError::Obstacle { document: 1, line: 3, obstacle: Obstacle::Unclear });
}
