//! Files that a command names.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use zstart_rewrite::{Format, Manifest, ParseError};

use super::error::RewriteError;

/// Parsed file.
pub(super) struct Input {
    /// Path as the user named it, or `stdin`.
    pub(super) name: String,
    /// `None` for stdin.
    pub(super) path: Option<PathBuf>,
    pub(super) manifest: Manifest,
}

/// Reads the named files, and those of the named folders in the order of their names.
pub(super) fn read(named: &[PathBuf], recursive: bool) -> Result<Vec<Input>, RewriteError> {
    let mut inputs = Vec::new();
    let mut stdin_was_read = false;
    for path in named {
        if path.as_os_str() == "-" {
            if std::mem::replace(&mut stdin_was_read, true) {
                return Err(RewriteError::StdinTwice);
            }
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|source| RewriteError::Read { file: "stdin".to_owned(), source })?;
            inputs.push(Input {
                manifest: parse("stdin", text, None)?,
                name: "stdin".to_owned(),
                path: None,
            });
        } else if path.is_dir() {
            let files = files_of(path, recursive)?;
            if files.is_empty() {
                return Err(RewriteError::EmptyFolder { folder: path.display().to_string() });
            }
            for file in files {
                inputs.push(read_file(file)?);
            }
        } else {
            inputs.push(read_file(path.clone())?);
        }
    }
    Ok(inputs)
}

fn read_file(path: PathBuf) -> Result<Input, RewriteError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|source| RewriteError::Read { file: name.clone(), source })?;
    Ok(Input { manifest: parse(&name, text, format(&path))?, name, path: Some(path) })
}

/// Lists a folder's files of known formats.
fn files_of(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>, RewriteError> {
    let failed = |source| RewriteError::Read { file: folder.display().to_string(), source };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), entry.file_type().map_err(failed)?));
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut files = Vec::new();
    for (path, kind) in entries {
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // A link to a folder may lead out of the named one, or round in it.
        if is_hidden || kind.is_symlink() && path.is_dir() {
            continue;
        }
        if !kind.is_dir() {
            files.extend(format(&path).map(|_| path));
        } else if recursive {
            files.extend(files_of(&path, recursive)?);
        }
    }
    Ok(files)
}

/// Format that a file's name tells. `OpenTofu` has endings of its own, too.
fn format(path: &Path) -> Option<Format> {
    let extension = |path: &Path| path.extension()?.to_str().map(str::to_owned);
    let inner = path.file_stem().and_then(|stem| extension(Path::new(stem)));
    match (extension(path)?.as_str(), inner.as_deref()) {
        ("yaml" | "yml", _) => Some(Format::Yaml),
        ("json", Some("tf" | "tofu")) => Some(Format::TerraformJson),
        ("json", _) => Some(Format::Json),
        ("tf" | "tofu", _) => Some(Format::Terraform),
        _ => None,
    }
}

/// Parses a text. Without a format, a text that starts like JSON and is none may be YAML.
fn parse(name: &str, text: String, format: Option<Format>) -> Result<Manifest, RewriteError> {
    let failed = |source: ParseError| RewriteError::Parse { file: name.to_owned(), source };
    if let Some(format) = format {
        return Manifest::parse(text, format).map_err(failed);
    }
    let start = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if start.starts_with(['{', '[']) {
        match Manifest::parse(text.clone(), Format::Json) {
            Err(ParseError::Syntax { .. }) => {}
            parsed => return parsed.map_err(failed),
        }
    }
    Manifest::parse(text, Format::Yaml).map_err(failed)
}
