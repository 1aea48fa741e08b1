//! Result of one check.

use serde::Serialize;
use zstart_core::chain;

use super::name::CheckName;
use crate::cluster::is_forbidden;

/// Checks on one subject.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) checks: Vec<Check>,
}

/// Result of a check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: CheckName,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
    /// Finding, as a statement.
    pub(super) text: String,
}

/// Outcome of a check. Only a finding that asks for an action names one.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub(super) enum Outcome {
    Passed,
    /// zstart works, though perhaps not for every pod.
    Warning {
        todo: String,
    },
    /// zstart doesn't work, or can stop pods.
    Failed {
        todo: String,
    },
    /// The check couldn't be made, e.g. for lack of a right.
    Skipped,
}

/// Object that the API server didn't return.
#[derive(Debug)]
pub(super) enum Unread {
    /// The user may not read it.
    Forbidden {
        action: String,
    },
    Failed {
        action: String,
        cause: String,
    },
}

/// Object of the cluster, if it could be read.
pub(super) type Read<T> = Result<T, Unread>;

impl Check {
    pub(super) fn passed(name: CheckName, text: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Passed, text: text.into() }
    }

    pub(super) fn warning(name: CheckName, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warning { todo: todo.into() }, text: text.into() }
    }

    pub(super) fn failed(name: CheckName, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Failed { todo: todo.into() }, text: text.into() }
    }

    pub(super) fn skipped(name: CheckName, text: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, text: text.into() }
    }

    /// Reports that the objects of a check can't be read.
    pub(super) fn unread(name: CheckName, unread: &Unread) -> Self {
        match unread {
            Unread::Forbidden { action } => Self::skipped(name, format!("you may not {action}")),
            Unread::Failed { action, cause } => Self::failed(
                name,
                format!("the API server failed to {action}: {cause}"),
                "run the check again; the API server's log has the cause",
            ),
        }
    }
}

impl Unread {
    /// Takes the error of a request, which `action` names, e.g. `list nodes`.
    pub(super) fn new(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |error| {
            if is_forbidden(&error) {
                Self::Forbidden { action }
            } else {
                Self::Failed { action, cause: chain(&error) }
            }
        }
    }
}

/// Formats a list of names. Long lists are cut.
pub(super) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
