//! One layer of an image: a sorted archive that depends on its content only.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use crate::{Blob, Digest, ImageError};

pub(crate) const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Entries of a layer by their path, without the leading slash; folders above a file are added with it.
#[derive(Default)]
pub(crate) struct Layer<'a> {
    below: Option<&'a Layer<'a>>,
    entries: BTreeMap<String, Entry>,
}

enum Entry {
    Folder { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { target: String },
}

impl<'a> Layer<'a> {
    /// Makes a layer that lies on another; it can't replace what is there, and leaves its folders as they are.
    pub(crate) fn on(below: &'a Layer<'a>) -> Self {
        Self { below: Some(below), entries: BTreeMap::new() }
    }

    /// Adds a file with an absolute `path`; its owner is root, so the program can't change it.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) -> Result<(), ImageError> {
        self.insert(path, Entry::File { mode, content })
    }

    /// Adds a folder with an absolute `path`.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) -> Result<(), ImageError> {
        self.insert(path, Entry::Folder { mode })
    }

    /// Adds a symbolic link with an absolute `path`; what it points to need not be there.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<(), ImageError> {
        self.insert(path, Entry::Link { target: target.to_owned() })
    }

    /// Tells whether something is at an absolute `path`, in this layer or below.
    pub(crate) fn has(&self, path: &str) -> bool {
        path.strip_prefix('/').is_some_and(|relative| self.find(relative).is_some())
    }

    fn find(&self, relative: &str) -> Option<&Entry> {
        self.entries.get(relative).or_else(|| self.below?.find(relative))
    }

    fn insert(&mut self, path: &str, entry: Entry) -> Result<(), ImageError> {
        let invalid = |reason| ImageError::InvalidPath { path: path.to_owned(), reason };
        let relative = path.strip_prefix('/').ok_or(invalid("it is not absolute"))?;
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !relative.split('/').all(plain) {
            return Err(invalid("it has empty, `.` or `..` parts"));
        }
        if relative.split('/').any(|part| part.starts_with(".wh.")) {
            return Err(invalid("container engines read names that begin with `.wh.` as deletions"));
        }
        if self.find(relative).is_some() {
            return Err(invalid("something else is already there"));
        }
        for (at, _) in relative.match_indices('/') {
            let parent = &relative[..at];
            match self.find(parent) {
                Some(Entry::Folder { .. }) => {}
                Some(Entry::File { .. } | Entry::Link { .. }) => return Err(invalid("a file or link is where its folder should be")),
                None => drop(self.entries.insert(parent.to_owned(), Entry::Folder { mode: 0o755 })),
            }
        }
        self.entries.insert(relative.to_owned(), entry);
        Ok(())
    }

    /// Packs the layer; returns the compressed blob and the digest of the uncompressed archive.
    pub(crate) fn pack(&self) -> Result<(Blob, Digest), ImageError> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            append(&mut archive, path, entry)
                .map_err(|_| ImageError::InvalidPath { path: format!("/{path}"), reason: "it is too long for an archive" })?;
        }
        let packed = archive.into_inner().and_then(|archive| Ok((compress(&archive)?, Digest::of(&archive))));
        let (content, archive_digest) = packed.map_err(|source| ImageError::Write { path: "layer archive".into(), source })?;
        Ok((Blob::new(MEDIA_TYPE, content), archive_digest))
    }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_ustar();
    let (kind, name, mode, content) = match entry {
        Entry::Folder { mode } => (EntryType::Directory, format!("{path}/"), *mode, [].as_slice()),
        Entry::File { mode, content } => (EntryType::Regular, path.to_owned(), *mode, content.as_slice()),
        Entry::Link { target } => {
            header.set_link_name(target)?;
            (EntryType::Symlink, path.to_owned(), 0o777, [].as_slice())
        }
    };
    header.set_path(name)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    archive.append(&header, content)
}

/// Compresses with a header that names no time, file or operating system.
fn compress(archive: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
    encoder.write_all(archive)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_additions_does_not_matter() {
        let mut forth = Layer::default();
        forth.file("/etc/passwd", 0o644, b"a".to_vec()).unwrap();
        forth.folder("/tmp", 0o1777).unwrap();
        let mut back = Layer::default();
        back.folder("/tmp", 0o1777).unwrap();
        back.file("/etc/passwd", 0o644, b"a".to_vec()).unwrap();
        assert_eq!(forth.pack().unwrap().1, back.pack().unwrap().1);
        assert_eq!(forth.pack().unwrap().0.digest, back.pack().unwrap().0.digest);
    }

    #[test]
    fn a_link_is_packed_as_one_and_nothing_lies_below_it() {
        let mut layer = Layer::default();
        layer.link("/bin", "usr/bin").unwrap();
        assert!(layer.file("/bin/sh", 0o755, Vec::new()).is_err(), "an archive would write through the link");
        let mut archive = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(layer.pack().unwrap().0.content.as_ref()), &mut archive).unwrap();
        let mut archive = tar::Archive::new(archive.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.header().entry_type(), EntryType::Symlink);
        assert_eq!(entry.link_name().unwrap().unwrap().to_str(), Some("usr/bin"));
    }

    #[test]
    fn impossible_paths_are_refused() {
        let mut layer = Layer::default();
        layer.file("/etc/passwd", 0o644, Vec::new()).unwrap();
        for path in ["etc/group", "/etc/../group", "/", "/etc//x", "/etc/passwd", "/etc/passwd/x", "/.wh.x", "/.wh.x/y"] {
            assert!(layer.file(path, 0o644, Vec::new()).is_err(), "{path} must be refused");
        }
        layer.file(&format!("/{}", "x".repeat(300)), 0o644, Vec::new()).unwrap();
        assert!(layer.pack().is_err(), "an archive can't hold a name of 300 bytes");
    }

    #[test]
    fn a_layer_leaves_what_lies_below_as_it_is() {
        let mut lowest = Layer::default();
        lowest.file("/etc/group", 0o644, Vec::new()).unwrap();
        let mut below = Layer::on(&lowest);
        below.folder("/tmp", 0o1777).unwrap();
        below.file("/etc/passwd", 0o644, Vec::new()).unwrap();
        let mut above = Layer::on(&below);
        for path in ["/etc/passwd", "/etc/passwd/x", "/etc/group", "/tmp"] {
            assert!(above.file(path, 0o644, Vec::new()).is_err(), "{path} must be refused");
        }
        above.file("/tmp/seed", 0o644, Vec::new()).unwrap();
        above.file("/srv/seed", 0o644, Vec::new()).unwrap();
        assert_eq!(above.entries.keys().collect::<Vec<_>>(), ["srv", "srv/seed", "tmp/seed"], "no folder is declared again");
    }
}
