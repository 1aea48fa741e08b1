//! Purpose of a request.

use std::fmt;

/// Direction of an operation, as registries grant rights for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Writing.
    Push,
}

/// Purpose of a request: the context of its error. The outermost function that knows the operation adds it,
/// once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Direction.
    pub access: Access,
    verb: &'static str,
    subject: String,
}

impl Operation {
    /// An operation that reads. `verb` and `subject` follow "failed to" in a message, e.g. `pull manifest`
    /// and its digest; the subject may be empty.
    pub fn pull(verb: &'static str, subject: impl fmt::Display) -> Self {
        Self { access: Access::Pull, verb, subject: subject.to_string() }
    }

    /// An operation that writes; the arguments are those of [`pull`](Self::pull).
    pub fn push(verb: &'static str, subject: impl fmt::Display) -> Self {
        Self { access: Access::Push, verb, subject: subject.to_string() }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.verb)?;
        if self.subject.is_empty() { Ok(()) } else { write!(formatter, " {}", self.subject) }
    }
}
