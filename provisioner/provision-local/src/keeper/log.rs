//! The log of a run: files of bounded size, the newest first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::record::LogLimits;

/// Longest part of a line that is returned.
const LINE: usize = 16 * 1024;
const BLOCK: usize = 64 * 1024;

/// Writes all of `source` to the log until its end; what can't be written is dropped, so that no program hangs on a full disk.
pub(super) fn collect(mut source: impl Read, path: &Path, limits: LogLimits) {
    let mut block = vec![0; BLOCK];
    let mut open: Option<(File, u64)> = None;
    loop {
        let count = match source.read(&mut block) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        open = append(open, path, &block[..count], limits);
    }
}

fn append(open: Option<(File, u64)>, path: &Path, bytes: &[u8], limits: LogLimits) -> Option<(File, u64)> {
    let (mut file, mut size) = open.or_else(|| reopen(path).ok())?;
    if size > 0 && size + bytes.len() as u64 > limits.bytes {
        rotate(path, limits.files).ok()?;
        (file, size) = reopen(path).ok()?;
    }
    file.write_all(bytes).ok()?;
    Some((file, size + bytes.len() as u64))
}

fn reopen(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Makes room: each file gets the next number, the oldest goes.
fn rotate(path: &Path, files: u32) -> io::Result<()> {
    for number in (0..files.saturating_sub(1)).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 { path.to_owned() } else { path.with_added_extension(number.to_string()) }
}

/// Reads the last lines of a log.
///
/// # Errors
/// If a file that is there can't be read.
pub(crate) fn tail(path: &Path, lines: u32) -> io::Result<Vec<String>> {
    let (wanted, mut text) = (lines as usize, Vec::new());
    for number in 0.. {
        let file = match File::open(numbered(path, number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        if prepend(file, &mut text, wanted)? {
            break;
        }
    }
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: Vec<String> = text.rsplit(|byte| *byte == b'\n').take(wanted).map(shown).collect();
    found.reverse();
    Ok(found)
}

/// Puts the end of a file before `text`, as much as is needed; tells whether it is enough.
fn prepend(mut file: File, text: &mut Vec<u8>, wanted: usize) -> io::Result<bool> {
    let mut end = file.seek(SeekFrom::End(0))?;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        (&file).take(end - start).read_to_end(&mut block)?;
        block.append(text);
        *text = block;
        end = start;
        // The last line end closes the last line.
        if text.iter().filter(|byte| **byte == b'\n').count() > wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(&line[..line.len().min(LINE)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(from: usize, to: usize) -> String {
        (from..to).map(|number| format!("line {number:06}\n")).collect()
    }

    #[test]
    fn the_last_lines_are_found_across_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let limits = LogLimits { bytes: 1024, files: 3 };
        for start in (0..1000).step_by(10) {
            collect(lines(start, start + 10).as_bytes(), &path, limits);
        }
        assert_eq!(tail(&path, 2).unwrap(), ["line 000998", "line 000999"]);
        let all = tail(&path, 10_000).unwrap();
        assert_eq!(all.last().unwrap(), "line 000999");
        assert!(all.len() > 150, "three files of 1,024 bytes hold more than {} lines", all.len());
        for (older, newer) in all.iter().zip(&all[1..]) {
            assert!(older < newer, "{older} comes before {newer}");
        }
        let kept: u64 = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(kept <= 3 * 1024, "{kept} bytes are kept");
    }

    #[test]
    fn a_line_without_end_and_an_empty_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(tail(&path, 5).unwrap().is_empty());
        collect(&b"one\ntwo\r\nthree"[..], &path, LogLimits { bytes: 100, files: 1 });
        assert_eq!(tail(&path, 2).unwrap(), ["two", "three"]);
        assert!(tail(&path, 0).unwrap().is_empty());
    }

    #[test]
    fn a_program_does_not_hang_on_a_log_that_can_not_be_written() {
        let text = lines(0, 20_000);
        let mut source = text.as_bytes();
        collect(&mut source, Path::new("/nowhere/log"), LogLimits { bytes: 100, files: 1 });
        assert!(source.is_empty(), "everything was read");
    }

    #[test]
    fn no_bytes_are_lost_below_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let text = lines(0, 20_000);
        collect(text.as_bytes(), &path, LogLimits { bytes: 100_000, files: 10 });
        assert_eq!(tail(&path, 20_000).unwrap().join("\n") + "\n", text);
    }
}
