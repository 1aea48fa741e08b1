//! Leader election by a Lease: every replica watches, one of them works.
//!
//! - `lease`: decides from the observed Lease. Pure.
//! - `elector`: acquires, renews and releases the Lease.
//! - `leadership`: the time until which this process leads.
//! - `fence`: lets no write of a process that doesn't lead reach the API server.
//!
//! The rules are those of client-go (`tools/leaderelection/leaderelection.go`). Timestamps of other processes are
//! never compared with a clock: a Lease expires when its content hasn't changed for its duration on the observer's
//! monotonic clock. Every write carries the `resourceVersion` that the decision was based on, so of two candidates
//! one gets a conflict.
//!
//! A leader stops 10 seconds after it *sent* its last successful renewal (client-go counts from the answer). A
//! successor waits for 15 seconds from the time when it first saw that renewal, which is later than the sending.
//! At least 5 seconds lie between the last write of the one and the first write of the other, unless one of the two
//! clocks runs 1.5 times as fast as the other.
//!
//! A paused process (SIGSTOP, a frozen cgroup) finds its time expired when it continues, because `CLOCK_MONOTONIC`
//! runs on meanwhile: the fence compares the clock before it hands over a request, and each time before it accepts
//! an answer. Three gaps remain. (1) A request that the HTTP connection had taken over in the microseconds before
//! the pause may leave after it. (2) The network may hold a sent request for longer than those 5 seconds. (3) The
//! clock of a suspended virtual machine stands still. Status patches carry the record's UID, and all writes of
//! certificates carry a `resourceVersion`; variants are named after their content. A late write therefore repeats a
//! statement that was true when its look began, and the successor's next look corrects it.
//!
//! Variants are pushed without a fence. Two processes that convert one image push equal bytes under equal names.

mod elector;
mod fence;
mod leadership;
mod lease;

pub use elector::LeadershipLost;
pub(crate) use elector::{Elector, Seat};
pub(crate) use leadership::Leadership;
