//! The little of ELF that says what a program needs to start.
//!
//! An own reader instead of a crate: four tables of fixed layout are read, and every offset comes from a file that may be damaged,
//! so each access is checked here.

use thiserror::Error;

const HEADER_SIZE: usize = 64;
const PROGRAM_HEADER_SIZE: usize = 56;
const DYNAMIC_ENTRY_SIZE: usize = 16;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// Why bytes are no ELF file that can be packed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ElfError {
    /// The file does not begin with the ELF magic.
    #[error("it is not an ELF file")]
    NotElf,
    /// The file is for another kind of machine.
    #[error("only 64-bit little-endian x86-64 and aarch64 files are supported")]
    Unsupported,
    /// A table or text lies outside the file.
    #[error("its {0} lies outside the file")]
    OutOfBounds(&'static str),
}

/// The processor that an ELF file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// Returns the name OCI uses for it.
    pub(crate) fn oci_architecture(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Returns the name of Debian's library folders for it.
    pub(crate) fn multiarch(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }
}

/// What the dynamic loader would read of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elf {
    pub(crate) machine: Machine,
    /// Path of the loader (PT_INTERP); none in a static program or a library.
    pub(crate) interpreter: Option<String>,
    /// Names of the libraries (DT_NEEDED), in the file's order.
    pub(crate) needed: Vec<String>,
    /// Search folders of DT_RUNPATH, or of DT_RPATH if there is no other; `$ORIGIN` unexpanded.
    pub(crate) search: Vec<String>,
}

impl Elf {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        let file = Bytes(bytes);
        if bytes.get(..4) != Some(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let header = file.slice(0, HEADER_SIZE, "header")?;
        let machine = match (header.0[4], header.0[5], header.u16(18)?) {
            (2, 1, 62) => Machine::X86_64,
            (2, 1, 183) => Machine::Aarch64,
            _ => return Err(ElfError::Unsupported),
        };
        let segments = segments(file)?;
        let interpreter = segments
            .iter()
            .find(|segment| segment.kind == PT_INTERP)
            .map(|segment| file.text(segment.offset, "interpreter"))
            .transpose()?;
        let entries = match segments.iter().find(|segment| segment.kind == PT_DYNAMIC) {
            Some(segment) => dynamic_entries(file, segment)?,
            None => Vec::new(),
        };
        let (needed, search) = names(file, &segments, &entries)?;
        Ok(Self { machine, interpreter, needed, search })
    }
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

fn segments(file: Bytes<'_>) -> Result<Vec<Segment>, ElfError> {
    let (start, count) = (file.u64(32)?, usize::from(file.u16(56)?));
    if count > 0 && usize::from(file.u16(54)?) != PROGRAM_HEADER_SIZE {
        return Err(ElfError::Unsupported);
    }
    let table = file.slice(start, count * PROGRAM_HEADER_SIZE, "program header table")?;
    (0..count)
        .map(|index| {
            let at = index * PROGRAM_HEADER_SIZE;
            let field = |offset| table.u64(at + offset);
            Ok(Segment { kind: table.u32(at)?, offset: field(8)?, address: field(16)?, size: field(32)? })
        })
        .collect()
}

fn dynamic_entries(file: Bytes<'_>, segment: &Segment) -> Result<Vec<(u64, u64)>, ElfError> {
    let size = usize::try_from(segment.size).map_err(|_| ElfError::OutOfBounds("dynamic table"))?;
    let table = file.slice(segment.offset, size, "dynamic table")?;
    let mut entries = Vec::new();
    for at in (0..size / DYNAMIC_ENTRY_SIZE).map(|index| index * DYNAMIC_ENTRY_SIZE) {
        match table.u64(at)? {
            DT_NULL => break,
            tag => entries.push((tag, table.u64(at + 8)?)),
        }
    }
    Ok(entries)
}

/// Reads the texts that the dynamic table points to: needed libraries and search folders.
fn names(file: Bytes<'_>, segments: &[Segment], entries: &[(u64, u64)]) -> Result<(Vec<String>, Vec<String>), ElfError> {
    let Some(address) = entries.iter().find(|(tag, _)| *tag == DT_STRTAB).map(|(_, value)| *value) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let table = file_offset(segments, address).ok_or(ElfError::OutOfBounds("string table"))?;
    let texts = |wanted: u64| -> Result<Vec<String>, ElfError> {
        let offsets = entries.iter().filter(|(tag, _)| *tag == wanted);
        offsets.map(|(_, offset)| file.text(table.saturating_add(*offset), "string table")).collect()
    };
    let runpath = texts(DT_RUNPATH)?;
    let search = if runpath.is_empty() { texts(DT_RPATH)? } else { runpath };
    let folders = search.iter().flat_map(|paths| paths.split(':')).filter(|path| !path.is_empty());
    Ok((texts(DT_NEEDED)?, folders.map(str::to_owned).collect()))
}

/// Translates an address in memory to the offset in the file that is loaded there.
fn file_offset(segments: &[Segment], address: u64) -> Option<u64> {
    let loaded = segments.iter().filter(|segment| segment.kind == PT_LOAD);
    loaded
        .filter_map(|segment| Some((address.checked_sub(segment.address)?, segment)))
        .find(|(distance, segment)| *distance < segment.size)
        .and_then(|(distance, segment)| segment.offset.checked_add(distance))
}

/// Bytes of a file that is not trusted: every read is checked.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn slice(self, start: u64, length: usize, what: &'static str) -> Result<Bytes<'a>, ElfError> {
        let start = usize::try_from(start).map_err(|_| ElfError::OutOfBounds(what))?;
        let end = start.checked_add(length).ok_or(ElfError::OutOfBounds(what))?;
        self.0.get(start..end).map(Bytes).ok_or(ElfError::OutOfBounds(what))
    }

    fn array<const N: usize>(self, at: usize) -> Result<[u8; N], ElfError> {
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk::<N>());
        bytes.copied().ok_or(ElfError::OutOfBounds("table"))
    }

    fn u16(self, at: usize) -> Result<u16, ElfError> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Result<u32, ElfError> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Result<u64, ElfError> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// Reads a text that ends with a zero byte.
    fn text(self, start: u64, what: &'static str) -> Result<String, ElfError> {
        let start = usize::try_from(start).map_err(|_| ElfError::OutOfBounds(what))?;
        let rest = self.0.get(start..).ok_or(ElfError::OutOfBounds(what))?;
        let end = rest.iter().position(|byte| *byte == 0).ok_or(ElfError::OutOfBounds(what))?;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static OWN_PROGRAM: LazyLock<Vec<u8>> = LazyLock::new(|| std::fs::read(std::env::current_exe().unwrap()).unwrap());

    #[test]
    fn our_own_test_program_needs_a_loader_and_the_c_library() {
        let elf = Elf::parse(&OWN_PROGRAM).unwrap();
        assert!(elf.interpreter.is_some_and(|path| path.contains("/ld-linux")));
        assert!(elf.needed.iter().any(|library| library == "libc.so.6"), "{:?}", elf.needed);
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        assert_eq!(Elf::parse(b"#!/bin/sh\n"), Err(ElfError::NotElf));
        assert_eq!(Elf::parse(b"\x7fELF"), Err(ElfError::OutOfBounds("header")));
        let mut for_another_machine = OWN_PROGRAM.clone();
        for_another_machine[18] = 3;
        assert_eq!(Elf::parse(&for_another_machine), Err(ElfError::Unsupported));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0_usize..4096, byte in any::<u8>(), length in 64_usize..8192) {
            let mut bytes = OWN_PROGRAM[..length].to_vec();
            let at = at % length;
            bytes[at] = byte;
            let _outcome = Elf::parse(&bytes);
        }

        #[test]
        fn arbitrary_tables_never_panic(tail in prop::collection::vec(any::<u8>(), 60..400)) {
            let mut bytes = OWN_PROGRAM[..20].to_vec();
            bytes.extend(tail);
            let _outcome = Elf::parse(&bytes);
        }
    }
}
