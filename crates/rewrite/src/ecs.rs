//! Images of Amazon ECS task definitions.

use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::found::{Cpu, Target};
use crate::terraform::Definition;

/// Finds the images of a task definition: the input of `register-task-definition`, the output of
/// `describe-task-definition`, or the list of container definitions alone.
pub(crate) fn find(collector: &mut Collector<'_>, root: Cursor<'_>) {
    let task = root.get("taskDefinition").filter(|task| task.is_mapping()).unwrap_or(root);
    let cpu = task.text_at(&["runtimePlatform", "cpuArchitecture"]).and_then(Cpu::parse);
    if let Some(containers) = task.get("containerDefinitions") {
        let owner = match task.text_at(&["family"]) {
            Some(family) => format!("task {family}"),
            None => "task".to_owned(),
        };
        for container in containers.items() {
            add(collector, container, &owner, cpu);
        }
    } else if root.is_sequence() && root.items().into_iter().all(is_container) {
        for container in root.items() {
            add(collector, container, "task", None);
        }
    }
}

/// Finds the images of Terraform's `container_definitions`. A value that is written elsewhere is listed, because its
/// images can't be seen here.
pub(crate) fn find_definition(collector: &mut Collector<'_>, value: Cursor<'_>, definition: &Definition) {
    let before = collector.len();
    find_containers(collector, value, definition);
    if collector.len() == before {
        collector.add(value, &definition.owner, Target::Ecs(definition.cpu));
    }
}

fn find_containers(collector: &mut Collector<'_>, value: Cursor<'_>, definition: &Definition) {
    let owner = &definition.owner;
    for argument in value.arguments() {
        find_containers(collector, argument, definition);
    }
    for container in value.items() {
        if container.is_mapping() {
            add(collector, container, owner, definition.cpu);
        } else {
            collector.add(container, owner, Target::Ecs(definition.cpu));
        }
    }
    if value.get("image").is_some() {
        add(collector, value, owner, definition.cpu);
    } else {
        // Modules take a map of containers.
        for (name, container) in value.entries() {
            if let Some(image) = container.get("image") {
                let holder = format!("{owner}, container {}", name.unwrap_or("-"));
                collector.add(image, &holder, Target::Ecs(definition.cpu));
            }
        }
    }
    if value.is_expression() {
        collector.add(value, owner, Target::Ecs(definition.cpu));
    }
}

fn is_container(value: Cursor<'_>) -> bool {
    value.text_at(&["name"]).is_some() && value.get("image").is_some()
}

fn add(collector: &mut Collector<'_>, container: Cursor<'_>, owner: &str, cpu: Option<Cpu>) {
    if let Some(image) = container.get("image") {
        let name = container.text_at(&["name"]).unwrap_or("-");
        collector.add(image, &format!("{owner}, container {name}"), Target::Ecs(cpu));
    }
}

impl Cpu {
    /// Parses ECS's word for an architecture.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "X86_64" => Some(Self::X86),
            "ARM64" => Some(Self::Arm),
            _ => None,
        }
    }
}
