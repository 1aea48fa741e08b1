//! Report of `zstart status`, as text and as JSON.

use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use zstart_core::owner_hold::OwnerHold;
use zstart_core::units;
use zstart_core::units::count;

use super::leader::Work;
use super::state::{JudgedRecord, State};
use crate::style::{BAD, ODD, PLAIN, STRONG, paint};

/// Records and holds that the text lists without `--all`.
const MAX_LISTED: usize = 12;
/// Longest message in a line of the text.
const MAX_MESSAGE: usize = 160;

/// State of a cluster.
pub(super) struct Report {
    pub(super) now: Timestamp,
    /// zstart's namespace. `None` if the webhook has no Service.
    pub(super) namespace: Option<String>,
    pub(super) programs: Vec<Program>,
    /// Pod of the controller that leads.
    pub(super) leader: Option<String>,
    pub(super) namespaces: Option<Namespaces>,
    pub(super) records: Vec<JudgedRecord>,
    pub(super) work: Option<Work>,
    pub(super) unreachable_registries: Vec<String>,
    pub(super) holds: Vec<Hold>,
    /// Remarks about data that the user may not read.
    pub(super) remarks: Vec<String>,
}

/// Program of zstart.
#[derive(Debug, Serialize)]
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Replicas that are available.
    pub(super) available: i32,
    /// Replicas that the Deployment asks for. 0 if there is no Deployment.
    pub(super) wanted: i32,
}

/// Numbers of opted-in namespaces.
#[derive(Debug, Serialize)]
pub(super) struct Namespaces {
    pub(super) enabled: usize,
    pub(super) audit: usize,
}

/// Owner on hold.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hold {
    namespace: String,
    kind: String,
    owner: String,
    reason: String,
    message: String,
    since: Option<Timestamp>,
}

impl From<OwnerHold> for Hold {
    fn from(hold: OwnerHold) -> Self {
        Self {
            namespace: hold.metadata.namespace.unwrap_or_default(),
            kind: hold.spec.owner.kind,
            owner: hold.spec.owner.name,
            reason: hold.spec.reason.to_string(),
            message: hold.spec.message,
            since: hold.metadata.creation_timestamp.map(|time| time.0),
        }
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let states: serde_json::Map<String, serde_json::Value> = State::ALL
            .iter()
            .filter_map(|state| {
                let name = serde_json::to_value(state).ok()?.as_str()?.to_owned();
                Some((name, self.count(*state).into()))
            })
            .collect();
        let mut report = serializer.serialize_struct("Report", 11)?;
        report.serialize_field("time", &self.now)?;
        report.serialize_field("namespace", &self.namespace)?;
        report.serialize_field("programs", &self.programs)?;
        report.serialize_field("leader", &self.leader)?;
        report.serialize_field("namespaces", &self.namespaces)?;
        report.serialize_field("states", &states)?;
        report.serialize_field("work", &self.work)?;
        report.serialize_field("unreachableRegistries", &self.unreachable_registries)?;
        report.serialize_field("records", &self.records)?;
        report.serialize_field("holds", &self.holds)?;
        report.serialize_field("remarks", &self.remarks)?;
        report.end()
    }
}

impl Report {
    fn count(&self, state: State) -> usize {
        self.records.iter().filter(|record| record.state == state).count()
    }

    /// The report for people. Lists at most [`MAX_LISTED`] records and holds, or `all`.
    pub(super) fn lines(&self, all: bool) -> Vec<String> {
        let mut lines = vec![self.programs_line()];
        lines.extend(self.namespaces.as_ref().map(|Namespaces { enabled, audit }| {
            format!("namespaces   {enabled} enabled, {audit} in audit mode")
        }));
        lines.push(self.records_line());
        lines.extend(self.work.as_ref().map(Work::line));
        if let Some(held) = self.work.as_ref().and_then(Work::held_back) {
            lines.push(held);
        }
        if !self.unreachable_registries.is_empty() {
            lines.push(format!("unreachable  {}", self.unreachable_registries.join(", ")));
        }
        if !self.holds.is_empty() {
            lines.push(format!("on hold      {}", count(self.holds.len(), "owner")));
        }
        lines.extend(self.attention(all));
        lines.extend(self.remarks.iter().map(|remark| format!("note: {remark}")));
        lines
    }

    fn programs_line(&self) -> String {
        let program = |program: &Program| {
            let Program { name, available, wanted } = program;
            let style = if available < wanted { BAD } else { PLAIN };
            paint(style, format!("{name} {available} of {wanted} available"))
        };
        let programs: Vec<String> = self.programs.iter().map(program).collect();
        let mut line = format!("zstart       namespace {}", self.namespace.as_deref().unwrap_or("unknown"));
        for part in programs.into_iter().chain(self.leader.iter().map(|pod| format!("{pod} leads"))) {
            line = format!("{line}, {part}");
        }
        line
    }

    fn records_line(&self) -> String {
        let counts = State::ALL.iter().map(|state| (*state, self.count(*state)));
        let counts: Vec<String> = counts
            .filter(|(state, count)| *count > 0 || *state == State::Ready)
            .map(|(state, count)| paint(state.style(), format!("{count} {}", state.as_str())))
            .collect();
        format!("records      {}: {}", self.records.len(), counts.join(", "))
    }

    /// Table of the records and owners that ask for a look.
    fn attention(&self, all: bool) -> Vec<String> {
        let mut records: Vec<&JudgedRecord> =
            self.records.iter().filter(|record| record.state.needs_attention()).collect();
        records.sort_by_key(|record| (record.state, record.since));
        let records = records.into_iter().map(|record| {
            let subject = record.source.as_deref().unwrap_or(&record.record);
            let cells =
                [record.state.as_str(), subject, &record.reason, &self.age(record.since), &record.message];
            Row { style: record.state.style(), cells: cells.map(str::to_owned) }
        });
        let holds = self.holds.iter().map(|hold| {
            let subject = format!("{} {}/{}", hold.kind, hold.namespace, hold.owner);
            let cells = ["on hold", &subject, &hold.reason, &self.age(hold.since), &hold.message];
            Row { style: ODD, cells: cells.map(str::to_owned) }
        });
        let mut rows: Vec<Row> = records.chain(holds).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let left_out = if all { 0 } else { rows.len().saturating_sub(MAX_LISTED) };
        rows.truncate(rows.len() - left_out);
        let heads = ["STATE", "SOURCE OR OWNER", "REASON", "SINCE", "MESSAGE"].map(str::to_owned);
        rows.insert(0, Row { style: STRONG, cells: heads });
        let mut lines = vec![String::new()];
        lines.extend(table(&rows));
        if left_out > 0 {
            lines.push(format!("and {left_out} more: zstart status --all"));
        }
        lines
    }

    fn age(&self, since: Option<Timestamp>) -> String {
        since.map_or_else(String::new, |since| age(self.now, since))
    }
}

impl Work {
    fn line(&self) -> String {
        let Self { looks_waiting, conversions_waiting, conversions_running, held_back: _ } = self;
        format!(
            "queue        {looks_waiting} due for a look, {conversions_waiting} waiting to be converted, \
             {conversions_running} being converted"
        )
    }

    /// Requests that the governor held back, if there were some.
    fn held_back(&self) -> Option<String> {
        let reason = |(reason, count): (&String, &u64)| match reason.as_str() {
            "pause" => format!("{count} because a registry asked for a pause"),
            "pull_allowance" => format!("{count} to leave a registry's pull allowance to the nodes"),
            other => format!("{count} ({other})"),
        };
        let reasons: Vec<String> =
            self.held_back.iter().filter(|(_, count)| **count > 0).map(reason).collect();
        (!reasons.is_empty())
            .then(|| format!("held back    requests since the leader started: {}", reasons.join(", ")))
    }
}

/// Formats an age in at most two units.
fn age(now: Timestamp, since: Timestamp) -> String {
    let duration = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => units::duration(Duration::from_secs(seconds)),
    }
}

/// Row of the table. The style is that of its first cell.
struct Row {
    style: Style,
    cells: [String; 5],
}

/// Aligns columns. The last one is cut to [`MAX_MESSAGE`] characters and to its first line.
fn table(rows: &[Row]) -> Vec<String> {
    let width =
        |column: usize| rows.iter().map(|row| row.cells[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2), width(3)];
    let line = |row: &Row| {
        let [state, subject, reason, since, message] = &row.cells;
        let message: String = message.lines().next().unwrap_or_default().chars().take(MAX_MESSAGE).collect();
        let [w0, w1, w2, w3] = widths;
        let state = paint(row.style, format!("{state:w0$}"));
        let line = format!("{state}  {subject:w1$}  {reason:w2$}  {since:w3$}  {message}");
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::plain;

    fn record(state: State, number: usize) -> JudgedRecord {
        JudgedRecord {
            state,
            record: format!("app-v{number}-1"),
            source: Some(format!("r.example/app:v{number}")),
            reason: "PushDenied".to_owned(),
            message: "denied\nsecond line".to_owned(),
            since: "2026-11-28T11:55:00Z".parse().ok(),
        }
    }

    fn report(records: Vec<JudgedRecord>) -> Report {
        Report {
            now: "2026-11-28T12:00:00Z".parse().unwrap(),
            namespace: Some("zstart-system".to_owned()),
            programs: vec![Program { name: "controller", available: 1, wanted: 1 }],
            leader: Some("zstart-controller-1".to_owned()),
            namespaces: Some(Namespaces { enabled: 2, audit: 1 }),
            records,
            work: Some(Work::default()),
            unreachable_registries: Vec::new(),
            holds: Vec::new(),
            remarks: Vec::new(),
        }
    }

    #[test]
    fn calm_cluster_takes_four_lines() {
        let lines = report(vec![record(State::Ready, 1), record(State::AlreadyZstd, 2)]).lines(false);
        let lines = plain(&lines);
        assert_eq!(
            lines,
            [
                "zstart       namespace zstart-system, controller 1 of 1 available, zstart-controller-1 leads",
                "namespaces   2 enabled, 1 in audit mode",
                "records      2: 1 ready, 1 already zstd",
                "queue        0 due for a look, 0 waiting to be converted, 0 being converted",
            ]
        );
    }

    #[test]
    fn failures_are_listed_up_to_a_screen() {
        let records = (0..MAX_LISTED + 3).map(|number| record(State::Failed, number)).collect();
        let report = report(records);
        let lines = plain(&report.lines(false));
        assert_eq!(lines.last().unwrap(), "and 3 more: zstart status --all");
        let row = "failed  r.example/app:v0   PushDenied  5m00s  denied";
        assert!(lines.iter().any(|line| line == row), "{lines:#?}");
        assert_eq!(report.lines(true).len(), 4 + 2 + MAX_LISTED + 3);
    }

    #[test]
    fn held_back_requests_name_the_cause() {
        let mut report = report(Vec::new());
        let work = report.work.as_mut().unwrap();
        work.held_back.insert("pause".to_owned(), 3);
        work.held_back.insert("pull_allowance".to_owned(), 0);
        let lines = report.lines(false).join("\n");
        assert!(
            lines.contains("since the leader started: 3 because a registry asked for a pause"),
            "{lines}"
        );
        assert!(!lines.contains("allowance"), "{lines}");
    }

    #[test]
    fn json_counts_every_state() {
        let json = serde_json::to_value(report(vec![record(State::Stale, 1)])).unwrap();
        assert_eq!((&json["states"]["stale"], &json["states"]["alreadyZstd"]), (&1.into(), &0.into()));
        assert_eq!(json["records"][0]["state"], "stale");
    }

    #[test]
    fn ages_have_two_units_at_most() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        for (since, text) in [
            ("2026-11-28T11:59:30Z", "30s"),
            ("2026-11-28T09:55:00Z", "2h05m"),
            ("2026-11-20T12:00:00Z", "8d00h"),
            ("2026-11-28T12:00:09Z", "0s"),
        ] {
            assert_eq!(age(now, since.parse().unwrap()), text);
        }
    }
}
