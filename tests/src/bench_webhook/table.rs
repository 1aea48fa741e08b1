//! Tables that `make bench-webhook` prints.

use std::fmt::Write as _;
use std::time::Duration;

use zstart_core::units;

use super::{GOAL_LATENCY, GOAL_MEMORY, Measurement, Program};
use crate::review_load::Percentiles;
use crate::tools::Tool;

impl Program {
    /// Name in the tables.
    pub(super) fn name(self) -> String {
        match self {
            Self::Zstart => "zstart-webhook".to_owned(),
            Self::MapWebhook => format!("map webhook on controller-runtime {}", Tool::MapWebhook.version()),
        }
    }
}

/// Formats all measurements, then zstart's goals.
pub fn tables(measured: &[Measurement]) -> String {
    let of = |program| measured.iter().filter(move |measurement| measurement.program == program);
    let mut text = String::new();
    for program in [Program::Zstart, Program::MapWebhook] {
        let name = program.name();
        // Writing into a String can't fail.
        let _ = writeln!(text, "\n{name}: milliseconds from a review to its response");
        let _ = writeln!(
            text,
            "{:>8}{:>8}{:>9}{:>14}{:>10}{:>14}{:>9}{:>9}{:>9}",
            "records", "nodes", "rate", "server: p99", "<= 1 ms", "client: p50", "p99", "p99.9", "max"
        );
        of(program).for_each(|measurement| latency_row(&mut text, measurement));
        let _ = writeln!(text, "\n{name}: cost");
        let _ = writeln!(
            text,
            "{:>8}{:>8}{:>13}{:>12}{:>12}{:>9}{:>10}{:>16}{:>13}",
            "records",
            "nodes",
            "cpu s/1,000",
            "resident",
            "peak",
            "start",
            "patched",
            "generator cpu",
            "others' cpu"
        );
        of(program).for_each(|measurement| cost_row(&mut text, measurement));
    }
    for program in [Program::Zstart, Program::MapWebhook] {
        if let Some(last) = of(program).next_back() {
            group_rows(&mut text, last);
        }
    }
    goals(&mut text, &of(Program::Zstart).collect::<Vec<_>>());
    text
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1_000.0)
}

fn size_columns(measurement: &Measurement) -> String {
    let nodes = match measurement.program {
        Program::Zstart => measurement.size.nodes.to_string(),
        Program::MapWebhook => "-".to_owned(),
    };
    format!("{:>8}{nodes:>8}", measurement.size.records)
}

fn latency_columns(latency: &Percentiles) -> String {
    let Percentiles { p50, p99, p999, max } = latency;
    let [p50, p99, p999, max] = [p50, p99, p999, max].map(|duration| milliseconds(*duration));
    format!("{p50:>14}{p99:>9}{p999:>9}{max:>9}")
}

fn latency_row(text: &mut String, measurement: &Measurement) {
    let load = &measurement.load;
    let rate = f64::from(u32::try_from(load.sent).unwrap_or(u32::MAX)) / load.elapsed.as_secs_f64();
    let p99 =
        measurement.p99_bound.map_or("> last".to_owned(), |bound| format!("<= {}", milliseconds(bound)));
    let (whole, hundredths) = (measurement.within_goal / 100, measurement.within_goal % 100);
    let within = format!("{whole}.{hundredths:02}%");
    let (size, latency) = (size_columns(measurement), latency_columns(&load.latency));
    let _ = writeln!(text, "{size}{rate:>9.0}{p99:>14}{within:>10}{latency}");
}

/// Processor seconds of the server for 1,000 reviews.
fn cpu_per_thousand(measurement: &Measurement) -> f64 {
    let reviews = u32::try_from(measurement.load.sent).unwrap_or(u32::MAX);
    measurement.cpu.as_secs_f64() * 1_000.0 / f64::from(reviews)
}

fn cost_row(text: &mut String, measurement: &Measurement) {
    let Measurement { load, memory, start, other_cpu, .. } = measurement;
    let cpu = cpu_per_thousand(measurement);
    let (resident, peak) = (units::size(memory.resident), units::size(memory.peak));
    let cores = |cpu: Duration| cpu.as_secs_f64() / load.elapsed.as_secs_f64();
    let (generator, others) = (cores(load.cpu), cores(*other_cpu));
    let (size, start) = (size_columns(measurement), units::duration(*start));
    let patched = format!("{}%", load.patched * 100 / load.sent.max(1));
    let _ = writeln!(
        text,
        "{size}{cpu:>13.3}{resident:>12}{peak:>12}{start:>9}{patched:>10}{generator:>11.2} cores{others:>7.2} cores"
    );
}

fn group_rows(text: &mut String, measurement: &Measurement) {
    let (name, size) = (measurement.program.name(), measurement.size);
    let _ = writeln!(
        text,
        "\n{name}, {} records: milliseconds by kind of pod\n{:<24}{:>12}{:>9}{:>9}{:>9}",
        size.records, "", "client: p50", "p99", "p99.9", "max"
    );
    for group in &measurement.load.groups {
        let _ = writeln!(text, "{:<22}{}", group.group, latency_columns(&group.latency));
    }
}

/// Goals, for the largest cluster.
fn goals(text: &mut String, measured: &[&Measurement]) {
    let Some(last) = measured.last() else { return };
    let yes_or_no = |reached| if reached { "reached" } else { "missed" };
    let _ = writeln!(text, "\ngoals with {} records and {} nodes", last.size.records, last.size.nodes);
    let is_fast = last.p99_bound.is_some_and(|bound| bound <= GOAL_LATENCY);
    let _ = writeln!(text, "{:<44}{}", "p99 at most 1 ms, measured by the server", yes_or_no(is_fast));
    let (resident, limit) = (last.memory.resident, units::size(GOAL_MEMORY));
    let is_small = resident <= GOAL_MEMORY;
    let _ = writeln!(
        text,
        "{:<44}{} ({})",
        format!("at most {limit} resident"),
        yes_or_no(is_small),
        units::size(resident)
    );
    let same_records = measured.iter().find(|measurement| measurement.size.records == last.size.records);
    if let Some(first) = same_records.filter(|first| first.size.nodes < last.size.nodes) {
        let ratio = cpu_per_thousand(last) / cpu_per_thousand(first);
        let _ = writeln!(
            text,
            "{:<44}{ratio:.2}",
            format!("cpu of a review, to that with {} nodes", first.size.nodes)
        );
    }
}
