use super::{images, parse, parse_error, require_edit};
use crate::{Cpu, Format, ParseError, Target};

const OLD: &str = "r.example/app:v1";

const JSONENCODE: &str = r#"
# r.example/app:v1 in a comment
resource "aws_ecs_task_definition" "web" {
  family = "web"
  container_definitions = jsonencode([
    {
      name  = "app" # é
      image = "r.example/app:v1" /* pinned */
      environment = [{ name = "IMAGE", value = "r.example/app:v2" }]
    },
    { "name" : "log", "image" : "${var.registry}/log:v1" },
    { name = "agent", image = var.agent },
  ])

  runtime_platform {
    cpu_architecture = "ARM64"
  }
}
"#;

#[test]
fn jsonencode_is_edited() {
    let manifest = parse(JSONENCODE, Format::Terraform);
    let expected = [
        "aws_ecs_task_definition.web, container app: r.example/app:v1",
        "aws_ecs_task_definition.web, container log: (\"${var.registry}/log:v1\")",
        "aws_ecs_task_definition.web, container agent: (var.agent)",
    ];
    assert_eq!(images(&manifest), expected);
    assert_eq!(manifest.images()[0].target, Target::Ecs(Some(Cpu::Arm)));
    assert_eq!(manifest.images()[0].line, 8);
    let edited = super::replace(&manifest, OLD, super::NEW).unwrap();
    assert_eq!(edited, JSONENCODE.replace("\"r.example/app:v1\"", &format!("\"{}\"", super::NEW)));
}

#[test]
fn heredoc_is_edited() {
    for (start, cpu) in [("<<-EOF", "${var.cpu}"), ("<<EOF", "256")] {
        let text = format!(
            "resource \"aws_ecs_task_definition\" \"web\" {{\n  \
             container_definitions = {start}\n    [\n      {{\n        \
             \"name\": \"${{var.name}} é\", \"cpu\": {cpu},\n        \"image\": \"r.example/app:v1\"\n      }},\n      \
             {{\"name\": \"b\", \"image\": \"r.example/b:${{var.tags[\"b\"]}}\"}}\n    ]\n  EOF\n}}\n"
        );
        let text = if start == "<<EOF" { text.replace("  EOF\n", "EOF\n") } else { text };
        let expected = [
            "aws_ecs_task_definition.web, container -: r.example/app:v1",
            "aws_ecs_task_definition.web, container b: (\"r.example/b:${var.tags[\"b\"]}\")",
        ];
        assert_eq!(images(&parse(&text, Format::Terraform)), expected, "{text}");
        require_edit(&text, Format::Terraform, OLD);
    }
}

#[test]
fn containers_of_modules_are_edited() {
    let text = r#"
module "ecs" {
  source = "terraform-aws-modules/ecs/aws"
  services = {
    web = {
      container_definitions = {
        app = {
          image = "r.example/app:v1"
        }
      }
    }
  }
}
"#;
    assert_eq!(images(&parse(text, Format::Terraform)), ["ecs, container app: r.example/app:v1"]);
    require_edit(text, Format::Terraform, OLD);
}

#[test]
fn definitions_written_elsewhere_are_listed() {
    for (value, expected) in [
        ("file(\"task.json\")", "(file(\"task.json\"))"),
        ("local.containers", "(local.containers)"),
        ("jsonencode(local.containers)", "(local.containers)"),
        ("\"${path.module}/task.json\"", "(\"${path.module}/task.json\")"),
        ("\"task.json\"", "(\"task.json\")"),
    ] {
        let text = format!(
            "resource \"aws_ecs_task_definition\" \"web\" {{\n  container_definitions = {value}\n}}\n"
        );
        let found = images(&parse(&text, Format::Terraform));
        assert_eq!(found, [format!("aws_ecs_task_definition.web: {expected}")], "{text}");
    }
}

#[test]
fn json_in_a_quoted_string_is_edited() {
    for text in [
        r#"a { container_definitions = "[\u007b\"name\": \"b\", \"image\": \"r.example/app:v1\"}]" }"#,
        r#"a { container_definitions = "[{\"name\": \"${var.names["b"]}\", \"image\": \"r.example/app:v1\"}]" }"#,
        r#"a { container_definitions = "${jsonencode([{ image = "r.example/app:v1" }])}" }"#,
    ] {
        require_edit(text, Format::Terraform, OLD);
    }
    let text = "a {\n  container_definitions = \"[\\n{\\\"name\\\": }]\"\n}\n";
    let refused = parse_error(text, Format::Terraform);
    assert!(matches!(refused, ParseError::Syntax { format: "JSON", line: 2, .. }), "{refused:?}");
}

#[test]
fn other_texts_of_a_container_stay() {
    let text = r#"a {
  container_definitions = jsonencode([{ image = "r.example/app:v1", command = ["sh", "-c", <<EOF
[ -f /x ] && echo hi
EOF
], logConfiguration = { options = { tag = "{{.Name}}" } } }, merge(local.base, { tag = "{{.ID}}" })])
}"#;
    require_edit(text, Format::Terraform, OLD);
    let text =
        "a {\n container_definitions = <<EOF\n${jsonencode([{image = \"r.example/app:v1\"}])}\nEOF\n}\n";
    require_edit(text, Format::Terraform, OLD);
    let text = "a {\n container_definitions = var.x ? (<<EOF\n[{\"image\": \"r.example/app:v1\"}]\nEOF\n ) : \"[]\"\n}\n";
    require_edit(text, Format::Terraform, OLD);
}

#[test]
fn heredoc_that_an_interpolation_completes_is_listed() {
    let text =
        "a {\n  container_definitions = <<EOF\n[{\"image\": \"r.example/app:v1\"}${local.more}]\nEOF\n}\n";
    let found = images(&parse(text, Format::Terraform));
    assert!(found.len() == 1 && found[0].starts_with("a: (<<EOF"), "{found:?}");
}

#[test]
fn part_of_a_concatenation_is_edited() {
    let text = "locals {\n  container_definitions = jsonencode(concat(\
                [{ name = \"a\", image = \"r.example/app:v1\" }], \
                 var.debug ? [{ name = \"b\", image = \"r.example/app:v1\" }] : [], local.sidecars))\n}\n";
    let expected = [
        "locals, container a: r.example/app:v1",
        "locals, container b: r.example/app:v1",
        "locals: (local.sidecars)",
    ];
    assert_eq!(images(&parse(text, Format::Terraform)), expected);
    require_edit(text, Format::Terraform, OLD);
}

#[test]
fn invalid_terraform_is_refused_with_its_line() {
    let refused = parse_error("a = 1\nb = [\n", Format::Terraform);
    assert!(matches!(refused, ParseError::Syntax { format: "Terraform", line: 2.., .. }), "{refused:?}");
    let text = "resource \"a\" \"b\" {\n  container_definitions = <<EOF\n[\n{\"name\": }\n]\nEOF\n}\n";
    let refused = parse_error(text, Format::Terraform);
    assert!(matches!(refused, ParseError::Syntax { format: "JSON", line: 4, .. }), "{refused:?}");
}

#[test]
fn heredoc_with_directives_is_listed() {
    let text = "resource \"a\" \"b\" {\n  container_definitions = <<EOF\n[%{ if var.x }{\"name\": \"a\", \
                \"image\": \"r.example/app:v1\"}%{ endif }]\nEOF\n}\n";
    let found = images(&parse(text, Format::Terraform));
    assert!(found.len() == 1 && found[0].starts_with("a.b: (<<EOF"), "{found:?}");
}

#[test]
fn arguments_of_other_functions_are_left_alone() {
    let text = r#"
resource "aws_ecs_task_definition" "web" {
  container_definitions = templatefile("c.json.tpl", { image = "r.example/app", tag = "v1" })
}
"#;
    let found = images(&parse(text, Format::Terraform));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("(templatefile("), "{found:?}");
}
