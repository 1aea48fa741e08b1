//! Reads the `container_definitions` of Terraform's [JSON syntax](https://developer.hashicorp.com/terraform/language/syntax/json)
//! into a tree.

use crate::cursor::Cursor;
use crate::error::ParseError;
use crate::found::Cpu;
use crate::json;
use crate::terraform::{ATTRIBUTE, Definition, read_string};
use crate::tree::{Kind, Style, Tree};

/// Key of a comment.
const COMMENT: &str = "//";

/// Reads a text.
pub(crate) fn read(text: &str) -> Result<(Tree, Vec<Definition>), ParseError> {
    let mut tree = json::read(text)?;
    let mut definitions = Vec::new();
    for root in &tree.roots {
        find(Cursor::root(&tree, *root), &mut Vec::new(), &mut definitions);
    }
    for definition in &mut definitions {
        let node = &tree.nodes[definition.root];
        if let Kind::Scalar { style: Style::DoubleQuoted, value } = &node.kind
            && !value.is_empty()
        {
            let range = node.range.clone();
            let content = read_string(&mut tree, text, range)?;
            // An edit changes the string too.
            tree.nodes[definition.root].kind = Kind::Call(vec![content]);
            definition.root = content;
        }
    }
    Ok((tree, definitions))
}

/// Finds the definitions in a value below these keys.
fn find<'t>(value: Cursor<'t>, keys: &mut Vec<&'t str>, definitions: &mut Vec<Definition>) {
    for item in value.items() {
        find(item, keys, definitions);
    }
    for (key, entry) in value.entries() {
        let key = key.unwrap_or_default();
        if key == COMMENT {
            continue;
        }
        if key == ATTRIBUTE {
            definitions.push(Definition { root: entry.id(), owner: owner(keys), cpu: cpu(value) });
        } else {
            keys.push(key);
            find(entry, keys, definitions);
            keys.pop();
        }
    }
}

/// Name of the block that these keys lead to, e.g. `aws_ecs_task_definition.web`.
fn owner(keys: &[&str]) -> String {
    match keys {
        ["resource" | "data", kind, name, ..] => format!("{kind}.{name}"),
        ["module", name, ..] | [name, ..] => (*name).to_owned(),
        [] => String::new(),
    }
}

/// Architecture that the `runtime_platform` of a task definition names. A block is an object or a list of one.
fn cpu(task: Cursor<'_>) -> Option<Cpu> {
    let platform = task.get("runtime_platform")?;
    let platform = platform.items().first().copied().unwrap_or(platform);
    Cpu::parse(platform.text_at(&["cpu_architecture"])?)
}
