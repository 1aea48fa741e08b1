//! Tables that `make inventory` prints.

use std::fmt::Write as _;
use std::time::Duration;

use zstart_core::units;

use super::{GOAL_CHANGE, GOAL_MEMORY, GOAL_PASS, Report, Start};
use crate::table::table;

/// Formats the report, then the goals.
pub fn tables(report: &Report) -> String {
    let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut starts =
        vec![cells(&["start", "ready", "cpu", "resident", "peak", "list requests", "all tags looked at"])];
    let names = ["first", "restart", "restart without the sweep"];
    for (name, start) in names.into_iter().zip(&report.starts) {
        let Start { ready, cpu, memory, lists, confirmed } = start;
        starts.push(vec![
            name.to_owned(),
            units::duration(*ready),
            units::duration(*cpu),
            units::size(memory.resident),
            units::size(memory.peak),
            lists.values().sum::<u64>().to_string(),
            units::duration(*confirmed),
        ]);
    }
    let mut changes = vec![cells(&["change", "count", "cpu each", "sources named"])];
    for change in &report.changes {
        let each = milliseconds(per(change.cpu, change.count));
        changes.push(vec![change.name.to_owned(), change.count.to_string(), each, or_dash(change.named)]);
    }
    let mut lists = vec![cells(&["resource", "list requests at the restart"])];
    lists.extend(
        report.starts[1].lists.iter().map(|(resource, count)| vec![resource.clone(), count.to_string()]),
    );
    let (size, steady) = (report.size, &report.steady);
    let mut text = format!(
        "\n{} references, {} nodes, {} pods; {} sources in demand at the end\n\n{}\n\n{}\n\n{}\n",
        size.references,
        size.nodes,
        size.pods,
        or_dash(report.sources),
        table(&starts),
        table(&lists),
        table(&changes)
    );
    // Writing into a String can't fail.
    let _ = writeln!(
        text,
        "\nwithout changes, in {}: {} of processor time, {} writes of records, {} of the sweep",
        units::duration(steady.time),
        units::duration(steady.cpu),
        steady.record_writes,
        steady.sweep_writes
    );
    goals(&mut text, report);
    text
}

fn or_dash(count: Option<u64>) -> String {
    count.map_or("-".to_owned(), |count| count.to_string())
}

fn per(cpu: Duration, count: usize) -> Duration {
    cpu / u32::try_from(count.max(1)).unwrap_or(u32::MAX)
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}

fn goals(text: &mut String, report: &Report) {
    let yes_or_no = |reached| if reached { "reached" } else { "missed" };
    let peak = report.memory.peak;
    let slowest = report.changes.iter().map(|change| per(change.cpu, change.count)).max().unwrap_or_default();
    // Writing into a String can't fail.
    let _ = writeln!(
        text,
        "\nat most {} at the peak: {} ({})",
        units::size(GOAL_MEMORY),
        yes_or_no(peak <= GOAL_MEMORY),
        units::size(peak)
    );
    let _ = writeln!(
        text,
        "a pod's change under {} of processor time: {} ({})",
        milliseconds(GOAL_CHANGE),
        yes_or_no(slowest < GOAL_CHANGE),
        milliseconds(slowest)
    );
    let slowest = report.starts.iter().map(|start| start.confirmed).max().unwrap_or_default();
    let _ = writeln!(
        text,
        "all tags looked at within {}, the webhook's maxStaleness: {} ({})",
        units::duration(GOAL_PASS),
        yes_or_no(slowest <= GOAL_PASS),
        units::duration(slowest)
    );
    let writes = report.steady.record_writes + report.steady.sweep_writes;
    let _ = writeln!(
        text,
        "less than one write a second: {} ({writes} in {})",
        yes_or_no(u128::from(writes) * 1000 < report.steady.time.as_millis()),
        units::duration(report.steady.time)
    );
}
