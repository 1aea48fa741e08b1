//! Checks the documents: what their tables name, their links, and their commands.

mod commands;
mod links;
mod markdown;
mod messages;
mod outputs;
mod places;
mod tables;
