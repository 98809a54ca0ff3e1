//! Who may do what with the files of an image.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use flate2::read::GzDecoder;
use provision_image::{ExtraFile, ImageSpec, build};

#[test]
fn everything_is_roots_and_can_be_executed_only_where_it_must() {
    let folder = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(folder.path()).unwrap();
    for (name, mode) in [("text", 0o666), ("tool", 0o4710), ("secret", 0o600)] {
        fs::write(base.join(name), name).unwrap();
        fs::set_permissions(base.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let inside = |name: &str| base.join(name).display().to_string();
    let contents = vec![inside("text"), inside("tool")];
    let files = vec![ExtraFile { source: base.join("secret"), path: "/etc/tool.conf".to_owned(), mode: 0o640 }];
    let image = build(&ImageSpec { contents, files, ..ImageSpec::new("ls", "/bin/ls") }).unwrap();

    let mut found = BTreeMap::new();
    for layer in image.blobs().filter(|blob| blob.media_type.contains("layer")) {
        let mut archive = tar::Archive::new(GzDecoder::new(layer.content.as_ref()));
        for entry in archive.entries().unwrap() {
            let header = entry.as_ref().unwrap().header();
            let path = format!("/{}", entry.as_ref().unwrap().path().unwrap().display());
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0), "{path}");
            found.insert(path.trim_end_matches('/').to_owned(), header.mode().unwrap());
        }
    }
    for (path, mode) in [
        ("/ls", 0o755),
        (&inside("text"), 0o644),
        (&inside("tool"), 0o755),
        ("/etc/tool.conf", 0o640),
        ("/etc/passwd", 0o644),
        ("/etc", 0o755),
        ("/tmp", 0o1777),
    ] {
        assert_eq!(found.get(path).copied(), Some(mode), "{path} among {found:?}");
    }
}
