use super::{NEW, images, parse, parse_error, replace, require_edit};
use crate::{Cpu, EditError, Format, Obstacle, ParseError, Target};

const OLD: &str = "r.example/app:v1";

const TASK: &str = "{\r
\t\"family\": \"web\",\r
\t\"runtimePlatform\": {\"cpuArchitecture\": \"X86_64\", \"operatingSystemFamily\": \"LINUX\"},\r
\t\"containerDefinitions\": [\r
\t\t{\"name\": \"app\", \"image\": \"r.example/app:v1\",\r
\t\t\"environment\": [{\"name\": \"😀 \\ud83d\\ude00\", \"value\": \"image\"}]},\r
\t\t{ \"name\":\"log\",\"image\" : \"public.ecr.aws/aws-observability/aws-for-fluent-bit:stable\" }\r
\t]\r
}\r
";

#[test]
fn task_definition_is_edited_in_place() {
    let manifest = parse(TASK, Format::Json);
    let expected = [
        "task web, container app: r.example/app:v1",
        "task web, container log: public.ecr.aws/aws-observability/aws-for-fluent-bit:stable",
    ];
    assert_eq!(images(&manifest), expected);
    assert_eq!(manifest.images()[0].target, Target::Ecs(Some(Cpu::X86)));
    assert_eq!(manifest.images()[1].line, 7);
    require_edit(TASK, Format::Json, OLD);
}

#[test]
fn answer_of_describe_task_definition_is_read() {
    let text = format!("{{\"taskDefinition\": {TASK}, \"tags\": []}}");
    assert_eq!(images(&parse(&text, Format::Json)).len(), 2);
    require_edit(&text, Format::Json, OLD);
}

#[test]
fn list_of_container_definitions_is_read() {
    let text = "[ {\"name\": \"app\", \"image\": \"r.example/app:v1\"} ]";
    assert_eq!(images(&parse(text, Format::Json)), ["task, container app: r.example/app:v1"]);
    require_edit(text, Format::Json, OLD);
    for other in ["[]", "[1]", "[{\"image\": \"r.example/app:v1\"}]", "{}", "\"text\"", ""] {
        assert_eq!(images(&parse(other, Format::Json)), [""; 0], "{other}");
    }
}

#[test]
fn kubernetes_list_in_json_is_read() {
    let text = "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":\
                {\"containers\":[{\"name\":\"a\",\"image\":\"r.example\\/app:v1\"}]}}]}";
    let edited = replace(&parse(text, Format::Json), OLD, NEW).unwrap();
    assert_eq!(edited, text.replace("r.example\\/app:v1", NEW));
}

#[test]
fn duplicate_key_is_refused() {
    let text = "[{\"name\": \"app\", \"image\": \"busybox\", \"image\": \"r.example/app:v1\"}]";
    let refused = replace(&parse(text, Format::Json), OLD, NEW).unwrap_err();
    assert_eq!(refused, EditError::Obstacle { document: 1, line: 1, obstacle: Obstacle::Duplicate });
}

#[test]
fn text_that_is_not_json_is_refused() {
    for text in ["{\"a\": 1,}", "{'a': 1}", "{\"a\": 1} // comment", "{a: 1}", "{\n\"a\"\n1}", "{} {}"] {
        let refused = parse_error(text, Format::Json);
        assert!(matches!(refused, ParseError::Syntax { format: "JSON", .. }), "{text}: {refused:?}");
    }
}
