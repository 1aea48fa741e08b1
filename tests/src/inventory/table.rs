//! Tables that `make inventory` prints.

use std::fmt::Write as _;
use std::time::Duration;

use zstart_core::units;

use super::{GOAL_CHANGE, GOAL_MEMORY, Report, Start};
use crate::table::table;

/// Formats the report, then the goals.
pub fn tables(report: &Report) -> String {
    let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut starts = vec![cells(&["start", "ready", "cpu", "resident", "peak", "list requests"])];
    for (name, start) in ["first", "restart"].into_iter().zip(&report.starts) {
        let Start { ready, cpu, memory, lists } = start;
        starts.push(vec![
            name.to_owned(),
            units::duration(*ready),
            units::duration(*cpu),
            units::size(memory.resident),
            units::size(memory.peak),
            lists.values().sum::<u64>().to_string(),
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
    let size = report.size;
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
}
