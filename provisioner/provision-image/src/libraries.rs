//! Which shared libraries a program needs, and where they are on this machine.
//!
//! The search follows the dynamic loader: the file's own search folders, the loader's cache, the standard folders. What a program
//! opens by itself while it runs (`dlopen`) is not seen; glibc needs nothing of that kind to resolve names and users since 2.34.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::ImageError;
use crate::elf::{Elf, Machine};

mod cache;

const CACHE: &str = "/etc/ld.so.cache";

/// What must lie beside a program for it to start.
#[derive(Debug)]
pub(crate) struct Needs {
    pub(crate) machine: Machine,
    /// Paths of the loaders, the same in the image as here; none for static programs.
    pub(crate) interpreters: BTreeSet<PathBuf>,
    /// File of each library by the name that programs ask for.
    pub(crate) libraries: BTreeMap<String, PathBuf>,
}

/// Finds everything that the program at `path` needs, and programs and libraries that lie beside it, through all levels.
///
/// # Errors
/// [`ImageError::Read`], [`ImageError::Elf`] and [`ImageError::OtherMachine`] name the file; [`ImageError::LibraryNotFound`] names who
/// needs the library.
pub(crate) fn resolve(path: &Path, beside: &[PathBuf]) -> Result<Needs, ImageError> {
    let program = read_elf(path)?;
    let loader = Loader { machine: program.machine, cache: fs::read(CACHE).map(|bytes| cache::parse(&bytes)).unwrap_or_default() };
    let mut libraries = BTreeMap::new();
    let mut open = VecDeque::from([(path.to_owned(), program)]);
    for path in beside {
        let elf = read_elf(path)?;
        if elf.machine != loader.machine {
            return Err(ImageError::OtherMachine { path: path.clone() });
        }
        open.push_back((path.clone(), elf));
    }
    let interpreters: BTreeSet<PathBuf> = open.iter().filter_map(|(_, elf)| elf.interpreter.as_ref().map(PathBuf::from)).collect();
    let is_interpreter = |name: &str| interpreters.iter().any(|path| path.file_name().is_some_and(|file| file == name));
    while let Some((needed_by, elf)) = open.pop_front() {
        for name in &elf.needed {
            if libraries.contains_key(name) || is_interpreter(name) {
                continue;
            }
            let (file, library) = loader.find(name, &needed_by, &elf)?;
            libraries.insert(name.clone(), file.clone());
            open.push_back((file, library));
        }
    }
    Ok(Needs { machine: loader.machine, interpreters, libraries })
}

/// Tells whether a file is a program or library that may need others.
///
/// # Errors
/// [`ImageError::Read`] if it can't be read.
pub(crate) fn is_elf(path: &Path) -> Result<bool, ImageError> {
    let failed = |source| ImageError::Read { path: path.to_owned(), source };
    let mut start = Vec::new();
    fs::File::open(path).and_then(|file| file.take(4).read_to_end(&mut start)).map_err(failed)?;
    Ok(start == b"\x7fELF")
}

fn read_elf(path: &Path) -> Result<Elf, ImageError> {
    let bytes = fs::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    Elf::parse(&bytes).map_err(|source| ImageError::Elf { path: path.to_owned(), source })
}

struct Loader {
    machine: Machine,
    cache: Vec<(String, PathBuf)>,
}

impl Loader {
    /// Finds the first file called `name` that is for the same machine; others are passed over, as the loader does.
    fn find(&self, name: &str, needed_by: &Path, elf: &Elf) -> Result<(PathBuf, Elf), ImageError> {
        let own = own_folders(elf, needed_by);
        let standard = self.standard_folders();
        let cached = self.cache.iter().filter(|(cached, _)| cached == name).map(|(_, path)| path.clone());
        let candidates = own.iter().map(|folder| folder.join(name));
        let candidates = candidates.chain(cached).chain(standard.iter().map(|folder| folder.join(name)));
        for candidate in candidates.filter(|candidate| candidate.is_file()) {
            match read_elf(&candidate) {
                Ok(library) if library.machine == self.machine => return Ok((candidate, library)),
                Ok(_) | Err(ImageError::Elf { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let searched = own.iter().map(PathBuf::as_path).chain([Path::new(CACHE)]).chain(standard.iter().map(PathBuf::as_path));
        Err(ImageError::LibraryNotFound {
            library: name.to_owned(),
            needed_by: needed_by.to_owned(),
            searched: searched.map(|folder| folder.display().to_string()).collect(),
        })
    }

    fn standard_folders(&self) -> Vec<PathBuf> {
        let multiarch = self.machine.multiarch();
        let by_machine = ["/lib", "/usr/lib"].map(|base| Path::new(base).join(multiarch));
        let common = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from);
        by_machine.into_iter().chain(common).collect()
    }
}

fn own_folders(elf: &Elf, file: &Path) -> Vec<PathBuf> {
    let origin = file.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let expand = |folder: &String| PathBuf::from(folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin));
    elf.search.iter().map(expand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_program(path: &Path, expected: &[&str]) {
        let needs = resolve(path, &[]).unwrap();
        assert!(needs.interpreters.iter().all(|path| path.is_file()) && needs.interpreters.len() == 1, "{needs:?}");
        for library in expected {
            assert!(needs.libraries.get(*library).is_some_and(|file| file.is_file()), "{library} of {needs:?}");
        }
        let loader = needs.interpreters.first().unwrap().file_name().unwrap();
        assert!(!needs.libraries.contains_key(loader.to_str().unwrap()), "the loader is no library");
    }

    #[test]
    fn libraries_of_ls_are_found_through_all_levels() {
        // libpcre2-8 is needed by libselinux, not by ls itself.
        check_program(Path::new("/bin/ls"), &["libc.so.6", "libselinux.so.1", "libpcre2-8.so.0"]);
    }

    #[test]
    fn libraries_of_this_test_program_are_found() {
        check_program(&std::env::current_exe().unwrap(), &["libc.so.6", "libgcc_s.so.1"]);
    }

    #[test]
    fn a_missing_library_is_named_with_who_needs_it() {
        let mut bytes = fs::read("/bin/ls").unwrap();
        let at = bytes.windows(9).position(|window| window == b"libc.so.6").unwrap();
        bytes[at..at + 9].copy_from_slice(b"libzz.so.");
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("broken");
        fs::write(&program, bytes).unwrap();
        let error = resolve(&program, &[]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`libzz.so.`") && text.contains("broken") && text.contains("/usr/lib"), "{text}");
        assert!(error.help().is_some_and(|help| help.contains("install the package")));
    }
}
