//! The next look at a source, as far as the last attempt and the consumers tell.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use zstart_convert::PlatformSelection;
use zstart_core::record::Requests;
use zstart_core::{Platform, Reference};

use super::backoff;
use super::requeue::{Attempt, Due, Inputs, InputsHash, Last, Schedule};
use crate::config::Config;
use crate::context::Context;
use crate::demand::Consumer;
use crate::records::RecordMeta;
use crate::scheduler::Kind;

/// The next look at a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextLook {
    pub(crate) kind: Kind,
    /// Possibly in the past.
    pub(crate) due: Instant,
    /// This process hasn't looked at the source yet. An earlier one may have.
    pub(crate) is_unknown: bool,
}

/// Returns the next look at a source; `None` if nothing asks for one.
///
/// A record that the controller made has consumers, or is kept for its variant. A record that a user made is looked
/// at once without consumers.
pub(crate) fn next_look(
    context: &Context,
    name: &str,
    record: &RecordMeta,
    source: &Reference,
    consumers: &[Consumer],
) -> Option<NextLook> {
    if consumers.is_empty() && record.is_own {
        return None;
    }
    let inputs = inputs_of(record, consumers);
    let platforms = context.platforms();
    let at_once = |is_unknown| Some(NextLook { kind: Kind::First, due: Instant::now(), is_unknown });
    let (last, is_unknown) = match context.attempts.last(name, inputs.image, only(&platforms)) {
        Last::None => match earlier_attempt(context, name, record, source, inputs) {
            Some(earlier) => (Box::new(earlier), true),
            None => return at_once(true),
        },
        Last::Outdated => return at_once(false),
        Last::Same(last) => (last, false),
    };
    if consumers.is_empty() && !is_unknown && last.failure.is_none() && last.unwritten.is_none() {
        return None;
    }
    let requested = context.demand.read(|demand| demand.requested_look(source));
    // Of an earlier process's attempt, only the time is known.
    let is_movable = is_unknown || (source.digest().is_none() && !last.is_immutable);
    let schedule = schedule_of(name, is_movable, last.is_unhealthy, consumers, requested, &context.config);
    let Due { at: due, is_requested } = last.due(inputs.access, &schedule);
    let kind = match last.verdict {
        _ if is_requested => Kind::Requested,
        Some(_) => Kind::Routine,
        None => Kind::First,
    };
    Some(NextLook { kind, due, is_unknown })
}

/// The attempt that an earlier process made, as far as the sweep tells; `None` if the source is to be looked at now.
fn earlier_attempt(
    context: &Context,
    name: &str,
    record: &RecordMeta,
    source: &Reference,
    inputs: Inputs,
) -> Option<Attempt> {
    let at = context.sweep.earlier_look(name)?;
    // A request of the time without a controller wants a look now.
    let Requests { retry, reconvert } = &record.requests;
    let is_earlier = |request: &String| request.parse::<Timestamp>().is_ok_and(|time| time < at);
    if !retry.iter().chain(reconvert).all(is_earlier) {
        return None;
    }
    // The sweep has whole seconds. The look was made in that second, so a request of an earlier second is answered.
    let latest = at + Duration::from_secs(1);
    let age = context.api_clock.now().duration_since(latest).try_into().unwrap_or_default();
    let looked_at = Instant::now().checked_sub(age)?;
    Some(Attempt::unknown(inputs, source.registry().into(), looked_at))
}

/// Returns the time at which the record's source is looked at.
fn schedule_of(
    name: &str,
    is_movable: bool,
    is_unhealthy: bool,
    consumers: &[Consumer],
    requested: Option<Instant>,
    config: &Config,
) -> Schedule {
    let pulls_always = consumers.iter().any(|consumer| consumer.pulls_always);
    let interval = if is_movable && pulls_always {
        config.recheck_interval_always.min(config.recheck_interval)
    } else if is_movable || is_unhealthy {
        config.recheck_interval
    } else {
        config.confirm_interval
    };
    // Never later than the setting.
    let interval: Duration = interval.saturating_sub(backoff::jitter(interval, name));
    Schedule { interval, requested, is_movable }
}

/// Inputs of an attempt.
pub(super) fn inputs_of(record: &RecordMeta, consumers: &[Consumer]) -> Inputs {
    let consumers: BTreeSet<_> = consumers
        .iter()
        .map(|consumer| (&consumer.namespace, &consumer.pull_secrets, &consumer.service_account))
        .collect();
    Inputs {
        image: InputsHash::of((&record.uid, record.generation, &record.requests)),
        access: InputsHash::of(consumers),
    }
}

/// The selected platforms; `None` if all are.
pub(super) fn only(platforms: &PlatformSelection) -> Option<&[Platform]> {
    match platforms {
        PlatformSelection::All => None,
        PlatformSelection::Only(platforms) => Some(platforms),
    }
}
