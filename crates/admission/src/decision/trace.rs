//! Steps that led to a decision, in words. The webhook records none; `zstart explain` prints them.

/// Step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The step speaks for the variant.
    pub passed: bool,
    /// Finding, in words.
    pub text: String,
}

/// Recorder of steps.
pub trait Trace: Clone + Default {
    /// Records a step. `text` is called only if steps are kept.
    fn step(&mut self, passed: bool, text: impl FnOnce() -> String);
}

/// Keeps no steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untraced;

impl Trace for Untraced {
    fn step(&mut self, _: bool, _: impl FnOnce() -> String) {}
}

impl Trace for Vec<Step> {
    fn step(&mut self, passed: bool, text: impl FnOnce() -> String) {
        self.push(Step { passed, text: text() });
    }
}
