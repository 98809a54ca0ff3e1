use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provision_model::{EnvironmentName, RegionName};

/// Why the files of a project can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no project here.
    #[error("`{}` is no project: it has no folder `environments`", .0.display())]
    NoProject(PathBuf),
    /// A file or folder can't be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Files that are no text.
    #[error("not UTF-8: {}", .0.join(", "))]
    NotUtf8(Vec<String>),
    /// Environment or region files whose names are no names.
    #[error("{}", .0.join("; "))]
    Names(Vec<String>),
}

/// All environment files and templates of a project, in memory.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: BTreeMap<String, Arc<str>>,
}

impl Sources {
    /// Reads `environments/` and `templates/` below `root`.
    ///
    /// # Errors
    /// [`LoadError`] names every file that is unreadable, no UTF-8 or badly named.
    pub fn read(root: &Path) -> Result<Self, LoadError> {
        if !root.join("environments").is_dir() {
            return Err(LoadError::NoProject(root.to_owned()));
        }
        let mut files = BTreeMap::new();
        let mut not_utf8 = Vec::new();
        for folder in ["environments", "templates"] {
            if root.join(folder).is_dir() {
                read_folder(root, folder, &mut files, &mut not_utf8)?;
            }
        }
        if !not_utf8.is_empty() {
            return Err(LoadError::NotUtf8(not_utf8));
        }
        let sources = Self { files };
        let bad: Vec<String> = sources.bad_names();
        if bad.is_empty() { Ok(sources) } else { Err(LoadError::Names(bad)) }
    }

    /// Builds sources from paths (relative, with `/`) and texts.
    pub fn from_files<P: Into<String>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        Self { files: files.into_iter().map(|(path, text)| (path.into(), Arc::from(text.into()))).collect() }
    }

    /// Lists the environments, sorted; `base` is none.
    pub fn environments(&self) -> Vec<EnvironmentName> {
        self.stems("environments/").filter(|stem| *stem != "base").filter_map(|stem| stem.parse().ok()).collect()
    }

    /// Lists the region overlays of an environment, sorted.
    pub fn regions(&self, environment: &EnvironmentName) -> Vec<RegionName> {
        self.stems(&format!("environments/{environment}/")).filter_map(|stem| stem.parse().ok()).collect()
    }

    /// Returns the text of a file.
    pub fn text(&self, file: &str) -> Option<&str> {
        self.files.get(file).map(|text| &**text)
    }

    /// Returns these sources with one more file, or another content of it.
    #[must_use]
    pub fn with_file(&self, name: &str, text: &str) -> Self {
        let mut files = self.files.clone();
        files.insert(name.to_owned(), Arc::from(text));
        Self { files }
    }

    /// Walks the template files in order of their paths.
    pub(crate) fn templates(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter(|(path, _)| path.starts_with("templates/") && is_yaml(path)).map(|(path, text)| (path.as_str(), &**text))
    }

    fn stems<'s>(&'s self, folder: &str) -> impl Iterator<Item = &'s str> {
        self.files.keys().filter_map(move |path| {
            let stem = path.strip_prefix(folder)?.strip_suffix(".yaml")?;
            (!stem.contains('/') && !stem.ends_with(".lock")).then_some(stem)
        })
    }

    fn bad_names(&self) -> Vec<String> {
        let mut bad = Vec::new();
        for path in self.files.keys() {
            let Some(rest) = path.strip_prefix("environments/") else { continue };
            let Some(stem) = rest.strip_suffix(".yaml") else { continue };
            for part in stem.strip_suffix(".lock").unwrap_or(stem).split('/') {
                if let Err(error) = part.parse::<EnvironmentName>() {
                    bad.push(format!("{path}: {error}"));
                }
            }
        }
        bad
    }
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

fn read_folder(root: &Path, folder: &str, files: &mut BTreeMap<String, Arc<str>>, not_utf8: &mut Vec<String>) -> Result<(), LoadError> {
    let path = root.join(folder);
    let failed = |source| LoadError::Read { path: path.clone(), source };
    let mut entries = fs::read_dir(&path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let relative = format!("{folder}/{name}");
        let path = entry.path();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            read_folder(root, &relative, files, not_utf8)?;
        } else if is_yaml(&name) {
            let bytes = fs::read(&path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
            match String::from_utf8(bytes) {
                Ok(text) => {
                    files.insert(relative, Arc::from(text));
                }
                Err(_) => not_utf8.push(relative),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn environments_and_regions_are_the_files_there_are() {
        let root = project(&[
            ("environments/base.yaml", b""),
            ("environments/prod.yaml", b""),
            ("environments/prod.lock.yaml", b""),
            ("environments/prod/us-east.yaml", b""),
            ("environments/dev.yaml", b""),
            ("environments/README.md", b"\xff"),
            ("templates/service/a.yaml", b"a: 1"),
        ]);
        let sources = Sources::read(root.path()).unwrap();
        let names: Vec<String> = sources.environments().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["dev", "prod"]);
        let regions: Vec<String> = sources.regions(&"prod".parse().unwrap()).iter().map(ToString::to_string).collect();
        assert_eq!(regions, ["us-east"]);
        assert_eq!(sources.text("templates/service/a.yaml"), Some("a: 1"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let empty = tempfile::tempdir().unwrap();
        assert!(Sources::read(empty.path()).unwrap_err().to_string().contains("has no folder `environments`"));
        let binary = project(&[("environments/a.yaml", b"\xff\xfe"), ("environments/b.yaml", b"\xff")]);
        let message = Sources::read(binary.path()).unwrap_err().to_string();
        assert_eq!(message, "not UTF-8: environments/a.yaml, environments/b.yaml");
        let named = project(&[("environments/Prod.yaml", b""), ("environments/dev/US_east.yaml", b"")]);
        let message = Sources::read(named.path()).unwrap_err().to_string();
        assert!(message.contains("environments/Prod.yaml") && message.contains("US_east"), "{message}");
    }
}
