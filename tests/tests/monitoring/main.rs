//! Alerts and dashboard of the chart, against the metrics that the programs export.

mod alerts;
mod cases;
mod dashboard;
mod documents;
mod names;
mod scrape;
