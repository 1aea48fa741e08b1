//! Cases of the alerts: series of one sample a minute, and the alerts at a time of them.

mod firing;
mod quiet;

pub(crate) use firing::FIRING;
pub(crate) use quiet::QUIET;

/// A series, and its samples in the notation of `promtool test rules`.
pub(crate) type Series = (&'static str, &'static str);

/// A case in which an alert fires.
pub(crate) struct Firing {
    pub(crate) alert: &'static str,
    pub(crate) series: &'static [Series],
    pub(crate) at: &'static str,
    /// Time before, at which the alert doesn't fire yet.
    pub(crate) not_at: Option<&'static str>,
    /// Labels, in addition to the severity.
    pub(crate) labels: &'static [(&'static str, &'static str)],
    pub(crate) summary: &'static str,
}

/// A case in which an alert doesn't fire.
pub(crate) struct Quiet {
    pub(crate) alert: &'static str,
    pub(crate) series: &'static [Series],
    pub(crate) at: &'static str,
}
