//! A large `node_modules`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::run;
use crate::compress::{CompressedLayer, compress};

/// Packages of a web application of some size. (npm chooses their dependencies on the day of the build, so
/// results are comparable within one run only.)
const PACKAGES: [&str; 11] = [
    "next@15.1.3",
    "react@19.0.0",
    "typescript@5.7.2",
    "webpack@5.97.1",
    "vite@6.0.6",
    "eslint@9.17.0",
    "jest@29.7.0",
    "@angular/cli@19.0.6",
    "@mui/icons-material@6.3.0",
    "aws-sdk@2.1692.0",
    "googleapis@144.0.0",
];

/// One layer, as `RUN npm install` creates it.
pub(super) fn layers(work: &Path, layout: &Path) -> Result<Vec<CompressedLayer>> {
    let root = work.join("node");
    let app = root.join("app");
    fs::create_dir_all(&app)?;
    fs::write(app.join("package.json"), "{\"name\": \"app\", \"private\": true}")?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--loglevel=error",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--legacy-peer-deps",
    ]);
    npm.current_dir(&app).args(PACKAGES);
    run(&mut npm).context("failed to install Node packages (is npm installed?)")?;
    Ok(vec![compress(&root, layout)?])
}
