//! Images of task definitions in AWS CloudFormation templates.

use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::found::{Cpu, Target};

/// Type of the resource.
const TASK_DEFINITION: &str = "AWS::ECS::TaskDefinition";
/// Depth of functions around a container, e.g. `Fn::If`.
const MAX_DEPTH: usize = 8;

/// Finds the images of the task definitions of a template. Returns false if the value is no template.
pub(crate) fn find(collector: &mut Collector<'_>, root: Cursor<'_>) -> bool {
    let resources = root.get("Resources").map(Cursor::entries).unwrap_or_default();
    let is_aws = |resource: Cursor<'_>| resource.text_at(&["Type"]).is_some_and(|kind| kind.contains("::"));
    if !resources.iter().any(|(_, resource)| is_aws(*resource)) {
        return false;
    }
    for (name, resource) in resources {
        if resource.text_at(&["Type"]) != Some(TASK_DEFINITION) {
            continue;
        }
        let Some(properties) = resource.get("Properties") else { continue };
        let Some(containers) = properties.get("ContainerDefinitions") else { continue };
        let cpu = properties.text_at(&["RuntimePlatform", "CpuArchitecture"]).and_then(Cpu::parse);
        let owner = format!("task {}", name.unwrap_or("-"));
        let before = collector.len();
        find_in(collector, containers, &owner, Target::Ecs(cpu), MAX_DEPTH);
        if collector.len() == before {
            collector.add_expression(containers, &owner, Target::Ecs(cpu));
        }
    }
    true
}

/// Finds the containers in a value: in a list, or in the branches of a function.
fn find_in(collector: &mut Collector<'_>, value: Cursor<'_>, owner: &str, target: Target, depth: usize) {
    if let Some(image) = value.get("Image") {
        let holder = format!("{owner}, container {}", value.text_at(&["Name"]).unwrap_or("-"));
        match image.text() {
            // A dynamic reference to a parameter or a secret.
            Some(text) if !text.contains("{{resolve:") => collector.add(image, &holder, target),
            _ => collector.add_expression(image, &holder, target),
        }
    } else if depth > 0 {
        let values = value.entries().into_iter().map(|(_, value)| value);
        for value in values.chain(value.items()) {
            find_in(collector, value, owner, target, depth - 1);
        }
    }
}
